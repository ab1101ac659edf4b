"""The time within which a node has shut its doors once its database lost what it had shown.

A node that stops in order waits for what runs. Here nothing is worth waiting for: whatever is still said
could not be kept. So what hangs is cancelled, and a process in which even that hangs ends at once; whoever
started it starts it again, and then its doors stay shut. Separate from the lifetime, which does all this
in order while it can.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine

import structlog

from ccn.store.connection.fence import Fence

log = structlog.get_logger(__name__)

IN_ORDER_S = 10.0
CANCELLED_S = 5.0
_EXIT_STATUS = 70


async def live_until_lost(
    living: Coroutine[None, None, None],
    fence: Fence,
    *,
    in_order_s: float = IN_ORDER_S,
    cancelled_s: float = CANCELLED_S,
    give_up: Callable[[], None] = lambda: os._exit(_EXIT_STATUS),
) -> None:
    """Run a node's life; once the record is lost, end it within the time, and raise what was lost."""
    life = asyncio.create_task(living, name="life")
    lost = asyncio.create_task(fence.broken.wait(), name="lost")
    try:
        await asyncio.wait({life, lost}, return_when=asyncio.FIRST_COMPLETED)
        if not await _has_ended(life, in_order_s):
            log.critical("this node does not stop: cancelling what hangs", after_s=in_order_s)
            life.cancel()
            if not await _has_ended(life, cancelled_s):
                log.critical("this node ends at once", after_s=in_order_s + cancelled_s)
                give_up()
        if life.cancelled():
            fence.raise_if_lost()
        await life
    finally:
        lost.cancel()
        if not life.done():  # this task was cancelled
            life.cancel()
            await asyncio.wait({life})


async def _has_ended(life: asyncio.Task[None], within_s: float) -> bool:
    done, _ = await asyncio.wait({life}, timeout=within_s)
    return bool(done)
