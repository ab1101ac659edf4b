"""One question serves all who ask at once, and is never older than anybody's asking."""

from __future__ import annotations

import asyncio

import pytest

from ccn import errors
from ccn.store.replicas.shared_ask import SharedAsk


class Oracle:
    """Answers with the number of the question, when it is let."""

    def __init__(self) -> None:
        self.questions = 0
        self.let = asyncio.Event()

    async def answer(self) -> int:
        self.questions += 1
        number = self.questions
        await self.let.wait()
        if number == 3:
            raise errors.DatabaseUnavailable("not today")
        return number


async def test_whoever_comes_while_a_question_is_under_way_gets_the_answer_to_the_next() -> None:
    oracle = Oracle()
    shared = SharedAsk(oracle.answer)
    first = [asyncio.create_task(shared.ask()) for _ in range(5)]
    while not oracle.questions:
        await asyncio.sleep(0)
    later = [asyncio.create_task(shared.ask()) for _ in range(5)]
    await asyncio.sleep(0)
    oracle.let.set()
    assert await asyncio.gather(*first) == [1] * 5
    assert await asyncio.gather(*later) == [2] * 5


async def test_a_failure_is_told_to_those_who_asked_and_to_nobody_after_them() -> None:
    oracle = Oracle()
    oracle.questions = 2
    oracle.let.set()
    shared = SharedAsk(oracle.answer)
    with pytest.raises(errors.DatabaseUnavailable):
        await shared.ask()
    assert await shared.ask() == 4


async def test_who_gives_up_leaves_the_others_their_answer() -> None:
    oracle = Oracle()
    shared = SharedAsk(oracle.answer)
    impatient, patient = (asyncio.create_task(shared.ask()) for _ in range(2))
    while not oracle.questions:
        await asyncio.sleep(0)
    impatient.cancel()
    oracle.let.set()
    assert await patient == 1
    assert impatient.cancelled()


async def test_closed_it_ends_what_is_under_way() -> None:
    oracle = Oracle()
    shared = SharedAsk(oracle.answer)
    asking = asyncio.create_task(shared.ask())
    while not oracle.questions:
        await asyncio.sleep(0)
    await shared.close()
    with pytest.raises(asyncio.CancelledError):
        await asking
