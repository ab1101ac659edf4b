"""Which turn of an instance comes next."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import cast
from uuid import UUID

from ccn.core.ids import ConversationId, TurnId
from ccn.core.turn import Status
from ccn.node.hosting import Hosted, Queued
from ccn.node.streams import Live
from ccn.store.instances import Instance
from ccn.store.turns import Turn

TALK = ConversationId(UUID(int=1))


def test_messages_are_answered_in_the_order_in_which_they_came() -> None:
    hosted = holding(waiting(3), waiting(1), waiting(2))
    assert order(hosted) == [1, 2, 3]


def test_what_a_host_before_began_is_finished_first_even_if_an_earlier_message_waits() -> None:
    hosted = holding(waiting(1), waiting(3, Status.RUNNING), waiting(2))
    assert order(hosted) == [3, 1, 2]


def holding(*queued: Queued) -> Hosted:
    hosted = Hosted(cast("Instance", None), 0.0)
    hosted.queue.update({each.turn.id: each for each in queued})
    return hosted


def waiting(seq: int, status: Status = Status.ACCEPTED) -> Queued:
    turn = Turn(TurnId(UUID(int=seq)), TALK, status, seq, None, 0, 1, 0, datetime(2026, 1, 1, tzinfo=UTC))
    return Queued(turn, Live(turn.id, 1, 0))


def order(hosted: Hosted) -> list[int]:
    taken = []
    while (queued := hosted.next()) is not None:
        queued.begun = True
        taken.append(queued.turn.user_seq)
    return taken
