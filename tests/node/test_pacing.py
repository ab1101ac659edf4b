"""Work that repeats: when it looks, and that it stops at once."""

from __future__ import annotations

import asyncio

import pytest

from ccn.node.pacing import every, pause

LONG_S = 3_600.0


@pytest.fixture
def stop() -> asyncio.Event:
    return asyncio.Event()


async def test_it_looks_at_once_and_then_after_every_pause(stop: asyncio.Event) -> None:
    looks = 0
    async for _ in every(0.001, stop):
        looks += 1
        if looks == 3:
            stop.set()
    assert looks == 3


async def test_it_may_pause_before_it_looks(stop: asyncio.Event) -> None:
    clock = asyncio.get_running_loop().time
    began = clock()
    async for _ in every(0.05, stop, pause_first=True):
        stop.set()
    assert clock() - began >= 0.05


async def test_told_to_stop_it_waits_for_no_pause(stop: asyncio.Event) -> None:
    async with asyncio.timeout(10):
        async for _ in every(LONG_S, stop):
            asyncio.get_running_loop().call_later(0.01, stop.set)


@pytest.mark.parametrize("pause_first", [False, True])
async def test_whoever_is_told_before_it_begins_never_looks(stop: asyncio.Event, pause_first: bool) -> None:
    stop.set()
    assert [None async for _ in every(LONG_S, stop, pause_first=pause_first)] == []


async def test_a_cancelled_pause_is_cancelled(stop: asyncio.Event) -> None:
    pausing = asyncio.create_task(pause(LONG_S, stop))
    await asyncio.sleep(0)
    pausing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await pausing


async def test_what_fails_in_the_loop_is_not_swallowed(stop: asyncio.Event) -> None:
    async def fail() -> None:
        async for _ in every(LONG_S, stop):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
