"""A turn made ready while its message is made durable: what is put aside is used once, or given back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import cast

import pytest
from pydantic import SecretStr

from ccn import errors, settings
from ccn.claude import client
from ccn.claude.stand_in import server
from ccn.core.calls import price
from ccn.core.calls.call import Call, Piece
from ccn.core.calls.price import CallSize
from ccn.core.ids import ConversationId, TurnId
from ccn.core.turn import TurnStatus
from ccn.node.spending.paid_model import PaidModel, Payer
from ccn.node.spending.reservation import CallReservation
from ccn.node.turns import prefetch
from ccn.store.connection import pool
from ccn.store.conversations import conversations
from ccn.store.conversations.conversations import CloseConversation
from ccn.store.conversations.instances import Instance
from ccn.store.conversations.turns import AcceptTurn
from ccn.store.spending import spend
from tests.support.node import node_world
from tests.support.node.node_world import Model, Node
from tests.support.speakers import ANN


@dataclass
class Counting(Model):
    """Puts nothing aside, and remembers for whom it would have."""

    reserved: list[tuple[Call | CallSize, Payer]] = field(default_factory=list)
    used: list[Payer] = field(default_factory=list)
    released: list[Payer] = field(default_factory=list)

    def reserve(self, what: Call | CallSize, who: Payer) -> Payer:
        made = replace(who, reservation=cast("CallReservation", object()))
        self.reserved.append((what, made))
        return made

    def release(self, who: Payer) -> None:
        self.released.append(who)

    async def stream(self, call: Call, who: Payer) -> AsyncGenerator[Piece, None]:
        self.used.append(who)
        async for piece in super().stream(call, who):
            yield piece

    def new(self) -> Counting:
        """Forget the interview."""
        self.reserved, self.used, self.released, self.calls = [], [], [], []
        return self


@pytest.fixture
async def here(database: settings.DatabaseSettings) -> AsyncIterator[Node]:
    world = await node_world.found_world(database)
    async with world.node("node-1", Counting()) as node:
        yield node


def model_of(node: Node) -> Counting:
    assert isinstance(node.model, Counting)
    return node.model


def purses(payers: list[Payer]) -> list[int]:
    return [id(each.reservation) for each in payers]


def instance(node: Node, talk: ConversationId) -> Instance:
    hosted = node.living.hosting.find_hosted(talk)
    assert hosted is not None
    return hosted.instance


async def test_a_turn_is_asked_with_what_was_put_aside_while_it_was_accepted(here: Node) -> None:
    talk, model = await here.begin_conversation(), model_of(here).new()
    for words in ("One", "Two", "Three"):
        await here.reply((await here.conversations.say(talk, words, ANN)).id)
    first, *others = [what for what, _ in model.reserved]
    assert first == model.calls[0], "how large it is was not known before it was built"
    for what, call in zip(others, model.calls[1:], strict=True):
        assert isinstance(what, CallSize)
        assert price.estimate_prompt(call) < what.prompt < price.estimate_prompt(call) + 2 * call.max_tokens
    assert purses(model.used) == purses([payer for _, payer in model.reserved])
    assert model.released == []


async def test_an_interview_is_asked_with_what_was_put_aside_while_its_conversation_was_begun(
    here: Node,
) -> None:
    await here.begin_conversation()
    model = model_of(here)
    assert purses(model.used) == purses([payer for _, payer in model.reserved])
    assert len(model.used) == 6


async def test_a_message_that_is_refused_gives_back_what_was_put_aside(here: Node) -> None:
    talk, model = await here.begin_conversation(), model_of(here).new()
    await here.writer.submit(CloseConversation(await conversations.load_conversation(here.pool, talk)))
    with pytest.raises(errors.Conflict):
        await here.conversations.say(talk, "Too late", ANN)
    await _until(lambda: len(model.released) == len(model.reserved))
    assert purses(model.released) == purses([payer for _, payer in model.reserved])
    assert model.used == []


async def test_a_message_that_gets_another_place_is_asked_anew_and_gives_back(here: Node) -> None:
    talk, model = await here.begin_conversation(), model_of(here).new()
    speaker, foreseen = instance(here, talk), prefetch.Prefetch(here.living.prompts, model)
    turn = TurnId(node_world.new_id())
    foreseen.prepare_turn(speaker, turn, "Second")
    await _until(lambda: bool(model.reserved))
    await here.writer.submit(AcceptTurn(TurnId(node_world.new_id()), talk, "First", ANN, speaker.epoch))
    accepted = await here.writer.submit(AcceptTurn(turn, talk, "Second", ANN, speaker.epoch))
    ask = await foreseen.take_call(speaker, accepted)
    said = [each.text for each in ask.call.messages]
    assert (said[0], said[-1]) == ("First", "Second"), "and between them a reply, if the host was quick"
    assert ask.payer.reservation is None
    assert purses(model.released) == purses([payer for _, payer in model.reserved])


async def test_a_message_that_is_read_already_is_in_the_prompt_once(here: Node) -> None:
    talk, model = await here.begin_conversation(), model_of(here).new()
    speaker, foreseen = instance(here, talk), prefetch.Prefetch(here.living.prompts, model)
    accepted = await here.writer.submit(
        AcceptTurn(TurnId(node_world.new_id()), talk, "First", ANN, speaker.epoch)
    )
    foreseen.prepare_turn(speaker, accepted.id, "First")
    ask = await foreseen.take_call(speaker, accepted)
    assert [each.text for each in ask.call.messages] == ["First"]
    assert purses([ask.payer]) == purses([payer for _, payer in model.reserved])


async def test_what_was_foreseen_is_what_is_built_when_nothing_was(here: Node) -> None:
    talk, model = await here.begin_conversation(), model_of(here).new()
    for words in ("One", "Two", "Three"):
        turn = await here.conversations.say(talk, words, ANN)
        await here.reply(turn.id)
        again = await here.living.prompts.build_call(instance(here, talk), turn.user_seq)
        assert model.calls[-1] == again
        assert [each.text for each in again.messages].count(words) == 1


async def test_of_too_many_the_oldest_is_forgotten_and_gives_back(here: Node) -> None:
    talk, model = await here.begin_conversation(), model_of(here).new()
    foreseen = prefetch.Prefetch(here.living.prompts, model, limit=2)
    named = [TurnId(node_world.new_id()) for _ in range(3)]
    for nth, turn in enumerate(named):
        foreseen.prepare_turn(instance(here, talk), turn, f"message {nth}")
        await _until(lambda nth=nth: len(model.reserved) == nth + 1)
    assert purses(model.released) == purses([model.reserved[0][1]])
    for turn in named:
        foreseen.discard_turn(turn)
        foreseen.discard_turn(turn)
    assert len(model.released) == 3, "each once"


async def test_a_turn_that_is_cancelled_before_it_is_asked_gives_back(here: Node) -> None:
    talk, model = await here.begin_conversation(), model_of(here).new()
    speaker, foreseen = instance(here, talk), prefetch.Prefetch(here.living.prompts, model)
    accepted = await here.writer.submit(
        AcceptTurn(TurnId(node_world.new_id()), talk, "First", ANN, speaker.epoch)
    )
    foreseen.prepare_turn(speaker, accepted.id, "First")
    asking = asyncio.create_task(foreseen.take_call(speaker, accepted))
    await _until(lambda: bool(model.reserved))
    if not asking.done():
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert purses(model.released) == purses([payer for _, payer in model.reserved])


@asynccontextmanager
async def make_paid_model(database: settings.DatabaseSettings) -> AsyncIterator[Node]:
    """A node whose model is the stand-in, and is paid."""
    world = await node_world.found_world(database)
    async with server.run_stand_in() as api:
        claude = settings.ClaudeSettings(base_url=api.url, api_key=SecretStr("any"))
        async with client.open_client(claude) as asks, pool.open(database, "purse") as purse:
            model = cast(
                "Model",
                PaidModel(asks, purse, claude, lambda: datetime.now(UTC), settings.LimitsSettings()),
            )
            async with world.node("node-1", model) as node:
                yield node


async def test_whatever_becomes_of_messages_nothing_stays_held(database: settings.DatabaseSettings) -> None:
    async with make_paid_model(database) as node:
        talk = await node.begin_conversation()
        turn = await node.conversations.say(talk, "Hello.", ANN)
        assert await node.reply(turn.id)
        assert (await node.conversations.load_turn(turn.id)).status is TurnStatus.COMMITTED
        await node.writer.submit(CloseConversation(await conversations.load_conversation(node.pool, talk)))
        with pytest.raises(errors.Conflict):
            await node.conversations.say(talk, "Too late.", ANN)
        async with asyncio.timeout(10):
            while await node.pool.value("SELECT count(*) FROM spend_reservations WHERE status = 'held'"):
                await asyncio.sleep(0.01)
        ended = await node.pool.rows("SELECT status, count(*) FROM spend_reservations GROUP BY 1")
        assert dict(map(tuple, ended))["settled"] == 7, "six questions and a turn"
        assert (await spend.load_of_conversation(node.pool, talk)).calls == 7
        today = await spend.day_total(node.pool, datetime.now(UTC).date())
        assert today.held == 0


async def _until(holds: object) -> None:
    assert callable(holds)
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.002)
