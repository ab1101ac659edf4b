"""The events of a turn's stream, in order, each at a position that every node understands.

A position is the epoch of the host that sent the piece, and the number of the piece in the turn. A host
that dies takes along what it had shown and not yet kept. The next host counts on from what was kept, under
a later epoch. So a reader who names the last position it saw gets everything after it in order: nothing
twice, and a restart that voids the part that was lost.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from ccn import errors
from ccn.core.ids import TurnId


class EventKind(StrEnum):
    """What a piece is."""

    DELTA = "delta"
    """Some more of the reply: the text."""
    RESTART = "restart"
    """What came so far is void, and the reply begins anew: why."""
    DONE = "done"
    """The reply is committed: what is known of it, as JSON."""
    ERROR = "error"
    """There will be no reply: why."""
    CANCELLED = "cancelled"
    """There will be no reply, because somebody asked for none."""
    WAITING = "waiting"
    """Why nothing comes just now, as JSON: kept nowhere, and at the place of the piece before."""
    BEGUN = "begun"
    """The model has read the prompt: what that took, as JSON; kept nowhere, like a waiting."""


ENDS = frozenset({EventKind.DONE, EventKind.ERROR, EventKind.CANCELLED})
UNKEPT = frozenset({EventKind.WAITING, EventKind.BEGUN})
"""Sent only to readers who ask for them."""


@dataclass(frozen=True, slots=True, order=True)
class StreamPosition:
    """Where a piece stands; places are ordered, and the smallest is before everything."""

    epoch: int = 0
    number: int = 0

    def __str__(self) -> str:
        return f"{self.epoch}-{self.number}"


START = StreamPosition()


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """One piece at its place."""

    position: StreamPosition
    kind: EventKind
    data: str = ""

    @property
    def ends(self) -> bool:
        """Whether nothing follows."""
        return self.kind in ENDS


def event_id(turn: TurnId, place: StreamPosition) -> str:
    """The piece's name for clients, which they send back to go on after it."""
    return f"{turn}:{place}"


def parse_event_id(event: str) -> tuple[TurnId, StreamPosition]:
    """The turn and the place that a client names."""
    match = _EVENT.fullmatch(event)
    if match is None:
        raise errors.InputInvalid("an event id is TURN:EPOCH-NUMBER, as the stream said it")
    return TurnId(UUID(match[1])), StreamPosition(int(match[2]), int(match[3]))


_EVENT = re.compile(r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}):(\d{1,18})-(\d{1,18})", re.ASCII)
