"""The anchor of a conversation: what its prompts keep fixed from turn to turn, for the provider's cache.

A provider caches a prompt up to the first byte that changed. So three things are decided only now and then:
which states are shown, which conversations are remembered, and where the history begins in full. Between
two decisions every node builds the same bytes. When a state has moved, the new one is shown beside the
message of that turn and stays there, so nothing above it changes.

An anchor holds numbers and places, never words: words are read from the messages each time. A redacted
message is therefore gone from the next prompt, and nothing has to be removed here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any
from uuid import UUID

from ccn.core.axes import UNIT, Vector
from ccn.core.ids import ConversationId

NEUTRAL = UNIT // 2
MOVED = UNIT // 10
"""How far an axis has to move to be shown anew."""
LEAPT = UNIT // 4
"""How far, to be shown at once."""
SETTLED = 20
"""How many messages a shown state stays at least, unless an axis leaps: the state averages ten replies."""
STATES_LIMIT = 12
MEMORIES_LIMIT = 20


def refresh_anchor(anchor: Anchor, now: MeasuredStates, this: int, *, ordered: bool = False) -> Anchor:
    """Show the present state beside the message `this` if it moved enough, else return the same anchor.

    `ordered` is for an instance that is brought back to character: its state is shown with a reminder of
    the plate, which counts until the next state is shown.
    """
    newest = anchor.states[-1]
    moved = max(
        _largest_difference(newest.character, now.character),
        _largest_difference(newest.relational, now.relational),
    )
    if not ordered and moved < (MOVED if this - newest.seq >= SETTLED else LEAPT):
        return anchor
    state = _next_state(newest, now, this, reminder=ordered)
    before = anchor.states if len(anchor.states) < STATES_LIMIT else ()
    return replace(anchor, version=anchor.version + 1, states=(*before, state))


def compact_anchor(
    anchor: Anchor, now: MeasuredStates, this: int, kept_from: int, *, ordered: bool = False
) -> Anchor:
    """Let the history begin later. All below it is new to the cache then, so the state is shown anew."""
    newest = anchor.states[-1]
    state = _next_state(newest, now, this, reminder=ordered or newest.reminder)
    return replace(anchor, version=anchor.version + 1, kept_from=kept_from, states=(state,))


@dataclass(frozen=True, slots=True)
class MeasuredStates:
    """The character's and the relation's state as they are now."""

    character: Vector | None = None
    relational: Vector | None = None


class StateSource(StrEnum):
    """Where the character's part of a state is from; the relation's is always from this conversation."""

    HERE = "here"
    EARLIER = "earlier"
    """An earlier conversation with the same person."""
    AGREED = "agreed"
    """A round, in which the instances of several people counted."""


@dataclass(frozen=True, slots=True)
class ShownState:
    """A state as it was shown, from a message on."""

    seq: int = 0
    character: Vector | None = None
    relational: Vector | None = None
    reminder: bool = False
    source: StateSource = StateSource.HERE


@dataclass(frozen=True, slots=True)
class RecalledConversation:
    """An earlier conversation as it was remembered: up to which message, so that it never grows."""

    conversation: ConversationId
    upto: int


@dataclass(frozen=True, slots=True)
class Anchor:
    """What one conversation's prompt holds fast; its next version replaces it."""

    plate: int
    states: tuple[ShownState, ...] = (ShownState(),)
    """The first stands above the history, each other beside the user's first message from its place on."""
    memories: tuple[RecalledConversation, ...] = ()
    kept_from: int = 1
    """The first message that stands in the history in full; what is older is quoted."""
    version: int = 1

    def to_json(self) -> dict[str, object]:
        """States and memories, as the database keeps them."""
        return {
            "states": [
                [s.seq, _vector_to_list(s.character), _vector_to_list(s.relational), s.reminder]
                for s in self.states
            ],
            "sources": [s.source for s in self.states],
            "memories": [[str(each.conversation), each.upto] for each in self.memories],
        }


def anchor_from_json(plate: int, kept_from: int, version: int, stored: Mapping[str, Any]) -> Anchor:
    """The anchor that the database keeps."""
    return Anchor(
        plate,
        _states_from_json(stored),
        tuple(RecalledConversation(ConversationId(UUID(each)), upto) for each, upto in stored["memories"]),
        kept_from,
        version,
    )


def _states_from_json(stored: Mapping[str, Any]) -> tuple[ShownState, ...]:
    kept = [
        (seq, _vector_from_list(c), _vector_from_list(r), reminder)
        for seq, c, r, reminder in stored["states"]
    ]
    if "sources" in stored:
        return tuple(
            ShownState(*state, StateSource(source))
            for state, source in zip(kept, stored["sources"], strict=True)
        )
    # Before sources were kept, a conversation began with the state of whichever one was newest, also of a
    # stranger's: that is not shown any more. What came later is its own.
    return tuple(ShownState(seq, c if seq else None, r, reminder) for seq, c, r, reminder in kept)


def _next_state(newest: ShownState, now: MeasuredStates, this: int, *, reminder: bool) -> ShownState:
    """Make the state to show. A part that is not known now keeps its last known value."""
    source = newest.source if now.character is None else StateSource.HERE
    character = newest.character if now.character is None else now.character
    relational = newest.relational if now.relational is None else now.relational
    return ShownState(this, character, relational, reminder, source)


def _vector_to_list(vector: Vector | None) -> list[int | None] | None:
    return None if vector is None else list(vector.millionths)


def _vector_from_list(stored: list[int | None] | None) -> Vector | None:
    return None if stored is None else Vector(tuple(stored))


def _largest_difference(shown: Vector | None, now: Vector | None) -> int:
    """Return the largest difference of an axis. One not shown was neutral; one not known did not move."""
    if now is None:
        return 0
    before = (None,) * len(now.millionths) if shown is None else shown.millionths
    pairs = zip(before, now.millionths, strict=True)
    return max((abs((NEUTRAL if a is None else a) - b) for a, b in pairs if b is not None), default=0)
