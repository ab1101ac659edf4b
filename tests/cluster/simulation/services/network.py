"""The network between nodes, and between a node and the services: slow, lossy, repeating, cut one way.

A message travels by itself: it arrives, or not, whatever has become of its sender. Reordering needs no
switch of its own, for every message takes its own time.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from ccn import errors
from tests.cluster.simulation.loop import MS, Future, Loop
from tests.cluster.simulation.nodes.machine import Machine

T = TypeVar("T")

SERVICE = "service"
"""The far end of a link to PostgreSQL or etcd, for cuts."""


class Network:
    """Who reaches whom at the moment, how fast, and how surely."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self.loss = 0.0
        self.doubling = 0.0
        self.slowest_us = 20 * MS
        self.cuts = set[tuple[str, str]]()

    def heal(self) -> None:
        """From now on everything arrives, once and soon."""
        self.loss = self.doubling = 0.0
        self.slowest_us = 20 * MS
        self.cuts.clear()

    def carry(self, source: str, target: str, arrive: Callable[[], None]) -> None:
        """Send a message from here to there."""
        copies = 2 if self._loop.random.random() < self.doubling else 1
        for _ in range(copies):
            if self._passes(source, target):
                self._loop.after(self._delay_us(), arrive)

    def ask(
        self,
        source: tuple[str, Machine],
        target: tuple[str, Machine],
        answer: Callable[[], Coroutine[Any, None, T | None]],
        patience_us: int,
    ) -> Future[T | None]:
        """Have the other machine answer; None if no answer comes in time."""
        name, machine = target
        asked: Future[T | None] = Future(self._loop)

        async def story() -> None:
            given = await answer()
            self.carry(name, source[0], lambda: asked.resolve(given))

        def arrive() -> None:
            if machine.alive:
                machine.spawn(story())

        self.carry(source[0], name, arrive)
        self._loop.after(patience_us, lambda: asked.resolve(None))
        return asked

    def call(self, source: str, work: Callable[[], T]) -> Future[T]:
        """Have a service do something, which it may have done although the answer is an error."""
        called: Future[T] = Future(self._loop)
        if not self._passes(source, SERVICE):
            lost = errors.DatabaseUnavailable("the request was lost")
            self._loop.after(self.slowest_us, lambda: called.fail(lost))
            return called
        back_us, heard = self._delay_us(), self._passes(SERVICE, source)

        def arrive() -> None:
            try:
                done = work()
            except errors.CCNError as refused:
                problem = refused if heard else errors.OutcomeUnknown("the answer was lost")
                self._loop.after(back_us, lambda: called.fail(problem))
                return
            if heard:
                self._loop.after(back_us, lambda: called.resolve(done))
            else:
                self._loop.after(back_us, lambda: called.fail(errors.OutcomeUnknown("the answer was lost")))

        self._loop.after(self._delay_us(), arrive)
        return called

    def _passes(self, source: str, target: str) -> bool:
        return (source, target) not in self.cuts and self._loop.random.random() >= self.loss

    def _delay_us(self) -> int:
        return self._loop.random.randrange(1 * MS, self.slowest_us)
