"""The composition root: one death stops the node, and stopping has a deadline."""

from __future__ import annotations

import asyncio

import pytest

from ccn import errors, service


async def until(stop: asyncio.Event) -> None:
    await stop.wait()


async def test_parts_that_stop_when_asked_end_the_node_in_order() -> None:
    stop = asyncio.Event()
    async with service.run_together({"http": until(stop), "grpc": until(stop)}, stop, 60.0):
        stop.set()


async def test_the_death_of_one_part_stops_all_and_names_it() -> None:
    stop, cancelled = asyncio.Event(), asyncio.Event()

    async def dies() -> None:
        await asyncio.sleep(0)
        raise ZeroDivisionError("oh")

    async def lives() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    with pytest.raises(errors.NodeFailed, match=r"^grpc died: ZeroDivisionError: oh$"):
        async with service.run_together({"http": lives(), "grpc": dies()}, stop, 1.0):
            await stop.wait()
    assert cancelled.is_set()


async def test_a_part_that_ends_by_itself_is_a_death_too() -> None:
    stop = asyncio.Event()
    with pytest.raises(errors.NodeFailed, match=r"^readiness ended by itself$"):
        async with service.run_together({"http": until(stop), "readiness": asyncio.sleep(0)}, stop, 1.0):
            await stop.wait()


async def test_a_part_that_does_not_stop_is_cut_off_and_named() -> None:
    stop = asyncio.Event()
    with pytest.raises(errors.NodeFailed, match=r"^grpc did not stop within 0.05 s$"):
        async with service.run_together({"http": until(stop), "grpc": asyncio.sleep(60)}, stop, 0.05):
            stop.set()
