"""Whether a node can serve: one answer of all its probes, which anybody may wait for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from ccn import errors
from ccn.gateway.readiness import Check, Probe, Readiness

SOON_S = 0.01


async def passes() -> None:
    """Find nothing wrong."""


async def fails() -> None:
    raise errors.Unavailable("it is away")


async def fails_in_silence() -> None:
    raise errors.Unavailable


async def hangs() -> None:
    await asyncio.Event().wait()


@asynccontextmanager
async def watching(readiness: Readiness) -> AsyncIterator[Readiness]:
    watch = asyncio.create_task(readiness.watch_probes())
    try:
        yield readiness
    finally:
        readiness.stop()
        await watch


async def first_checks(readiness: Readiness) -> tuple[Check, ...]:
    async with watching(readiness), asyncio.timeout(10):
        await readiness.wait_for_change(readiness.checks)
        return readiness.checks


def test_a_node_that_has_not_looked_yet_is_not_ready() -> None:
    readiness = Readiness({})
    assert not readiness.ready
    assert readiness.checks == (Check("started", "starting"),)


async def test_a_node_without_neighbours_is_ready_once_it_has_looked() -> None:
    readiness = Readiness({})
    async with watching(readiness), asyncio.timeout(10):
        await readiness.wait_for_change(readiness.checks)
        assert readiness.ready
    assert not readiness.ready


@pytest.mark.parametrize(
    ("probe", "reason"),
    [
        (passes, ""),
        (fails, "it is away"),
        (fails_in_silence, "Unavailable"),
        (hangs, "no answer within 0.01 s"),
    ],
)
async def test_every_way_to_fail_has_a_reason(probe: Probe, reason: str) -> None:
    checks = await first_checks(Readiness({"x": probe}, {"y": probe}, deadline_s=SOON_S))
    assert checks == (Check("x", reason), Check("y", reason, needed=False))


async def test_a_probe_that_hangs_keeps_no_other_from_its_answer() -> None:
    checks = await first_checks(Readiness({"a": hangs, "b": passes, "c": fails}, deadline_s=SOON_S))
    assert [check.passes for check in checks] == [False, True, False]


async def test_whoever_waits_hears_of_every_change_and_of_the_end() -> None:
    away = False

    async def looks() -> None:
        if away:
            await fails()

    readiness = Readiness({"x": looks}, interval_s=SOON_S)
    async with watching(readiness), asyncio.timeout(10):
        await readiness.wait_for_change(readiness.checks)
        assert readiness.checks == (Check("x", ""),)
        away = True
        await readiness.wait_for_change(readiness.checks)
        assert readiness.checks == (Check("x", "it is away"),)
        readiness.stop()
        await readiness.wait_for_change((Check("x", "it is away"),))
        assert readiness.checks == (Check("running", "stopping"),)


async def test_two_who_wait_both_hear_of_one_change() -> None:
    readiness = Readiness({"x": passes})
    async with asyncio.timeout(10):
        waiting = [asyncio.create_task(readiness.wait_for_change(readiness.checks)) for _ in range(2)]
        async with watching(readiness):
            await asyncio.gather(*waiting)


async def test_probes_under_way_when_a_node_stops_do_not_make_it_ready_again() -> None:
    began, held = asyncio.Event(), asyncio.Event()

    async def waits() -> None:
        began.set()
        await held.wait()

    readiness = Readiness({"x": waits})
    async with watching(readiness), asyncio.timeout(10):
        await began.wait()
        readiness.stop()
        held.set()
    assert readiness.checks == (Check("running", "stopping"),)
