"""Which turn of an instance comes next, and what becomes of one that meets a defect."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast
from uuid import UUID

from ccn import settings
from ccn.core.ids import CharacterId, ConversationId, InstanceId, NodeId, TurnId
from ccn.core.stream import Kind
from ccn.core.turn import Status
from ccn.node.instances.hosting import Hosted, Hosting, Queued
from ccn.node.turns.turn_stream import Live
from ccn.store.conversations.instances import Instance
from ccn.store.conversations.instances import Status as Running
from ccn.store.conversations.turns import Turn

if TYPE_CHECKING:
    from ccn.store.connection.pool import Pool
    from ccn.store.writing.writer import Writer

TALK = ConversationId(UUID(int=1))
HOSTED = Instance(
    InstanceId(UUID(int=9)), TALK, CharacterId("ada"), NodeId("node-1"), 1, Running.RUNNING, "model-1", 1,
    datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC),
)  # fmt: skip


def test_messages_are_answered_in_the_order_in_which_they_came() -> None:
    hosted = holding(waiting(3), waiting(1), waiting(2))
    assert order(hosted) == [1, 2, 3]


def test_what_a_host_before_began_is_finished_first_even_if_an_earlier_message_waits() -> None:
    hosted = holding(waiting(1), waiting(3, Status.RUNNING), waiting(2))
    assert order(hosted) == [3, 1, 2]


def test_an_instance_is_idle_as_soon_as_the_readers_of_its_turns_were_told_the_end() -> None:
    hosted, was_idle = holding(waiting(1)), list[bool]()
    (queued,) = hosted.queue.values()
    for say in (None, Kind.DELTA, Kind.DONE):
        if say is not None:
            queued.live.say(say)
        was_idle.append(hosted.idle)
    assert was_idle == [False, False, True]
    assert holding().idle
    assert not holding(queued, waiting(2)).idle


async def test_an_instance_that_met_a_defect_is_left_alone_for_longer_each_time() -> None:
    fine = False

    async def hold(*_: object) -> None:
        if not fine:
            raise ZeroDivisionError

    writer = cast("Writer", SimpleNamespace(node="node-1"))
    hosting = Hosting(cast("Pool", None), writer, settings.Instances(), hold)
    rests = list[float]()
    for seq in range(1, 4):
        turn = waiting(seq).turn
        hosting.take(HOSTED)
        hosting.offer(turn)
        hosted = hosting.get(TALK)
        assert hosted is not None
        assert hosted.work is not None
        await hosted.work
        assert hosting.get(TALK) is None
        assert hosting.rests(HOSTED.id)
        rests.append(hosting._resting[HOSTED.id][1])
    assert rests == [1.0, 2.0, 4.0]
    fine = True
    hosting.take(HOSTED)
    hosting.offer(waiting(4).turn)
    hosted = hosting.get(TALK)
    assert hosted is not None
    assert hosted.work is not None
    await hosted.work
    assert not hosting.rests(HOSTED.id)


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
