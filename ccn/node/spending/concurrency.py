"""How many things each user may have under way at once on one node: a number of slots, and a queue.

It is counted in this process, because no slot outlives the process and a turn must not ask the database
once more. So a cluster of n nodes allows n times as much. What is scarce here, processor time and
connections to the model's provider, is scarce on each node. A user's waiting things get slots in the order
in which they came, and do not delay other users.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from ccn import errors
from ccn.core.ids import UserId

Who = UserId | str
"""A user, or the name by which a caller without an account is counted."""


@dataclass(slots=True)
class _UserSlots:
    taken: int = 0
    waiting: deque[asyncio.Future[None]] = field(default_factory=deque)


class ConcurrencySlot:
    """A slot that a user has taken, until it is left."""

    def __init__(self, limit: ConcurrencyLimit, user: Who | None) -> None:
        self._limit, self._user = limit, user

    def leave(self) -> None:
        """Free the slot. A second call does nothing."""
        user, self._user = self._user, None
        if user is not None:
            self._limit.hand_on_slot(user)


class ConcurrencyLimit:
    """The slots of all users. What has no user is not limited."""

    def __init__(
        self, most: int, queue_limit: int, refusal: type[errors.TooManyRequests], words: str
    ) -> None:
        """Give each user `most` slots, and a queue of `queue_limit` for them.

        `refusal` is raised when the queue is full; its text is the number of taken slots and `words`.
        """
        self._most, self._queue_limit, self._refusal, self._words = most, queue_limit, refusal, words
        self._slots_of: dict[Who, _UserSlots] = {}

    @asynccontextmanager
    async def take_slot(self, user: Who | None, *, patient: bool = False) -> AsyncIterator[ConcurrencySlot]:
        """Wait for a slot and take it. A `patient` caller waits however long the queue is."""
        if user is not None:
            await self._wait_for_slot(user, patient=patient)
        slot = ConcurrencySlot(self, user)
        try:
            yield slot
        finally:
            slot.leave()

    def take_slot_now(self, user: Who) -> ConcurrencySlot:
        """Take a slot, or refuse if all are taken now."""
        slots = self._slots_of.setdefault(user, _UserSlots())
        if slots.taken >= self._most:
            raise self._refusal(f"{slots.taken} {self._words}")
        slots.taken += 1
        return ConcurrencySlot(self, user)

    def count_taken(self, user: Who) -> int:
        """Return how many slots a user has taken."""
        slots = self._slots_of.get(user)
        return 0 if slots is None else slots.taken

    async def _wait_for_slot(self, user: Who, *, patient: bool) -> None:
        slots = self._slots_of.setdefault(user, _UserSlots())
        if slots.taken < self._most:
            slots.taken += 1
            return
        if len(slots.waiting) >= self._queue_limit and not patient:
            raise self._refusal(f"{slots.taken} {self._words}")
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        slots.waiting.append(waiting)
        try:
            await waiting
        except asyncio.CancelledError:
            if not waiting.cancelled():
                self.hand_on_slot(user)  # the slot was handed over at the same moment
            elif waiting in slots.waiting:
                slots.waiting.remove(waiting)
            raise

    def hand_on_slot(self, user: Who) -> None:
        """Hand a slot on to what waits longest, or free it if nothing waits."""
        slots = self._slots_of[user]
        while slots.waiting:
            following = slots.waiting.popleft()
            if not following.done():
                following.set_result(None)
                return
        slots.taken -= 1
        if not slots.taken:
            del self._slots_of[user]
