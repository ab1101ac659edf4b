"""Answers that are out before their calls are over: what is settled when, and what is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

import pytest

from ccn.core.calls.call import Call, CallMessage, Delta, Piece, Reply, TokenUsage
from ccn.core.ids import CharacterId
from ccn.core.message import Role
from ccn.node.spending.early_answer import EarlyAnswers
from ccn.node.spending.paid_model import Payer

CALL = Call("model-1", (), (CallMessage(Role.USER, "Well?"),), 10)
PAYER = Payer(None, CharacterId("ada"))
REPLY = Reply("Yes.", "end_turn", TokenUsage(1, 1), "model-1")


@dataclass
class Model:
    """Says these pieces, and notes how each call ends."""

    pieces: list[Piece] = field(default_factory=lambda: [Delta("Ye"), Delta("s."), REPLY])
    gate: asyncio.Event | None = None
    opened: int = 0
    closed: int = 0

    async def stream(self, call: Call, who: Payer) -> AsyncGenerator[Piece, None]:
        self.opened += 1
        try:
            for piece in self.pieces:
                if self.gate is not None:
                    await self.gate.wait()
                yield piece
        finally:
            self.closed += 1


async def test_the_answer_is_out_before_its_stream_is_closed() -> None:
    model = Model()
    async with EarlyAnswers(model) as answers:
        assert await answers.answer(CALL, PAYER) is REPLY
        assert model.closed == 0
    assert model.closed == 1


async def test_what_is_settled_is_closed_before_anything_that_is_begun_next() -> None:
    model, seen = Model(), list[int]()
    async with EarlyAnswers(model) as answers:
        await answers.answer(CALL, PAYER)
        answers.settle()
        reader = asyncio.create_task(asyncio.sleep(0, None))
        reader.add_done_callback(lambda _: seen.append(model.closed))
        await reader
        await asyncio.sleep(0)
    assert seen == [1]


async def test_what_comes_before_the_reply_is_heard_piece_by_piece() -> None:
    heard = list[Piece]()

    async def hear(piece: Piece) -> None:
        heard.append(piece)

    async with EarlyAnswers(Model()) as answers:
        await answers.answer(CALL, PAYER, hear)
    assert heard == [Delta("Ye"), Delta("s.")]


async def test_a_stream_without_a_reply_is_no_answer() -> None:
    model = Model([Delta("Ye")])
    async with EarlyAnswers(model) as answers:
        assert await answers.answer(CALL, PAYER) is None
        assert model.closed == 1


async def test_what_fails_is_told_to_whoever_asked() -> None:
    async def fail(_: Piece) -> None:
        raise ZeroDivisionError

    model = Model()
    async with EarlyAnswers(model) as answers:
        with pytest.raises(ZeroDivisionError):
            await answers.answer(CALL, PAYER, fail)
        assert model.closed == 1


async def test_whoever_wants_no_answer_any_more_cancels_the_call() -> None:
    model = Model(gate=asyncio.Event())
    async with EarlyAnswers(model) as answers:
        asking = asyncio.create_task(answers.answer(CALL, PAYER))
        while not model.opened:
            await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
    assert (model.opened, model.closed) == (1, 1)


async def test_several_calls_are_settled_together() -> None:
    model = Model()
    async with EarlyAnswers(model) as answers:
        replies = await asyncio.gather(*(answers.answer(CALL, PAYER) for _ in range(5)))
        assert (replies, model.closed) == ([REPLY] * 5, 0)
    assert model.closed == 5
