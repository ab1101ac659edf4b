"""A node whose database lost what it had shown ends in time, whatever hangs."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress

import pytest

from ccn import errors
from ccn.core.ids import NodeId
from ccn.service import lost_deadline
from ccn.store.connection.fence import Fence

SOON_S = 0.05


def _live(
    life: Coroutine[None, None, None], fence: Fence, gave_up: list[str]
) -> Coroutine[None, None, None]:
    return lost_deadline.live_until_lost(
        life, fence, in_order_s=SOON_S, cancelled_s=SOON_S, give_up=lambda: gave_up.append("at once")
    )


async def test_a_life_that_ends_in_order_says_what_it_says() -> None:
    fence, gave_up = Fence(NodeId("node-1")), list[str]()

    async def stop_in_order() -> None:
        await fence.broken.wait()
        fence.raise_if_lost()

    living = asyncio.create_task(_live(stop_in_order(), fence, gave_up))
    await asyncio.sleep(0)
    fence.mark_lost(errors.AcknowledgedLost("leaf 7 is gone"))
    with pytest.raises(errors.AcknowledgedLost, match="leaf 7 is gone"):
        await living
    assert gave_up == []


async def test_a_life_that_fails_or_ends_by_itself_does_so() -> None:
    async def fail() -> None:
        raise errors.NodeFailed("a part died")

    async def end() -> None:
        pass

    with pytest.raises(errors.NodeFailed, match="a part died"):
        await _live(fail(), Fence(NodeId("node-1")), [])
    await _live(end(), Fence(NodeId("node-1")), [])


async def test_what_hangs_is_cancelled_and_the_reason_stays() -> None:
    fence, gave_up = Fence(NodeId("node-1")), list[str]()
    fence.mark_lost(errors.RecordLost("block 3 is gone"))
    with pytest.raises(errors.RecordLost, match="block 3 is gone"):
        await _live(asyncio.sleep(600), fence, gave_up)
    assert gave_up == []


async def test_what_hangs_even_so_ends_with_the_process() -> None:
    fence, gave_up, let_go = Fence(NodeId("node-1")), list[str](), asyncio.Event()
    fence.mark_lost(errors.RecordLost("block 3 is gone"))

    async def hang() -> None:
        while not let_go.is_set():
            with suppress(asyncio.CancelledError):
                await let_go.wait()

    living = asyncio.create_task(_live(hang(), fence, gave_up))
    async with asyncio.timeout(30):
        while not gave_up:
            await asyncio.sleep(0.01)
    let_go.set()
    await living
    assert gave_up == ["at once"]


async def test_a_node_that_is_cancelled_takes_its_life_with_it() -> None:
    ended = asyncio.Event()

    async def live() -> None:
        try:
            await asyncio.sleep(600)
        finally:
            ended.set()

    living = asyncio.create_task(_live(live(), Fence(NodeId("node-1")), []))
    await asyncio.sleep(SOON_S)
    living.cancel()
    with pytest.raises(asyncio.CancelledError):
        await living
    assert ended.is_set()
