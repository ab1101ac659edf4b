"""A child that is kept running, with reports, patience and an end."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest

from ccn import errors
from ccn.embedded import child, supervision
from ccn.embedded.supervision import Backoff, ChildEvent, ChildExited, ChildRestarting, ChildStarted

NOWHERE = Path(os.devnull)
QUICK = Backoff(first_s=0.01, cap_s=0.04, steady_s=60.0)


def sleeping() -> child.Child:
    return child.start(["sleep", "600"], output=NOWHERE)


def shell(script: str) -> Callable[[], child.Child]:
    return lambda: child.start(["sh", "-c", script])


async def test_a_killed_child_comes_back_and_the_story_is_told(until: Callable[..., Any]) -> None:
    events: list[ChildEvent] = []
    async with supervision.supervise_child(
        "sleeper", sleeping, backoff=QUICK, on_event=events.append
    ) as kept:
        first = kept.pid
        os.kill(first, signal.SIGKILL)
        await until(lambda: kept.pid != first and isinstance(events[-1], ChildStarted))
        second = kept.pid
        assert psutil.pid_exists(second)
    assert not psutil.pid_exists(second)
    assert [type(event) for event in events] == [
        ChildStarted,
        ChildExited,
        ChildRestarting,
        ChildStarted,
        ChildExited,
    ]
    assert str(events[0]) == f"sleeper started, pid {first}"
    assert str(events[1]).endswith(f"s, pid {first}: killed by SIGKILL")
    assert str(events[2]) == "sleeper starts again in 0.0 s, attempt 1: killed by SIGKILL"
    stopped = events[4]
    assert isinstance(stopped, ChildExited)
    assert (stopped.pid, stopped.reason, stopped.wanted) == (second, "asked to, killed by SIGTERM", True)


def test_pauses_double_up_to_the_cap() -> None:
    backoff = Backoff(first_s=0.1, cap_s=1.0, steady_s=30.0)
    assert [backoff.delay_s(attempt) for attempt in range(1, 7)] == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
    assert backoff.delay_s(10_000) == 1.0


async def test_a_child_that_keeps_dying_is_started_less_and_less_often(until: Callable[..., Any]) -> None:
    delays: list[float] = []

    def note(event: ChildEvent) -> None:
        if isinstance(event, ChildRestarting):
            delays.append(event.delay_s)

    async with supervision.supervise_child("hasty", shell("exit 1"), backoff=QUICK, on_event=note):
        await until(lambda: len(delays) >= 5)
    assert delays[:5] == [0.01, 0.02, 0.04, 0.04, 0.04]


async def test_after_it_stayed_up_the_pauses_begin_anew(until: Callable[..., Any]) -> None:
    attempts: list[int] = []
    started = 0

    def note(event: ChildEvent) -> None:
        nonlocal started
        started += isinstance(event, ChildStarted)
        if isinstance(event, ChildRestarting):
            attempts.append(event.attempt)

    steady = Backoff(first_s=0.01, cap_s=0.04, steady_s=0.05)
    async with supervision.supervise_child("steady", sleeping, backoff=steady, on_event=note) as kept:
        for times in range(1, 4):
            await until(lambda: started == times)  # noqa: B023 - awaited at once
            await asyncio.sleep(2 * steady.steady_s)
            os.kill(kept.pid, signal.SIGKILL)
            await until(lambda: len(attempts) == times)  # noqa: B023 - awaited at once
    assert attempts == [1, 1, 1]


async def test_its_lines_are_handed_on_and_the_last_words_are_not_lost(until: Callable[..., Any]) -> None:
    lines: list[str] = []
    script = "trap 'echo last words; exit 0' TERM; echo hello; while :; do sleep 0.02; done"
    async with supervision.supervise_child("talker", shell(script), on_line=lines.append):
        await until(lambda: lines == ["hello"])
    assert lines == ["hello", "last words"]


async def test_a_very_long_line_is_cut() -> None:
    lines: list[str] = []
    done = asyncio.Event()

    def note(line: str) -> None:
        lines.append(line)
        if line == "end":
            done.set()

    script = "head -c 3000000 /dev/zero | tr '\\0' x; echo; echo end; exec sleep 600"
    async with supervision.supervise_child("shouter", shell(script), on_line=note):
        await asyncio.wait_for(done.wait(), 60)
    assert [len(line) for line in lines] == [child.LINE_LIMIT + 2, 3]


async def test_a_first_start_that_fails_is_raised() -> None:
    with pytest.raises(errors.EmbeddedFailed, match="/no/such"):
        async with supervision.supervise_child("missing", lambda: child.start(["/no/such"])):
            pytest.fail("it cannot have started")


async def test_a_first_start_that_does_not_become_ready_leaves_no_process() -> None:
    pids: list[int] = []

    async def never(started: child.Child) -> None:
        pids.append(started.pid)
        raise errors.EmbeddedFailed("it does not answer")

    with pytest.raises(errors.EmbeddedFailed, match="does not answer"):
        async with supervision.supervise_child("mute", sleeping, ready=never):
            pytest.fail("it was not ready")
    assert not psutil.pid_exists(pids[0])


async def test_a_later_start_that_fails_is_reported_and_tried_again(until: Callable[..., Any]) -> None:
    events: list[ChildEvent] = []
    starts = 0

    async def ready(started: child.Child) -> None:
        nonlocal starts
        starts += 1
        if starts == 2:
            raise errors.EmbeddedFailed("the disk is full")

    async with supervision.supervise_child(
        "moody", sleeping, ready=ready, backoff=QUICK, on_event=events.append
    ) as kept:
        first = kept.pid
        os.kill(first, signal.SIGKILL)
        await until(lambda: starts == 3 and isinstance(events[-1], ChildStarted))
    reasons = [event.reason for event in events if isinstance(event, ChildRestarting)]
    assert reasons == ["killed by SIGKILL", "the disk is full"]
    attempts = [event.attempt for event in events if isinstance(event, ChildRestarting)]
    assert attempts == [1, 2]


async def test_leaving_during_a_pause_does_not_wait_for_it(until: Callable[..., Any]) -> None:
    events: list[ChildEvent] = []
    slow = Backoff(first_s=600.0, cap_s=600.0)
    async with asyncio.timeout(60):
        async with supervision.supervise_child(
            "resting", shell("exit 1"), backoff=slow, on_event=events.append
        ):
            await until(lambda: isinstance(events[-1], ChildRestarting))


async def test_stopping_has_a_deadline() -> None:
    began = time.monotonic()
    stop = ((signal.SIGTERM, 0.1),)
    ready = asyncio.Event()
    script = "trap '' TERM; echo ready; while :; do sleep 0.05; done"
    async with supervision.supervise_child(
        "stubborn", shell(script), stop=stop, on_line=lambda _: ready.set()
    ) as kept:
        await ready.wait()
    assert 0.1 <= time.monotonic() - began < 60
    assert not psutil.pid_exists(kept.pid)


async def test_a_grandchild_that_keeps_the_output_open_does_not_keep_us() -> None:
    told = asyncio.Queue[str]()
    # The grandchild is a session of its own, so it outlives the child.
    script = "setsid sleep 600 & echo $!; wait"
    async with asyncio.timeout(60):
        async with supervision.supervise_child("parent", shell(script), on_line=told.put_nowait):
            grandchild = psutil.Process(int(await told.get()))
            while os.getsid(grandchild.pid) != grandchild.pid:
                await asyncio.sleep(0.01)
    assert grandchild.is_running()
    grandchild.kill()


async def test_a_callback_that_fails_is_a_defect_that_shows_and_leaves_no_process() -> None:
    called = asyncio.Event()

    def fail(_: str) -> None:
        called.set()
        raise RuntimeError("the callback is wrong")

    pids: list[int] = []

    async def story() -> None:
        async with supervision.supervise_child(
            "talker", shell("echo hello; exec sleep 600"), on_line=fail
        ) as kept:
            pids.append(kept.pid)
            await called.wait()

    with pytest.raises(RuntimeError, match="callback is wrong"):
        await story()
    assert not psutil.pid_exists(pids[0])


async def test_cancelling_the_block_stops_the_child() -> None:
    pids: list[int] = []
    entered = asyncio.Event()

    async def story() -> None:
        async with supervision.supervise_child("sleeper", sleeping) as kept:
            pids.append(kept.pid)
            entered.set()
            await asyncio.sleep(600)

    running = asyncio.create_task(story())
    await entered.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not psutil.pid_exists(pids[0])


async def test_a_block_that_ends_in_the_moment_the_child_does_stays_over() -> None:
    """The keeper has just heard of the death, and looks whether there are last lines."""
    pids: list[int] = []

    def start() -> child.Child:
        started = child.start(["sleep", "600"])
        pids.append(started.pid)
        return started

    async with asyncio.timeout(20):
        for turns in range(12):
            async with supervision.supervise_child("sleeper", start, backoff=QUICK) as kept:
                os.kill(kept.pid, signal.SIGKILL)
                await _until_it_has_ended(kept)
                for _ in range(turns):
                    await asyncio.sleep(0)
    assert not any(psutil.pid_exists(pid) for pid in pids)


async def _until_it_has_ended(kept: supervision.SupervisedChild) -> None:
    while kept._child is not None:
        await asyncio.sleep(0)


async def test_an_error_of_the_block_is_raised_as_it_is() -> None:
    with pytest.raises(LookupError, match="of the block"):
        async with supervision.supervise_child("sleeper", sleeping):
            raise LookupError("of the block")
