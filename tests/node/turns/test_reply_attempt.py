"""One attempt at a reply: what was said is stored in order, and the end once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from ccn import errors, settings
from ccn.core import stream
from ccn.core.ids import TurnId
from ccn.core.stream import EventKind, StreamEvent
from ccn.core.turn import TurnStatus
from ccn.node.turns.reply_attempt import ReplyAttempt
from ccn.node.turns.turn_stream import LiveStream
from ccn.store.conversations import turns
from ccn.store.conversations.instances import Instance
from ccn.store.conversations.turns import AcceptTurn, Turn
from tests.support.node import node_world
from tests.support.node.node_world import Node
from tests.support.speakers import ANN

DONE = '{"stop": "end_turn"}'


@dataclass
class Accepted:
    """A turn that no host takes up, and what attempts at it need."""

    node: Node
    instance: Instance
    turn: Turn

    def begin_attempt(self, epoch: int | None = None) -> ReplyAttempt:
        live = LiveStream(self.turn.id, self.turn.epoch if epoch is None else epoch, 0)
        return ReplyAttempt(self.node.pool, self.node.writer, self.turn, live, 0.005)

    async def load_turn(self) -> Turn:
        return await turns.load_turn(self.node.pool, self.turn.id)

    async def load_events(self) -> list[StreamEvent]:
        return list(await turns.load_stream(self.node.pool, self.turn.id, stream.START))


@pytest.fixture
async def accepted(database: settings.DatabaseSettings) -> AsyncIterator[Accepted]:
    world = await node_world.found_world(database)
    async with world.node("node-1", without=("hosting", "adoption")) as node:
        begun = await node.conversations.start(node_world.ADA)
        turn = TurnId(node_world.new_id())
        accept = AcceptTurn(turn, begun.conversation.id, "Hello?", ANN, begun.instance.epoch)
        yield Accepted(node, begun.instance, await node.writer.submit(accept))


async def test_what_readers_heard_is_stored_before_the_end_and_the_call_settled_before_readers_hear_it(
    accepted: Accepted,
) -> None:
    attempt, settled = accepted.begin_attempt(), list[bool]()
    await attempt.start()
    writing = asyncio.create_task(attempt.keep_writing())
    attempt.say(EventKind.DELTA, "Well, ")
    async with asyncio.timeout(60):
        while not await accepted.load_events():
            await asyncio.sleep(0.005)
    attempt.say(EventKind.DELTA, "hello.")
    attempt.stop_writing()
    await writing
    reply = await attempt.commit_reply(
        accepted.instance.id, "Well, hello.", DONE, lambda: settled.append(attempt.live.ended)
    )
    assert (reply.content, reply.turn) == ("Well, hello.", accepted.turn.id)
    assert settled == [False]
    assert attempt.live.ended
    events = await accepted.load_events()
    assert [(event.kind, event.data) for event in events] == [
        (EventKind.DELTA, "Well, "),
        (EventKind.DELTA, "hello."),
        (EventKind.DONE, DONE),
    ]
    assert [event.position.number for event in events] == [1, 2, 3]


async def test_a_reply_that_is_committed_twice_is_there_once(accepted: Accepted) -> None:
    first, second = accepted.begin_attempt(), accepted.begin_attempt()
    await first.start()
    second.turn = first.turn
    replies = [
        await attempt.commit_reply(accepted.instance.id, words, DONE, lambda: None)
        for attempt, words in ((first, "The first."), (second, "The second."))
    ]
    assert [reply.content for reply in replies] == ["The first.", "The first."]
    said = await accepted.node.read_messages(accepted.turn.conversation)
    assert said == [("user", "Hello?"), ("assistant", "The first.")]


async def test_a_host_whose_epoch_is_over_learns_it_and_writes_nothing(accepted: Accepted) -> None:
    late = accepted.begin_attempt(accepted.turn.epoch - 1)
    with pytest.raises(errors.StaleHost, match="is over"):
        await late.start()
    assert (await accepted.load_turn()).status is TurnStatus.ACCEPTED
    assert await accepted.load_events() == []


async def test_a_turn_without_a_reply_ends_with_its_reason(accepted: Accepted) -> None:
    attempt = accepted.begin_attempt()
    await attempt.start()
    attempt.say(EventKind.DELTA, "Well, ")
    await attempt.end_without_reply(TurnStatus.FAILED, "ModelUnavailable", "no answer")
    ended = await accepted.load_turn()
    assert (ended.status, ended.error, ended.reply_seq) == (TurnStatus.FAILED, "ModelUnavailable", None)
    assert [event.kind for event in await accepted.load_events()] == [EventKind.DELTA, EventKind.ERROR]


async def test_readers_of_an_attempt_that_is_begun_again_are_told_so(accepted: Accepted) -> None:
    first = accepted.begin_attempt()
    await first.start()
    accepted.turn = await accepted.load_turn()
    again = accepted.begin_attempt()
    assert again.live.length == 0
    await again.start()
    assert again.began
    assert (await accepted.load_turn()).attempt == 2
