"""Which turn of an instance comes next, and what becomes of one that meets a defect."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast
from uuid import UUID

from ccn import settings
from ccn.core.ids import CharacterId, ConversationId, InstanceId, NodeId, TurnId
from ccn.core.stream import EventKind
from ccn.core.turn import TurnStatus
from ccn.node.instances.hosting import HostedInstance, Hosting, QueuedTurn
from ccn.node.turns.turn_stream import LiveStream
from ccn.store.conversations.instances import Instance
from ccn.store.conversations.instances import InstanceStatus as Running
from ccn.store.conversations.turns import Turn

if TYPE_CHECKING:
    from ccn.node.instances.hosting import HostStore

TALK = ConversationId(UUID(int=1))
HOSTED = Instance(
    InstanceId(UUID(int=9)), TALK, CharacterId("ada"), NodeId("node-1"), 1, Running.RUNNING, "model-1", 1,
    datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC),
)  # fmt: skip


def test_messages_are_answered_in_the_order_in_which_they_came() -> None:
    hosted = host_turns(queue_turn(3), queue_turn(1), queue_turn(2))
    assert order(hosted) == [1, 2, 3]


def test_what_a_host_before_began_is_finished_first_even_if_an_earlier_message_waits() -> None:
    hosted = host_turns(queue_turn(1), queue_turn(3, TurnStatus.RUNNING), queue_turn(2))
    assert order(hosted) == [3, 1, 2]


def test_an_instance_is_idle_as_soon_as_the_readers_of_its_turns_were_told_the_end() -> None:
    hosted, was_idle = host_turns(queue_turn(1)), list[bool]()
    (queued,) = hosted.queue.values()
    for say in (None, EventKind.DELTA, EventKind.DONE):
        if say is not None:
            queued.live.say(say)
        was_idle.append(hosted.idle)
    assert was_idle == [False, False, True]
    assert host_turns().idle
    assert not host_turns(queued, queue_turn(2)).idle


async def test_an_instance_that_met_a_defect_is_left_alone_for_longer_each_time() -> None:
    fine = False

    async def hold(*_: object) -> None:
        if not fine:
            raise ZeroDivisionError

    hosting = Hosting(NodeId("node-1"), cast("HostStore", None), settings.InstancesSettings(), hold)
    rests = list[float]()
    for seq in range(1, 4):
        turn = queue_turn(seq).turn
        hosting.host_instance(HOSTED)
        hosting.enqueue_turn(turn)
        hosted = hosting.find_hosted(TALK)
        assert hosted is not None
        assert hosted.work is not None
        await hosted.work
        assert hosting.find_hosted(TALK) is None
        assert hosting.is_backing_off(HOSTED.id)
        rests.append(hosting._resting[HOSTED.id][1])
    assert rests == [1.0, 2.0, 4.0]
    fine = True
    hosting.host_instance(HOSTED)
    hosting.enqueue_turn(queue_turn(4).turn)
    hosted = hosting.find_hosted(TALK)
    assert hosted is not None
    assert hosted.work is not None
    await hosted.work
    assert not hosting.is_backing_off(HOSTED.id)


def host_turns(*queued: QueuedTurn) -> HostedInstance:
    hosted = HostedInstance(cast("Instance", None), 0.0)
    hosted.queue.update({each.turn.id: each for each in queued})
    return hosted


def queue_turn(seq: int, status: TurnStatus = TurnStatus.ACCEPTED) -> QueuedTurn:
    turn = Turn(TurnId(UUID(int=seq)), TALK, status, seq, None, 0, 1, 0, datetime(2026, 1, 1, tzinfo=UTC))
    return QueuedTurn(turn, LiveStream(turn.id, 1, 0))


def order(hosted: HostedInstance) -> list[int]:
    taken = []
    while (queued := hosted.next_turn()) is not None:
        queued.begun = True
        taken.append(queued.turn.user_seq)
    return taken
