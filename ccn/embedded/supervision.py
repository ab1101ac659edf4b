"""Keeps one child running: starts it again with growing pauses when it dies, stops it within a deadline.

Separate because a node, PostgreSQL and etcd need the same patience and the same reports. This module
decides when. The caller says what is started, and when it counts as ready. Events and lines go to
callbacks, which must neither block nor fail: the caller puts names in front and prints.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from ccn import errors
from ccn.embedded import child
from ccn.embedded.child import Child

# A grandchild may keep the pipe open after the child has gone. We wait for it no longer than this.
_LAST_LINES_TIMEOUT_S = 1.0


@dataclass(frozen=True, slots=True)
class ChildStarted:
    """The child runs and is ready."""

    service: str
    pid: int

    def __str__(self) -> str:
        return f"{self.service} started, pid {self.pid}"


@dataclass(frozen=True, slots=True)
class ChildExited:
    """The child ended, `wanted` or by itself."""

    service: str
    pid: int
    reason: str
    lived_s: float
    wanted: bool

    def __str__(self) -> str:
        how = "stopped" if self.wanted else "died"
        return f"{self.service} {how} after {self.lived_s:.1f} s, pid {self.pid}: {self.reason}"


@dataclass(frozen=True, slots=True)
class ChildRestarting:
    """The child will be started again after a pause. `attempt` counts from 1 since it last stayed up."""

    service: str
    reason: str
    attempt: int
    delay_s: float

    def __str__(self) -> str:
        return f"{self.service} starts again in {self.delay_s:.1f} s, attempt {self.attempt}: {self.reason}"


ChildEvent = ChildStarted | ChildExited | ChildRestarting


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses between starts: doubling from `first_s` to `cap_s`, and anew once it ran for `steady_s`."""

    first_s: float = 0.1
    cap_s: float = 10.0
    steady_s: float = 30.0

    def delay_s(self, attempt: int) -> float:
        """Return the pause before the start number `attempt`, counted from 1."""
        return float(min(self.cap_s, self.first_s * 2 ** min(attempt - 1, 32)))


USUAL = Backoff()


@asynccontextmanager
async def supervise_child(
    service: str,
    start: Callable[[], Child],
    *,
    prepare: Callable[[], Awaitable[None]] | None = None,
    ready: Callable[[Child], Awaitable[None]] | None = None,
    stop: tuple[child.StopStep, ...] = ((signal.SIGTERM, 10.0),),
    backoff: Backoff = USUAL,
    on_event: Callable[[ChildEvent], None] = lambda _: None,
    on_line: Callable[[str], None] = lambda _: None,
) -> AsyncIterator[SupervisedChild]:
    """Start the child, wait until it is ready, and keep it running until the block ends.

    A first start that fails is raised. Later ones are reported, and tried again. `prepare` comes before
    each start. It and `ready` have their own deadlines and raise an `EmbeddedFailed`. After the block the
    child is gone.
    """
    supervised = SupervisedChild(
        service,
        start,
        ready,
        prepare=prepare,
        stop=stop,
        backoff=backoff,
        on_event=on_event,
        on_line=on_line,
    )
    try:
        await supervised.start_child()
        keeper = asyncio.create_task(supervised.keep_running(), name=f"keep {service}")
        try:
            yield supervised
        finally:
            keeper.cancel()
            # If a callback failed and ended the keeper, its error is raised here. The child is stopped
            # all the same.
            with suppress(asyncio.CancelledError):
                await keeper
    finally:
        await supervised.stop_child("asked to")


class SupervisedChild:
    """The child that is kept running."""

    def __init__(
        self,
        service: str,
        start: Callable[[], Child],
        ready: Callable[[Child], Awaitable[None]] | None,
        *,
        prepare: Callable[[], Awaitable[None]] | None,
        stop: tuple[child.StopStep, ...],
        backoff: Backoff,
        on_event: Callable[[ChildEvent], None],
        on_line: Callable[[str], None],
    ) -> None:
        self._service = service
        self._start = start
        self._ready = ready
        self._prepare = prepare
        self._stop = stop
        self._backoff = backoff
        self._on_event = on_event
        self._on_line = on_line
        self._child: Child | None = None
        self._reading: asyncio.Task[None] | None = None
        self._since = time.monotonic()
        self._pid = 0

    @property
    def pid(self) -> int:
        """The process id of the child that runs, or ran last."""
        return self._pid

    async def start_child(self) -> None:
        """Start the child and wait until it is ready. Whoever calls this calls `stop_child` too."""
        if self._prepare is not None:
            await self._prepare()
        self._child = self._start()
        self._pid, self._since = self._child.pid, time.monotonic()
        self._reading = asyncio.create_task(self._forward_lines(self._child), name=f"read {self._service}")
        if self._ready is not None:
            await self._ready(self._child)
        self._on_event(ChildStarted(self._service, self._pid))

    async def keep_running(self) -> None:
        """Wait for the child to end and start it again, for ever."""
        attempt = 0
        while True:
            reason = await self._wait_for_end()
            if self._lived_s() >= self._backoff.steady_s:
                attempt = 0
            while True:
                attempt += 1
                delay_s = self._backoff.delay_s(attempt)
                self._on_event(ChildRestarting(self._service, reason, attempt, delay_s))
                await asyncio.sleep(delay_s)
                try:
                    await self.start_child()
                except errors.EmbeddedFailed as failed:
                    reason = str(failed)
                    await self.stop_child("not ready")
                else:
                    break

    async def stop_child(self, why: str) -> None:
        """Stop the child, if there is one, and read what it still has to say."""
        stopped, self._child = self._child, None
        if stopped is None:
            return
        wanted = stopped.code is None
        code = await stopped.stop(*self._stop)
        await self._finish_lines()
        reason = f"{why}, {child.describe_exit(code)}" if wanted else child.describe_exit(code)
        self._on_event(ChildExited(self._service, stopped.pid, reason, self._lived_s(), wanted))

    async def _wait_for_end(self) -> str:
        assert self._child is not None
        code = await self._child.wait()
        self._child = None
        await self._finish_lines()
        reason = child.describe_exit(code)
        self._on_event(ChildExited(self._service, self._pid, reason, self._lived_s(), wanted=False))
        return reason

    async def _forward_lines(self, running: Child) -> None:
        async for line in running.read_lines():
            self._on_line(line)

    async def _finish_lines(self) -> None:
        reading, self._reading = self._reading, None
        if reading is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(_LAST_LINES_TIMEOUT_S):
                    await reading

    def _lived_s(self) -> float:
        return time.monotonic() - self._since
