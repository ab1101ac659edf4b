"""The life of a turn: one accepted message, and exactly one committed reply or an end that says why not.

    accepted ──> running ──> committed
       │            │ ├────> failed
       │            │ └────> cancelled
       │            └──────> running     another node adopted it and starts it again
       └──> failed | cancelled

The same arrows are a constraint in `schema/0003_conversations.sql`; a test compares the two.
"""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType

from ccn import errors


class TurnStatus(StrEnum):
    """Where a turn stands."""

    ACCEPTED = "accepted"
    RUNNING = "running"
    COMMITTED = "committed"
    FAILED = "failed"
    CANCELLED = "cancelled"


NEXT = MappingProxyType(
    {
        TurnStatus.ACCEPTED: frozenset({TurnStatus.RUNNING, TurnStatus.FAILED, TurnStatus.CANCELLED}),
        TurnStatus.RUNNING: frozenset(
            {TurnStatus.RUNNING, TurnStatus.COMMITTED, TurnStatus.FAILED, TurnStatus.CANCELLED}
        ),
        TurnStatus.COMMITTED: frozenset[TurnStatus](),
        TurnStatus.FAILED: frozenset[TurnStatus](),
        TurnStatus.CANCELLED: frozenset[TurnStatus](),
    }
)


def move_status(now: TurnStatus, to: TurnStatus) -> TurnStatus:
    """The next status, or the reason why there is no such arrow."""
    if to not in NEXT[now]:
        raise errors.TransitionRefused(f"a turn that is {now} cannot become {to}")
    return to


def is_ended(now: TurnStatus) -> bool:
    """Whether nothing can happen to the turn any more."""
    return not NEXT[now]
