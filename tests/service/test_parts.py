"""The composition root: one death stops the node, and stopping has a deadline."""

from __future__ import annotations

import asyncio

import pytest

from ccn import errors
from ccn.service.parts import run_together


async def until(stop: asyncio.Event) -> None:
    await stop.wait()


async def test_parts_that_stop_when_asked_end_before_the_node_does() -> None:
    stop, happened = asyncio.Event(), list[str]()

    async def serve(name: str) -> None:
        await stop.wait()
        await asyncio.sleep(0.01)
        happened.append(name)

    async with run_together({"http": serve("http"), "grpc": serve("grpc")}, stop, 60.0):
        happened.append("told to stop")
        stop.set()
    happened.append("ended")
    assert happened[0] == "told to stop"
    assert {*happened[1:3]} == {"http", "grpc"}
    assert happened[3:] == ["ended"]


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
        async with run_together({"http": lives(), "grpc": dies()}, stop, 1.0):
            await stop.wait()
    assert cancelled.is_set()


async def test_a_part_that_ends_by_itself_is_a_death_too() -> None:
    stop = asyncio.Event()
    with pytest.raises(errors.NodeFailed, match=r"^readiness ended by itself$"):
        async with run_together({"http": until(stop), "readiness": asyncio.sleep(0)}, stop, 1.0):
            await stop.wait()


async def test_a_part_that_does_not_stop_is_cut_off_and_named() -> None:
    stop = asyncio.Event()
    with pytest.raises(errors.NodeFailed, match=r"^grpc did not stop within 0.05 s$"):
        async with run_together({"http": until(stop), "grpc": asyncio.sleep(60)}, stop, 0.05):
            stop.set()
