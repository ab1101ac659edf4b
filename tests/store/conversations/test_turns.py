"""The life of a turn, and what a host can no longer do once another node has adopted its instance."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from ccn import errors
from ccn.core.ids import ConversationId, TurnId
from ccn.core.message import Message, Role
from ccn.core.turn import TurnStatus
from ccn.store.conversations import conversations, instances, turns
from ccn.store.conversations.instances import AdoptInstance, Instance
from ccn.store.conversations.turns import AcceptTurn, CommitReply, EmitEvents, EndTurn, StartTurn, TurnEvent
from ccn.store.upkeep import retention
from ccn.store.writing.writer import Writer
from tests.support.speakers import ANN, WREN
from tests.support.store import histories

if TYPE_CHECKING:
    from tests.support.store.open_store import Store

    Another = Callable[..., AbstractAsyncContextManager[Writer]]


async def test_a_turn_is_accepted_streamed_and_committed_once(shared: Store) -> None:
    here = await shared.conversation()
    hosted = await shared.host(here)
    turn = await shared.turn(hosted, "How are you?")
    assert (turn.status, turn.attempt, turn.user_seq, turn.epoch) == (TurnStatus.RUNNING, 1, 1, 1)
    assert [each.id for each in await turns.list_unfinished(shared.pool, here)] == [turn.id]
    await shared.writer.submit(
        EmitEvents(turn.id, 1, [TurnEvent(1, "delta", "I am "), TurnEvent(2, "delta", "well")])
    )
    reply = await shared.writer.submit(CommitReply(turn, 1, "I am well", WREN, [TurnEvent(3, "done", "")]))
    assert (reply.seq, reply.role, reply.turn) == (2, Role.ASSISTANT, turn.id)
    ended = await turns.load_turn(shared.pool, turn.id)
    assert (ended.status, ended.reply_seq, ended.event_head) == (TurnStatus.COMMITTED, 2, 3)
    events = await histories.list_events(shared.pool, turn.id)
    assert [event.data for event in events] == ["I am ", "well", ""]
    assert await turns.list_unfinished(shared.pool, here) == []
    for again in (
        CommitReply(turn, 1, "Or rather", WREN),
        EndTurn(turn, 1, TurnStatus.CANCELLED),
        StartTurn(turn, 1),
    ):
        with pytest.raises(errors.Conflict):
            await shared.writer.submit(again)
    assert len((await conversations.load_history(shared.pool, here)).messages) == 2


async def test_of_two_commits_at_once_one_wins(shared: Store, start_writer: Another) -> None:
    hosted = await shared.host(await shared.conversation())
    async with start_writer(shared.database, shared.clock, "node-2") as other:
        for _ in range(5):
            turn = await shared.turn(hosted)
            outcomes = await asyncio.gather(
                *[w.submit(CommitReply(turn, hosted.epoch, "one", WREN)) for w in (shared.writer, other)],
                *[w.submit(CommitReply(turn, hosted.epoch, "two", WREN)) for w in (shared.writer, other)],
                return_exceptions=True,
            )
            assert [type(each) for each in outcomes].count(Message) == 1
            assert all(isinstance(each, (Message, errors.Conflict)) for each in outcomes)
            assert (await turns.load_turn(shared.pool, turn.id)).status is TurnStatus.COMMITTED


async def test_a_turn_that_gets_no_reply_says_why(shared: Store) -> None:
    hosted = await shared.host(await shared.conversation())
    failed, cancelled = await shared.turn(hosted), await shared.turn(hosted, started=False)
    await shared.writer.submit(
        EndTurn(failed, 1, TurnStatus.FAILED, "model overloaded", [TurnEvent(1, "error", "")])
    )
    await shared.writer.submit(EndTurn(cancelled, 1, TurnStatus.CANCELLED))
    assert (await turns.load_turn(shared.pool, failed.id)).error == "model overloaded"
    assert (await turns.load_turn(shared.pool, cancelled.id)).status is TurnStatus.CANCELLED
    waiting = await shared.turn(hosted, started=False)
    for status, error in (
        (TurnStatus.FAILED, None),
        (TurnStatus.CANCELLED, "x"),
        (TurnStatus.COMMITTED, None),
    ):
        with pytest.raises((errors.InputInvalid, errors.TransitionRefused)):
            await shared.writer.submit(EndTurn(waiting, 1, status, error))
    with pytest.raises(errors.NotFound):
        await turns.load_turn(shared.pool, TurnId(shared.new_id()))


async def test_the_same_key_is_the_same_turn_and_other_words_are_refused(
    shared: Store, start_writer: Another
) -> None:
    here = await shared.conversation()

    def accept(words: str) -> AcceptTurn:
        return AcceptTurn(TurnId(shared.new_id()), here, words, ANN, idempotency_key="k")

    async with start_writer(shared.database, shared.clock, "node-2") as other:
        first, second, third = await asyncio.gather(
            *[writer.submit(accept("once")) for writer in (shared.writer, shared.writer, other)]
        )
        assert first.id == second.id == third.id
        for writer in (shared.writer, other):
            with pytest.raises(errors.IdempotencyConflict):
                await writer.submit(accept("twice"))
        await shared.writer.submit(retention.RedactMessages(here, 1, 1, "admin", "asked"))
        assert (await other.submit(accept("once"))).id == first.id
    assert len((await conversations.load_history(shared.pool, here)).messages) == 1


async def test_adoption_moves_the_turn_and_the_old_host_is_refused_at_every_step(
    shared: Store, start_writer: Another
) -> None:
    here = await shared.conversation()
    old = await shared.host(here)
    queued, turn = await shared.turn(old, started=False), await shared.turn(old)
    await shared.writer.submit(EmitEvents(turn.id, 1, [TurnEvent(1, "delta", "Well")]))
    async with start_writer(shared.database, shared.clock, "node-2") as other:
        new = await other.submit(AdoptInstance(old, "node-1 is silent"))
        assert (new.epoch, new.host) == (2, "node-2")
        assert {each.epoch for each in await turns.list_unfinished(shared.pool, here)} == {2}
        for stale in (
            conversations.AppendMessage(here, Role.USER, "still me", ANN, epoch=1),
            AcceptTurn(TurnId(shared.new_id()), here, "still me", ANN, epoch=1),
            StartTurn(queued, 1),
            EmitEvents(turn.id, 1, [TurnEvent(2, "delta", ", still me")]),
            CommitReply(turn, 1, "still me", WREN),
            EndTurn(turn, 1, TurnStatus.FAILED, "still me"),
            instances.ChangeInstance(old, instances.InstanceStatus.RUNNING, "still me"),
            AdoptInstance(old, "still me"),
            instances.SpawnInstance(old.id, here, "model-1", 1),
        ):
            with pytest.raises(errors.Conflict):
                await shared.writer.submit(stale)
        adopted = await turns.load_turn(shared.pool, turn.id)
        await other.submit(StartTurn(adopted, 2))
        await other.submit(EmitEvents(turn.id, 2, [TurnEvent(2, "restarted", "")]))
        reply = await other.submit(CommitReply(adopted, 2, "Well, I am back", WREN))
    done = await turns.load_turn(shared.pool, turn.id)
    assert (done.attempt, done.reply_seq, done.event_head) == (2, reply.seq, 2)
    said = (await conversations.load_history(shared.pool, here)).messages
    assert [each.content for each in said] == ["hello", "hello", "Well, I am back"]


async def test_a_commit_that_races_an_adoption_happens_before_it_or_not_at_all(
    shared: Store, start_writer: Another
) -> None:
    won = []
    async with start_writer(shared.database, shared.clock, "node-2") as other:
        for attempt in range(30):
            here = await shared.conversation()
            old = await shared.host(here)
            turn = await shared.turn(old)
            commit = asyncio.create_task(shared.writer.submit(CommitReply(turn, 1, "mine", WREN)))
            for _ in range(attempt % 10):
                await asyncio.sleep(0)
            new = await other.submit(AdoptInstance(old, "node-1 is silent"))
            won.append(await _settled(shared, other, commit, turn.id, new))
            assert len((await conversations.load_history(shared.pool, here)).messages) == 2
    assert set(won) <= {"old", "new"}


async def _settled(
    store: Store, other: Writer, commit: asyncio.Task[Message], turn: TurnId, new: Instance
) -> str:
    try:
        await commit
    except errors.Conflict:
        adopted = await turns.load_turn(store.pool, turn)
        assert (adopted.status, adopted.epoch) == (TurnStatus.RUNNING, 2)
        await other.submit(StartTurn(adopted, new.epoch))
        await other.submit(CommitReply(adopted, new.epoch, "taken over", WREN))
        return "new"
    assert (await turns.load_turn(store.pool, turn)).status is TurnStatus.COMMITTED
    return "old"


async def test_a_message_and_its_turn_are_there_together_or_not_at_all(shared: Store) -> None:
    here = await shared.conversation()
    taken = await shared.turn(await shared.host(here), started=False)
    with pytest.raises(errors.Conflict):
        await shared.writer.submit(AcceptTurn(taken.id, here, "the same id again", ANN, epoch=1))
    assert len((await conversations.load_history(shared.pool, here)).messages) == 1
    nowhere = ConversationId(shared.new_id())
    with pytest.raises(errors.NotFound):
        await shared.writer.submit(AcceptTurn(TurnId(shared.new_id()), nowhere, "anybody?", ANN))


async def test_a_host_that_is_idle_accepts_and_begins_in_one(shared: Store) -> None:
    hosted = await shared.host(await shared.conversation())
    first = AcceptTurn(
        TurnId(shared.new_id()),
        hosted.conversation,
        "Hello",
        ANN,
        hosted.epoch,
        begun=True,
        unused=True,
    )
    turn = await shared.writer.submit(first)
    assert turn == await turns.load_turn(shared.pool, turn.id)
    assert (turn.status, turn.attempt) == (TurnStatus.RUNNING, 1)
    second = AcceptTurn(TurnId(shared.new_id()), hosted.conversation, "And?", ANN, hosted.epoch, begun=True)
    with pytest.raises(errors.Conflict):
        await shared.writer.submit(second)  # one turn of a conversation runs at a time
    waits = await shared.writer.submit(replace(second, begun=False))
    assert (waits.status, waits.user_seq) == (TurnStatus.ACCEPTED, 2)
    reply = await shared.writer.submit(CommitReply(turn, hosted.epoch, "Hello to you", WREN))
    assert (reply.seq, reply.turn) == (3, turn.id)


async def test_what_many_turns_need_at_once_is_refused_to_the_guilty_one_alone(shared: Store) -> None:
    hosts = [await shared.host(await shared.conversation()) for _ in range(6)]
    begun = [await shared.turn(host) for host in hosts]
    waiting = [await shared.turn(host, started=False) for host in hosts]
    stale = EmitEvents(begun[0].id, 7, [TurnEvent(1, "delta", "under no epoch of mine")])
    outcomes = await asyncio.gather(
        *(
            shared.writer.submit(CommitReply(turn, 1, "Yes", WREN, [TurnEvent(1, "done", "")]))
            for turn in begun[1:]
        ),
        shared.writer.submit(stale),
        *(shared.writer.submit(EndTurn(turn, 1, TurnStatus.CANCELLED)) for turn in waiting),
        return_exceptions=True,
    )
    assert [type(each).__name__ for each in outcomes] == [
        *["Message"] * 5, "SequenceConflict", *["NoneType"] * 6
    ]  # fmt: skip
    assert [(await turns.load_turn(shared.pool, turn.id)).event_head for turn in begun] == [0, *[1] * 5]
