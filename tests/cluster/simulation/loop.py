"""Time that is not ours: one queue of events, in an order that the seed decides.

The stories of nodes are coroutines as they would be in production, but nothing here waits for real. A
future is the only thing a story can wait for; whoever resolves it puts the story back into the queue.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Generator
from random import Random
from typing import Generic, TypeVar

T = TypeVar("T")

MS = 1_000
SECOND = 1_000 * MS
START_US = 1_800_000_000 * SECOND


class Loop:
    """Events by time; of two at the same time, the one that was asked for first."""

    def __init__(self, seed: int) -> None:
        self.now_us = START_US
        self.random = Random(seed)
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._asked = 0

    def run(self, until_us: int, stop: Callable[[], bool] = lambda: False) -> None:
        """Let things happen until then, or until there is no more reason to."""
        while self._events and self._events[0][0] <= until_us and not stop():
            self.now_us, _, happen = heapq.heappop(self._events)
            happen()
        if not stop():
            self.now_us = until_us

    def after(self, delay_us: int, happen: Callable[[], None]) -> None:
        """Let this happen later, or next if the delay is 0."""
        self._asked += 1
        heapq.heappush(self._events, (self.now_us + delay_us, self._asked, happen))

    def sleep(self, delay_us: int) -> Future[None]:
        """Resolved when the time has passed."""
        future: Future[None] = Future(self)
        self.after(delay_us, lambda: future.resolve(None))
        return future


class Future(Generic[T]):
    """An answer that may come; only the first one counts."""

    __slots__ = ("_error", "_loop", "_value", "_waiting", "done")

    def __init__(self, loop: Loop) -> None:
        self.done = False
        self._loop = loop
        self._value: T
        self._error: Exception | None = None
        self._waiting: list[Callable[[], None]] = []

    def resolve(self, value: T) -> None:
        if not self.done:
            self._value = value
            self._settle()

    def fail(self, error: Exception) -> None:
        if not self.done:
            self._error = error
            self._settle()

    def then(self, happen: Callable[[], None]) -> None:
        """Call this once it is done, from the queue and never from within."""
        if self.done:
            self._loop.after(0, happen)
        else:
            self._waiting.append(happen)

    def __await__(self) -> Generator[Future[T], None, T]:
        if not self.done:
            yield self
        if self._error is not None:
            raise self._error
        return self._value

    def _settle(self) -> None:
        self.done = True
        for happen in self._waiting:
            self._loop.after(0, happen)
        self._waiting.clear()
