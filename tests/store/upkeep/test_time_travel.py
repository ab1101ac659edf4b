"""The state at every moment of a scripted life is what a plain replay of the script says it was."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ccn import errors
from ccn.core.axes import Vector
from ccn.core.ids import SnapshotId
from ccn.core.message import Role
from ccn.core.turn import TurnStatus
from ccn.store.character import vectors
from ccn.store.conversations import conversations, instances, turns
from ccn.store.upkeep import snapshots
from ccn.store.upkeep.snapshots import ConversationState, HostState
from tests.support.speakers import ANN, WREN
from tests.support.store import histories

if TYPE_CHECKING:
    from tests.support.store.open_store import Store

RUNNING, ACCEPTED = TurnStatus.RUNNING, TurnStatus.ACCEPTED


async def test_every_moment_of_a_life_is_as_it_was(shared: Store) -> None:
    """Each step is done a second after the last one; the replay is written beside it."""
    here = await shared.conversation()
    began = shared.clock.now
    replay: list[tuple[datetime, ConversationState]] = []
    state = ConversationState(here, began, 1, True, 1, 0, None, None, None, (), None)

    def now(**changed: object) -> None:
        nonlocal state
        values = {name: getattr(state, name) for name in ConversationState.__dataclass_fields__}
        state = ConversationState(**{**values, **changed, "at": shared.clock.now})
        replay.append((shared.clock.now, state))

    def later() -> None:
        shared.clock.forward(seconds=1)

    now()
    later()
    await shared.say(here, "one", "two")
    now(head_seq=2)
    later()
    hosted = await shared.host(here)
    now(host=HostState(hosted.host, 1, "spawning"))
    later()
    hosted = await shared.writer.submit(
        instances.ChangeInstance(hosted, instances.InstanceStatus.RUNNING, "fit")
    )
    now(host=HostState(hosted.host, 1, "running"))
    later()
    first = await shared.turn(hosted, started=False)
    now(head_seq=3, unfinished=((first.id, ACCEPTED),))
    later()
    await shared.writer.submit(turns.StartTurn(first, 1))
    now(unfinished=((first.id, RUNNING),))
    later()
    second = await shared.turn(hosted, started=False)
    now(head_seq=4, unfinished=((first.id, RUNNING), (second.id, ACCEPTED)))
    later()
    hosted = await shared.writer.submit(instances.AdoptInstance(hosted, "silent"))
    now(host=HostState(hosted.host, 2, "running"))
    later()
    reply = turns.CommitReply(await turns.load_turn(shared.pool, first.id), 2, "done", WREN)
    await shared.writer.submit(reply)
    now(head_seq=5, unfinished=((second.id, ACCEPTED),))
    later()
    await shared.writer.submit(vectors.RecordScore(here, 5, Vector((7,) * 16), "scorer"))
    await shared.writer.submit(vectors.RecordRelation(here, 5, Vector((8,) * 7)))
    now(character=Vector((7,) * 16), relational=Vector((8,) * 7))
    later()
    await shared.writer.submit(
        turns.EndTurn(await turns.load_turn(shared.pool, second.id), 2, TurnStatus.CANCELLED)
    )
    now(unfinished=())
    later()
    await shared.writer.submit(vectors.RecordScore(here, 5, Vector((9,) * 16), "scorer"))
    now(character=Vector((9,) * 16))
    later()
    hosted = await shared.writer.submit(
        instances.ChangeInstance(hosted, instances.InstanceStatus.TERMINATED, "over")
    )
    now(host=HostState(hosted.host, 2, "terminated"))
    later()
    await shared.writer.submit(
        conversations.CloseConversation(await conversations.load_conversation(shared.pool, here))
    )
    now(open=False, version=2)

    half = timedelta(seconds=0.5)
    for moment, was in replay:
        assert await snapshots.load_state_at(shared.pool, here, moment) == was
        between = await snapshots.load_state_at(shared.pool, here, moment + half)
        assert snapshots.state_to_bytes(between) == snapshots.state_to_bytes(_at(was, moment + half))
    with pytest.raises(errors.NotFound):
        await snapshots.load_state_at(shared.pool, here, began - half)


def _at(state: ConversationState, moment: datetime) -> ConversationState:
    values = {name: getattr(state, name) for name in ConversationState.__dataclass_fields__}
    return ConversationState(**{**values, "at": moment})


async def test_a_snapshot_is_what_anybody_finds_later(shared: Store) -> None:
    here = await shared.conversation()
    await shared.say(here, "before")
    now = shared.clock.forward(seconds=1)
    taken = await snapshots.take_snapshot(
        shared.pool, shared.writer, SnapshotId(shared.new_id()), here, now
    )
    shared.clock.forward(seconds=1)
    await shared.say(here, "after")
    assert await histories.load_latest_snapshot(shared.pool, here) == taken
    assert taken.state == snapshots.state_to_bytes(
        await snapshots.load_state_at(shared.pool, here, taken.taken_at)
    )
    assert here in await snapshots.list_due(shared.pool, shared.clock.now)
    assert here not in await snapshots.list_due(shared.pool, now)


async def test_a_snapshot_taken_while_everybody_talks_still_is_what_anybody_finds_later(
    shared: Store, start_writer: object
) -> None:
    def clock() -> datetime:
        return datetime.now(UTC)

    here = await shared.conversation()
    async with start_writer(shared.database, clock, "talker") as writer:  # type: ignore[operator]
        done = False

        async def talk() -> None:
            while not done:
                await writer.submit(conversations.AppendMessage(here, Role.USER, "on and on", ANN))

        async with asyncio.TaskGroup() as tasks:
            for _ in range(8):
                tasks.create_task(talk())
            taken = []
            for _ in range(25):
                await asyncio.sleep(0.005)
                named = SnapshotId(shared.new_id())
                taken.append(await snapshots.take_snapshot(shared.pool, writer, named, here, clock()))
            done = True
    assert taken[-1].head_seq > taken[0].head_seq
    for each in taken:
        later = await snapshots.load_state_at(shared.pool, here, each.taken_at)
        assert each.state == snapshots.state_to_bytes(later)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(gaps=st.lists(st.sampled_from([0, 0, 1, 2, 60_000_000]), min_size=0, max_size=40))
async def test_the_place_at_a_moment_is_what_a_slow_search_finds(shared: Store, gaps: list[int]) -> None:
    here = await shared.conversation()
    asked = {shared.clock.now - timedelta(days=1)}
    for gap in gaps:
        shared.clock.forward(microseconds=gap)
        await shared.say(here, "said")
        asked |= {shared.clock.now + timedelta(microseconds=step) for step in (-1, 0, 1)}
    wrong = await shared.pool.rows(
        """SELECT moment FROM unnest($2::timestamptz[]) AS moment
           WHERE ccn_seq_at($1, moment) <> (SELECT coalesce(max(seq), 0) FROM messages
                                            WHERE conversation_id = $1 AND created_at <= moment)""",
        here,
        list(asked),
    )
    assert not wrong
    assert await shared.pool.value("SELECT ccn_seq_at($1, now())", shared.new_id()) == 0
