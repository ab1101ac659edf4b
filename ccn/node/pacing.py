"""How work that repeats waits: for its next time, or until it is told to stop, whichever comes first.

    async for _ in every(5.0, stop):                       look ── 5 s ── look ── 5 s ── … told to stop
    async for _ in every(5.0, stop, pause_first=True):     5 s ── look ── 5 s ── look ── … told to stop

A loop that is told to stop ends at once if it pauses. Otherwise it finishes its work first.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator


async def every(pause_s: float, stop: asyncio.Event, *, pause_first: bool = False) -> AsyncIterator[None]:
    """Yield again and again, with a pause after each time, until told to stop."""
    if pause_first:
        await pause(pause_s, stop)
    while not stop.is_set():
        yield
        await pause(pause_s, stop)


async def pause(within_s: float, stop: asyncio.Event) -> None:
    """Wait for `within_s`, or until told to stop."""
    try:
        async with asyncio.timeout(within_s):
            await stop.wait()
    except TimeoutError:
        return
