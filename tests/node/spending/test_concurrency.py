"""Places of users: never more than there are, in the order of coming, and nobody waits for a stranger."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from uuid import UUID

import pytest

from ccn import errors
from ccn.core.ids import UserId
from ccn.node.spending.concurrency import ConcurrencyLimit

ADA, EVE = UserId(UUID(int=1)), UserId(UUID(int=2))


def shares(most: int, line: int = 100) -> ConcurrencyLimit:
    return ConcurrencyLimit(most, line, errors.TooManyCalls, "calls are under way")


async def turns_of_loop(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_whoever_comes_when_all_places_are_taken_waits_and_strangers_do_not() -> None:
    places, served, over = shares(2), list[int](), asyncio.Event()

    async def work(nth: int, user: UserId) -> None:
        async with places.take_slot(user):
            served.append(nth)
            await over.wait()

    tasks = [asyncio.create_task(work(nth, ADA)) for nth in range(4)]
    tasks += [asyncio.create_task(work(9, EVE))]
    await turns_of_loop()
    assert served == [0, 1, 9]
    assert (places.count_taken(ADA), places.count_taken(EVE)) == (2, 1)
    over.set()
    await asyncio.gather(*tasks)
    assert served == [0, 1, 9, 2, 3]
    assert places.count_taken(ADA) == 0


async def test_a_line_has_an_end_except_for_the_patient() -> None:
    places, over = shares(1, line=1), asyncio.Event()

    async def work(*, patient: bool = False) -> None:
        async with places.take_slot(ADA, patient=patient):
            await over.wait()

    tasks = [asyncio.create_task(work()) for _ in range(2)]
    await turns_of_loop()
    with pytest.raises(errors.TooManyCalls, match="1 calls are under way"):
        await work()
    tasks.append(asyncio.create_task(work(patient=True)))
    await turns_of_loop()
    over.set()
    await asyncio.gather(*tasks)


async def test_a_place_that_is_left_early_is_left_once() -> None:
    places = shares(1)
    async with places.take_slot(ADA) as place:
        place.leave()
        async with places.take_slot(ADA):
            place.leave()
            assert places.count_taken(ADA) == 1
    assert places.count_taken(ADA) == 0


async def test_nobody_s_things_are_not_counted() -> None:
    places = shares(1)
    async with places.take_slot(None), places.take_slot(None):
        assert places.count_taken(ADA) == 0


async def test_no_place_is_lost_or_doubled_whoever_is_cancelled_when() -> None:
    dice = random.Random(5)
    places, most = shares(3), 0

    async def work() -> None:
        nonlocal most
        async with places.take_slot(ADA, patient=True):
            most = max(most, places.count_taken(ADA))
            for _ in range(dice.randrange(3)):
                await asyncio.sleep(0)

    tasks = [asyncio.create_task(work()) for _ in range(300)]
    while pending := [each for each in tasks if not each.done()]:
        for each in dice.sample(pending, min(2, len(pending))):
            each.cancel()
        await asyncio.sleep(0)
    for each in tasks:
        with suppress(asyncio.CancelledError):
            await each
    assert most == 3
    assert places.count_taken(ADA) == 0
    async with places.take_slot(ADA), places.take_slot(ADA), places.take_slot(ADA):
        assert places.count_taken(ADA) == 3
