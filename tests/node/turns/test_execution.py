"""One turn on one node: accepted, streamed, committed once, or ended with its reason."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

import orjson
import pytest

from ccn import errors, settings
from ccn.core.calls.call import Call, Piece
from ccn.core.ids import ConversationId, TurnId
from ccn.core.stream import EventKind, StreamEvent
from ccn.core.turn import TurnStatus
from ccn.node.instances.hosting import DatabaseHostStore
from ccn.node.spending.paid_model import Payer
from ccn.store.connection.pool import Pool
from ccn.store.conversations import turns
from ccn.store.upkeep import retention
from tests.support.node import node_world
from tests.support.node.node_world import Model, Node, numbers, text
from tests.support.speakers import ANN


@pytest.fixture
async def here(database: settings.DatabaseSettings) -> AsyncIterator[Node]:
    world = await node_world.found_world(database)
    async with world.node("node-1") as node:
        yield node


async def test_a_message_gets_a_reply_that_is_streamed_and_committed_once(here: Node) -> None:
    talk = await here.begin_conversation()
    turn = await here.conversations.say(talk, "How are you?", ANN)
    told = [each async for each in here.conversations.follow_turn(turn.id)]
    assert [each.kind for each in told] == [EventKind.DELTA] * 4 + [EventKind.DONE]
    assert numbers(told) == [(1, number) for number in range(1, 6)]
    assert orjson.loads(told[-1].data)["stop"] == "end_turn"
    assert await here.read_messages(talk) == [("user", "How are you?"), ("assistant", "Well, I am here.")]
    again = [each async for each in here.conversations.follow_turn(turn.id)]
    assert again == told, "from the database it is the same stream"
    assert [each async for each in here.conversations.follow_turn(turn.id, told[2].position)] == told[3:]
    assert [each async for each in here.conversations.follow_turn(turn.id, told[-1].position)] == []


@dataclass
class AwayOnce(Model):
    """The first call cannot be paid for, because of the database."""

    failure: errors.CCNError | None = None

    async def stream(self, call: Call, who: Payer) -> AsyncGenerator[Piece, None]:
        if (failure := self.failure) is not None:
            self.failure = None
            raise failure
        async for piece in super().stream(call, who):
            yield piece


@pytest.mark.parametrize("failure", [errors.DatabaseUnavailable, errors.OutcomeUnknown])
async def test_a_turn_outlives_a_failover_in_which_it_reserves_what_it_costs(
    database: settings.DatabaseSettings, failure: Callable[[str], errors.CCNError]
) -> None:
    world, model = await node_world.found_world(database), AwayOnce()
    async with world.node("node-1", model) as node:
        talk = await node.begin_conversation()
        model.failure = failure("a primary died")
        turn = await node.conversations.say(talk, "Hello", ANN)
        assert await node.reply(turn.id) == "Well, I am here."
        assert model.failure is None


@dataclass
class Slow(Model):
    """Takes its time to settle."""

    settled_now: asyncio.Event = field(default_factory=asyncio.Event)

    async def stream(self, call: Call, who: Payer) -> AsyncGenerator[Piece, None]:
        try:
            async for piece in super().stream(call, who):
                yield piece
        finally:
            await self.settled_now.wait()


async def test_a_reader_is_told_the_end_when_the_reply_is_kept_whatever_its_call_still_waits_for(
    database: settings.DatabaseSettings,
) -> None:
    world, model = await node_world.found_world(database), Slow()
    model.settled_now.set()
    async with world.node("node-1", model) as node:
        talk = await node.begin_conversation()
        model.settled_now.clear()
        async with asyncio.timeout(10):
            turn = await node.conversations.say(talk, "Hello", ANN)
            assert await node.reply(turn.id) == "Well, I am here."
        assert (await node.conversations.load_turn(turn.id)).status is TurnStatus.COMMITTED
        model.settled_now.set()
        assert (
            await node.reply((await node.conversations.say(talk, "And now?", ANN)).id) == "Well, I am here."
        )


async def test_messages_that_come_meanwhile_are_answered_in_order(here: Node) -> None:
    talk, go = await here.begin_conversation(), asyncio.Event()
    here.model.gate = lambda _: _wait(go)
    sent = [
        await here.conversations.say(talk, f"message {n}", ANN, idempotency_key=f"{n}") for n in range(4)
    ]
    with pytest.raises(errors.TurnRunning):
        await here.conversations.say(talk, "now or never", ANN, refuse=True)
    with pytest.raises(errors.Overloaded):
        await here.conversations.say(talk, "one too many", ANN)
    assert (await here.conversations.say(talk, "message 3", ANN, idempotency_key="3")).id == sent[3].id
    go.set()
    for turn in sent:
        assert await here.reply(turn.id) == "Well, I am here."
    said = await here.read_messages(talk)
    assert [content for role, content in said if role == "user"] == [f"message {n}" for n in range(4)]
    last = here.model.calls[-1].messages
    assert [each.role.value for each in last] == ["user", "assistant"] * 3 + ["user"]


async def test_a_host_that_is_idle_begins_with_the_message_and_reads_its_prompt_meanwhile(
    here: Node,
) -> None:
    talk, asked = await here.begin_conversation(), ["First", "Second", "Third"]
    for words in asked:
        turn = await here.conversations.say(talk, words, ANN, idempotency_key=words)
        assert (turn.status, turn.attempt) == (TurnStatus.RUNNING, 1)
        told = [each async for each in here.conversations.follow_turn(turn.id)]
        assert [each.kind for each in told] == [EventKind.DELTA] * 4 + [EventKind.DONE], (
            "nothing is begun anew"
        )
        again = await here.conversations.say(talk, words, ANN, idempotency_key=words)
        assert (again.id, again.status) == (turn.id, TurnStatus.COMMITTED)
    *_, last = here.model.calls
    assert [each.text for each in last.messages] == [
        "First", "Well, I am here.", "Second", "Well, I am here.", "Third"
    ]  # fmt: skip


async def test_what_was_redacted_a_moment_ago_is_in_no_prompt(here: Node) -> None:
    talk = await here.begin_conversation()
    await here.reply((await here.conversations.say(talk, "My secret", ANN)).id)
    await here.writer.submit(retention.RedactMessages(talk, 1, 1, "admin", "asked"))
    await here.reply((await here.conversations.say(talk, "What did I say?", ANN)).id)
    assert not any("secret" in each.text for each in here.model.calls[-1].messages)


async def test_a_turn_of_a_host_before_that_is_not_known_here_yet_is_no_obstacle(here: Node) -> None:
    talk = await here.begin_conversation()
    hosted = here.living.hosting.find_hosted(talk)
    assert hosted is not None
    epoch = hosted.instance.epoch
    unknown = turns.AcceptTurn(TurnId(node_world.new_id()), talk, "Before", ANN, epoch, begun=True)
    await here.writer.submit(unknown)
    turn = await here.conversations.say(talk, "After", ANN)
    assert await here.reply(turn.id) == "Well, I am here."
    assert await here.reply(unknown.id) == "Well, I am here."
    assert [role for role, _ in await here.read_messages(talk)].count("assistant") == 2


class LateLook(DatabaseHostStore):
    """Sees what waits a moment late."""

    async def list_unfinished(self, conversation: ConversationId) -> Sequence[turns.Turn]:
        await asyncio.sleep(0.1)
        return await super().list_unfinished(conversation)


@pytest.mark.parametrize("store", [DatabaseHostStore, LateLook])
async def test_many_at_once_are_not_let_past_the_limit(
    database: settings.DatabaseSettings, store: Callable[[Pool], DatabaseHostStore]
) -> None:
    """One is answered and three wait, also if the first are in the queue before the rest look."""
    world = await node_world.found_world(database)
    async with world.node("node-1", host_store=store) as here:
        talk, go = await here.begin_conversation(), asyncio.Event()
        here.model.gate = lambda _: _wait(go)
        outcomes = await asyncio.gather(
            *(here.conversations.say(talk, f"message {number}", ANN) for number in range(12)),
            return_exceptions=True,
        )
        assert [type(each) for each in outcomes].count(turns.Turn) == 4
        assert {type(each) for each in outcomes} == {turns.Turn, errors.Overloaded}
        go.set()


async def _wait(go: asyncio.Event) -> None:
    await go.wait()


async def test_the_same_key_is_the_same_turn_and_the_same_conversation(here: Node) -> None:
    first = await here.conversations.start(node_world.ADA, title="A", idempotency_key="k")
    again = await here.conversations.start(node_world.ADA, title="A", idempotency_key="k")
    assert again.conversation.id == first.conversation.id
    assert again.instance.id == first.instance.id
    with pytest.raises(errors.IdempotencyConflict):
        await here.conversations.start(node_world.ADA, title="B", idempotency_key="k")
    talk = first.conversation.id
    one = await here.conversations.say(talk, "once", ANN, idempotency_key="m")
    await here.reply(one.id)
    assert (await here.conversations.say(talk, "once", ANN, idempotency_key="m")).id == one.id
    with pytest.raises(errors.IdempotencyConflict):
        await here.conversations.say(talk, "twice", ANN, idempotency_key="m")
    assert len(await here.read_messages(talk)) == 2


async def test_a_stream_that_breaks_at_the_model_begins_anew_for_its_readers(here: Node) -> None:
    here.model.restarts = True
    turn = await here.conversations.say(await here.begin_conversation(), "Hello", ANN)
    told = [each async for each in here.conversations.follow_turn(turn.id)]
    assert [each.kind for each in told].count(EventKind.RESTART) == 1
    assert text(told) == "Well, I am here."


@pytest.mark.parametrize(
    ("words", "stop", "fails", "error"),
    [
        ((), "end_turn", None, "ReplyEmpty"),
        ((" ", "\n"), "max_tokens", None, "ReplyEmpty"),
        ((), "refusal", None, "ReplyDeclined"),
        (("Well",), "end_turn", errors.ModelUnavailable("gone"), "ModelUnavailable"),
        (("Well",), "end_turn", errors.BudgetSpent("nothing left"), "BudgetSpent"),
        (("Well",), "end_turn", ZeroDivisionError("a defect"), "ZeroDivisionError"),
    ],
)
async def test_a_turn_without_a_reply_says_why_and_the_next_one_is_answered(
    here: Node, words: tuple[str, ...], stop: str, fails: Exception | None, error: str
) -> None:
    talk = await here.begin_conversation()
    here.model.words, here.model.stop, here.model.fails = words, stop, fails
    turn = await here.conversations.say(talk, "Hello", ANN)
    told = [each async for each in here.conversations.follow_turn(turn.id)]
    assert told[-1].kind is EventKind.ERROR
    assert orjson.loads(told[-1].data)["error"] == error
    standing = await here.conversations.load_turn(turn.id)
    assert (standing.status, standing.error, standing.reply_seq) == (TurnStatus.FAILED, error, None)
    here.model.words, here.model.stop, here.model.fails = ("Yes.",), "end_turn", None
    assert await here.reply((await here.conversations.say(talk, "And now?", ANN)).id) == "Yes."


async def test_a_refusal_in_words_and_a_reply_that_was_cut_are_replies(here: Node) -> None:
    talk = await here.begin_conversation()
    for stop in ("refusal", "max_tokens"):
        here.model.words, here.model.stop = ("No. ", "I will not."), stop
        turn = await here.conversations.say(talk, "Do it", ANN)
        told = [each async for each in here.conversations.follow_turn(turn.id)]
        assert orjson.loads(told[-1].data)["stop"] == stop
        assert (await here.conversations.load_turn(turn.id)).status is TurnStatus.COMMITTED


async def test_whoever_cancels_ends_the_running_turn_and_those_that_wait(here: Node) -> None:
    talk, go = await here.begin_conversation(), asyncio.Event()
    here.model.gate = lambda nth: _wait(go) if nth == 2 else asyncio.sleep(0)
    running, waiting = (
        await here.conversations.say(talk, "one", ANN),
        await here.conversations.say(talk, "two", ANN),
    )
    follower = asyncio.create_task(_all(here, running))
    await here.wait_until(running.id, lambda turn: turn.event_head == 2)
    assert (await here.conversations.cancel_turn(waiting.id)).status is TurnStatus.CANCELLED
    assert (await here.conversations.cancel_turn(running.id)).status is TurnStatus.CANCELLED
    told = await follower
    assert [each.kind for each in told] == [EventKind.DELTA, EventKind.DELTA, EventKind.CANCELLED]
    assert [each.kind for each in await _all(here, waiting)] == [EventKind.CANCELLED]
    assert (await here.conversations.cancel_turn(running.id)).status is TurnStatus.CANCELLED, (
        "again, it changes nothing"
    )
    go.set()
    assert await here.reply((await here.conversations.say(talk, "three", ANN)).id) == "Well, I am here."


async def _all(node: Node, turn: turns.Turn) -> list[StreamEvent]:
    return [each async for each in node.conversations.follow_turn(turn.id)]


async def test_ending_a_conversation_cancels_what_runs_and_lets_nothing_in(here: Node) -> None:
    talk, go = await here.begin_conversation(), asyncio.Event()
    here.model.gate = lambda _: _wait(go)
    turn = await here.conversations.say(talk, "Hello", ANN)
    await here.conversations.end(talk)
    assert (await here.conversations.load_turn(turn.id)).status is TurnStatus.CANCELLED
    assert await here.conversations.list_instances() == []
    with pytest.raises(errors.Conflict, match="closed"):
        await here.conversations.say(talk, "Still there?", ANN)
    await here.conversations.end(talk)


async def test_idle_instances_make_no_call(here: Node) -> None:
    await here.begin_conversation()
    made = len(here.model.calls)
    await asyncio.sleep(0.5)
    assert len(here.model.calls) == made
