"""The group commit: who shares a transaction, who fails alone, and what two writers do to each other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from ccn import errors, settings
from ccn.core.ids import CharacterId, ConversationId, NodeId
from ccn.core.message import Message, Role
from ccn.store.conversations import conversations
from ccn.store.conversations.conversations import AppendMessage, BeginConversation, CloseConversation
from ccn.store.writing.batch import Batch, Write
from ccn.store.writing.writer import Writer
from tests.support.speakers import ANN

if TYPE_CHECKING:
    from tests.support.store.open_store import Store

    Start = Callable[..., AbstractAsyncContextManager[Writer]]


@dataclass(frozen=True, slots=True)
class Collapse(Write[None]):
    """A defect."""

    def prepare(self, batch: Batch) -> None:
        raise ZeroDivisionError


async def _all(writer: Writer, writes: Sequence[Write[Any]]) -> list[Any]:
    return await asyncio.gather(*[writer.submit(each) for each in writes], return_exceptions=True)


def _appends(here: ConversationId, count: int, name: str = "n") -> list[AppendMessage]:
    return [AppendMessage(here, Role.USER, f"{name} {number}", ANN) for number in range(count)]


async def _said(store: Store, here: ConversationId) -> list[tuple[int, str | None]]:
    page = await conversations.load_history(store.pool, here, limit=1000)
    assert [each.seq for each in page.messages] == list(range(1, len(page.messages) + 1))
    return [(each.seq, each.content) for each in page.messages]


async def _check_leaves(store: Store) -> None:
    wrong = await store.pool.rows(
        """SELECT node_id FROM leaf_sources s
           WHERE (SELECT count(*) FROM leaves l WHERE l.node_id = s.node_id) <> s.head"""
    )
    assert not wrong


@pytest.mark.parametrize("guilty_at", [0, 13, 29])
async def test_one_guilty_write_among_many_fails_alone(shared: Store, guilty_at: int) -> None:
    here = await shared.conversation()
    writes: list[Write[Any]] = [*_appends(here, 30)]
    writes[guilty_at] = BeginConversation(shared.new_id(), CharacterId("nobody"))
    outcomes = await _all(shared.writer, writes)
    assert isinstance(outcomes.pop(guilty_at), errors.NotFound)
    assert [type(each) for each in outcomes] == [Message] * 29
    assert len(await _said(shared, here)) == 29
    await _check_leaves(shared)


async def test_several_guilty_writes_fail_each_for_its_own_reason(shared: Store) -> None:
    here = await shared.conversation()
    writes: list[Write[Any]] = [*_appends(here, 40)]
    writes[3] = BeginConversation(shared.new_id(), CharacterId("nobody"))
    writes[4] = BeginConversation(here, CharacterId("ada"))
    writes[20] = AppendMessage(ConversationId(shared.new_id()), Role.USER, "where am I", ANN)
    writes[30] = AppendMessage(here, Role.USER, "whose", ANN, epoch=7)
    writes[39] = BeginConversation(shared.new_id(), CharacterId("ada"), title="a\x00b")
    outcomes = await _all(shared.writer, writes)
    refused = {at: type(each) for at, each in enumerate(outcomes) if not isinstance(each, Message)}
    assert refused == {
        3: errors.NotFound,
        4: errors.Conflict,
        20: errors.NotFound,
        30: errors.StaleHost,
        39: errors.InputInvalid,
    }
    assert len(await _said(shared, here)) == 35
    await _check_leaves(shared)


async def test_a_head_that_another_node_moved_is_read_again(shared: Store, start_writer: Start) -> None:
    here = await shared.conversation()
    async with start_writer(shared.database, shared.clock, "node-2") as other:
        for turn in range(6):
            writer = (shared.writer, other)[turn % 2]
            assert (await writer.submit(AppendMessage(here, Role.USER, f"{turn}", ANN))).seq == turn + 1


async def test_two_nodes_interleaving_on_one_conversation_leave_no_gap(
    shared: Store, start_writer: Start
) -> None:
    here = await shared.conversation()
    async with start_writer(shared.database, shared.clock, "node-2") as other:
        outcomes = await asyncio.gather(
            *[_all(writer, [each])
              for number in range(60)
              for writer, name in ((shared.writer, "a"), (other, "b"))
              for each in [AppendMessage(here, Role.USER, f"{name} {number}", ANN)]]
        )  # fmt: skip
    acknowledged = [each for (each,) in outcomes if isinstance(each, Message)]
    others = [each for (each,) in outcomes if not isinstance(each, Message)]
    assert sorted((each.seq, each.content) for each in acknowledged) == await _said(shared, here)
    assert all(isinstance(each, errors.Conflict) for each in others)
    assert len(acknowledged) >= 60
    await _check_leaves(shared)


async def test_two_writers_of_one_node_neither_double_nor_lose_a_number(
    shared: Store, start_writer: Start
) -> None:
    here, there = await shared.conversation(), await shared.conversation()
    async with (
        start_writer(shared.database, shared.clock, "twin") as one,
        start_writer(shared.database, shared.clock, "twin") as two,
    ):
        outcomes = await asyncio.gather(
            *[_all(one, [each]) for each in _appends(here, 60)],
            *[_all(two, [each]) for each in _appends(there, 60)],
        )
    acknowledged = [each for (each,) in outcomes if isinstance(each, Message)]
    assert all(isinstance(each, (Message, errors.Conflict)) for (each,) in outcomes)
    assert len(await _said(shared, here)) + len(await _said(shared, there)) == len(acknowledged)
    assert await shared.pool.value("SELECT head FROM leaf_sources WHERE node_id = 'twin'") == len(
        acknowledged
    )
    await _check_leaves(shared)


async def test_two_processes_may_be_born_under_one_new_name_at_once(
    shared: Store, start_writer: Start
) -> None:
    here = await shared.conversation()
    for born in range(5):
        async with (
            start_writer(shared.database, shared.clock, f"newborn-{born}") as one,
            start_writer(shared.database, shared.clock, f"newborn-{born}") as two,
        ):
            outcomes = await asyncio.gather(_all(one, _appends(here, 1)), _all(two, _appends(here, 1)))
        assert any(isinstance(each, Message) for (each,) in outcomes)
    await _check_leaves(shared)


async def test_whoever_comes_when_the_queue_is_full_is_told_so(shared: Store) -> None:
    here = await shared.conversation()
    small = shared.database.model_copy(update={"write_queue_limit": 3})
    writer = Writer(small, NodeId("full"), shared.clock)
    waiting = [asyncio.create_task(writer.submit(each)) for each in _appends(here, 3)]
    await asyncio.sleep(0)
    with pytest.raises(errors.Overloaded):
        await writer.submit(AppendMessage(here, Role.USER, "too much", ANN))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(writer.run())
        assert [each.seq for each in await asyncio.gather(*waiting)] == [1, 2, 3]
        writer.stop()
    assert len(await _said(shared, here)) == 3


async def test_stopping_settles_what_was_taken_and_takes_no_more(shared: Store) -> None:
    here = await shared.conversation()
    writer = Writer(shared.database, NodeId("stopping"), shared.clock)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(writer.run())
        taken = [tasks.create_task(writer.submit(each)) for each in _appends(here, 50)]
        await asyncio.sleep(0)
        writer.stop()
        with pytest.raises(errors.ShuttingDown):
            await writer.submit(AppendMessage(here, Role.USER, "too late", ANN))
    assert sorted(each.result().seq for each in taken) == list(range(1, 51))


async def test_a_caller_that_gave_up_before_its_turn_writes_nothing(shared: Store) -> None:
    here = await shared.conversation()
    writer = Writer(shared.database, NodeId("patient"), shared.clock)
    gone, stays = (asyncio.create_task(writer.submit(each)) for each in _appends(here, 2))
    await asyncio.sleep(0)
    gone.cancel()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(writer.run())
        assert (await stays).seq == 1
        writer.stop()
    assert await _said(shared, here) == [(1, "n 1")]


async def test_a_caller_that_gives_up_under_way_disturbs_nobody(shared: Store) -> None:
    here = await shared.conversation()
    for number in range(20):
        gone, stays = (asyncio.create_task(shared.writer.submit(each)) for each in _appends(here, 2))
        for _ in range(number):
            await asyncio.sleep(0)
        gone.cancel()
        assert isinstance(await stays, Message)
    assert 20 <= len(await _said(shared, here)) <= 40
    await _check_leaves(shared)


async def test_a_defect_ends_the_writer_and_nobody_waits_for_it_afterwards(shared: Store) -> None:
    here = await shared.conversation()
    writer = Writer(shared.database, NodeId("defect"), shared.clock)
    beside = [asyncio.create_task(writer.submit(each)) for each in [*_appends(here, 2), Collapse()]]
    await asyncio.sleep(0)
    with pytest.raises(ZeroDivisionError):
        await writer.run()
    outcomes = await asyncio.gather(*beside, return_exceptions=True)
    assert [type(each) for each in outcomes] == [errors.OutcomeUnknown] * 3
    with pytest.raises(errors.ShuttingDown):
        await writer.submit(AppendMessage(here, Role.USER, "anybody there?", ANN))
    assert await _said(shared, here) == []


async def test_a_database_without_a_schema_is_refused_even_when_nobody_waits_any_more(
    shared: Store, database_server: str
) -> None:
    bare = settings.DatabaseSettings.model_validate({"url": database_server})
    writer = Writer(bare, NodeId("bare"), shared.clock)
    gone = asyncio.create_task(writer.submit(AppendMessage(shared.new_id(), Role.USER, "hello", ANN)))
    stays = asyncio.create_task(writer.submit(AppendMessage(shared.new_id(), Role.USER, "hello", ANN)))
    await asyncio.sleep(0)
    gone.cancel()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(writer.run())
        with pytest.raises(errors.StoreBroken):
            await stays
        writer.stop()


async def test_time_never_runs_backwards_in_a_conversation_whatever_the_clock_does(shared: Store) -> None:
    here = await shared.conversation()
    first = await shared.writer.submit(AppendMessage(here, Role.USER, "now", ANN))
    shared.clock.forward(seconds=-30)
    second = await shared.writer.submit(AppendMessage(here, Role.USER, "then", ANN))
    shared.clock.forward(seconds=60)
    third = await shared.writer.submit(AppendMessage(here, Role.USER, "later", ANN))
    assert first.at == second.at < third.at


async def test_a_closed_conversation_takes_nothing_more_from_anybody(
    shared: Store, start_writer: Start
) -> None:
    here = await shared.conversation()
    async with start_writer(shared.database, shared.clock, "node-2") as other:
        for writer in (shared.writer, other):
            await writer.submit(AppendMessage(here, Role.USER, "remembered", ANN))
        opened = await conversations.load_conversation(shared.pool, here)
        closing = await _all(
            shared.writer, [CloseConversation(opened), AppendMessage(here, Role.USER, "too late", ANN)]
        )
        assert closing[0] is None
        assert type(closing[1]) is errors.Conflict
        for writer in (shared.writer, other):
            with pytest.raises(errors.Conflict, match="closed"):
                await writer.submit(AppendMessage(here, Role.USER, "too late", ANN))
            await writer.submit(CloseConversation(await conversations.load_conversation(shared.pool, here)))
        with pytest.raises(errors.Conflict):
            await other.submit(CloseConversation(opened))
    assert len(await _said(shared, here)) == 2


async def test_keys_are_found_again_by_another_node_and_in_a_batch_under_way(
    shared: Store, start_writer: Start
) -> None:
    here = await shared.conversation()
    again = [AppendMessage(here, Role.USER, "once", ANN, idempotency_key="k") for _ in range(100)]
    async with start_writer(shared.database, shared.clock, "node-2") as other:
        outcomes = await asyncio.gather(_all(shared.writer, again), _all(other, again))
        late = await other.submit(again[0])
    said = {each for outcome in outcomes for each in outcome if isinstance(each, Message)}
    assert said == {late}
    assert await _said(shared, here) == [(1, "once")]
