"""What every process that serves does alike: hear signals, run parts beside its doors, stop in order."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
from collections.abc import Coroutine, Iterator, Mapping

import structlog

from ccn.service.doors import OpenDoors
from ccn.service.parts import run_together

_log = structlog.get_logger()

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_MARGIN_S = 2.0  # each part has a deadline of its own; this one is for a part that misses it


async def serve_doors(
    open_doors: OpenDoors,
    beside: Mapping[str, Coroutine[None, None, None]],
    stop: asyncio.Event,
    grace_s: float,
) -> None:
    """Run the doors and all other parts until told to stop."""
    async with run_together({**open_doors.parts, **beside}, stop, grace_s + _MARGIN_S):
        _log.info("listening", http=open_doors.http, grpc=open_doors.grpc)
        _freeze_objects()
        await stop.wait()
        _log.info("stopping")
        open_doors.ready.stop()


@contextlib.contextmanager
def catch_stop_signals() -> Iterator[asyncio.Event]:
    """The event that SIGTERM and Ctrl-C set."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, stop.set)
    try:
        yield stop
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)


def _freeze_objects() -> None:
    """What start-up made stays for ever: the collector need not look at it again."""
    gc.collect()
    gc.freeze()
