"""What a node runs on: a process that can be killed at any step or frozen, a disk, and a clock that jumps.

A step is everything a story does between two waits. A machine with a burning fuse dies or freezes just
before the step at which the fuse ends, so that this happens in the middle of things and not in idle time.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from tests.cluster.simulation.loop import MS, Future, Loop

Story = Coroutine[Any, None, None]


class Machine:
    """One process and what survives it."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.disk = Disk(loop)
        self.alive = False
        self.life = 0
        self._fuse: int | None = None
        self._blow: Callable[[], None] = self.crash
        self.frozen_until_us = 0
        self.clock_off_us = 0
        self._stories: dict[Story, int] = {}

    @property
    def clock_us(self) -> int:
        """What this machine believes the time to be."""
        return self.loop.now_us + self.clock_off_us

    def start(self) -> None:
        """A new life, which knows only the disk."""
        self.alive, self._fuse = True, None
        self.life += 1

    def crash(self) -> None:
        """Everything ends where it stands."""
        self.alive, self._fuse, self.frozen_until_us = False, None, 0
        self.disk.lose_power()
        for story in self._stories:
            story.close()
        self._stories.clear()

    def light(self, steps: int, blow: Callable[[], None]) -> None:
        """Do this before the step after so many."""
        self._fuse, self._blow = steps, blow

    def calm(self) -> None:
        """Put the fuse out, thaw, and set the clock."""
        self._fuse, self.frozen_until_us, self.clock_off_us = None, 0, 0

    def freeze(self, time_us: int) -> None:
        """Stop for a while, without knowing it."""
        self.frozen_until_us = self.loop.now_us + time_us

    def spawn(self, story: Story) -> None:
        """Begin a story; it ends with this life at the latest."""
        self._stories[story] = self.life
        self.loop.after(0, lambda: self._step(story))

    def _step(self, story: Story) -> None:
        if story not in self._stories:
            return
        if self.loop.now_us < self.frozen_until_us:
            self.loop.after(self.frozen_until_us - self.loop.now_us, lambda: self._step(story))
            return
        if self._fuse is not None:
            self._fuse -= 1
            if self._fuse < 0:
                self._fuse = None
                self._blow()
                self._step(story)
                return
        try:
            awaited: Future[Any] = story.send(None)
        except StopIteration:
            del self._stories[story]
        else:
            awaited.then(lambda: self._step(story))


class Disk:
    """One small file. What was written but not flushed may or may not outlive a crash."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._flushed = self._written = (0, b"")

    @property
    def content(self) -> bytes:
        """What the next life will read, when asked after a crash."""
        return self._written[1]

    def write(self, content: bytes) -> None:
        self._written = (self._written[0] + 1, content)

    async def flush(self) -> None:
        """Wait until what is written now is safe."""
        written = self._written
        await self._loop.sleep(self._loop.random.randrange(1, 15) * MS)
        self._flushed = max(self._flushed, written)

    def lose_power(self) -> None:
        if self._loop.random.random() < 0.8:
            self._written = self._flushed
        self._flushed = self._written
