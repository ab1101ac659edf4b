"""One question for all who ask it at the same time, whose answer is never older than anybody's asking.

Whoever comes while the question is under way waits for the next one: the answer on its way may tell of a
moment before they came. Separate because the primary and each replica are asked in this manner.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Generic, TypeVar

T = TypeVar("T")


class SharedAsk(Generic[T]):
    """At most one question is under way, and one waits."""

    def __init__(self, ask: Callable[[], Awaitable[T]]) -> None:
        self._ask = ask
        self._running: asyncio.Task[T] | None = None
        self._waiting: asyncio.Task[T] | None = None

    async def ask(self) -> T:
        """The answer to a question that is put after this call."""
        if self._waiting is None:
            self._waiting = asyncio.create_task(self._ask_after(self._running))
            self._waiting.add_done_callback(_look_at_failure)
        return await asyncio.shield(self._waiting)

    async def close(self) -> None:
        """End what is under way."""
        for task in (self._running, self._waiting):
            if task is not None:
                task.cancel()
                with suppress(asyncio.CancelledError, Exception):
                    await task

    async def _ask_after(self, earlier: asyncio.Task[T] | None) -> T:
        if earlier is not None:
            await asyncio.wait([earlier])
        self._running, self._waiting = self._waiting, None  # from here on it is too late to join
        return await self._ask()


def _look_at_failure(task: asyncio.Task[T]) -> None:
    """Whoever still waits is told; if nobody does, asyncio need not complain."""
    if not task.cancelled():
        task.exception()
