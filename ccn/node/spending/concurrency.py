"""What each may have under way at once on one node, a user mostly: so many places, and a line before them.

Counted in this process, because nothing here outlives it and a turn must not ask the database once more. So
a cluster bounds a user by as many times that as it has nodes; what is scarce here, processor time and
connections to the model's provider, is scarce on each node. Whoever waits is served in the order of coming,
and delays nobody but themselves.
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
"""A user, or for who is nobody here whatever they are known by."""


@dataclass(slots=True)
class _UserSlots:
    taken: int = 0
    waiting: deque[asyncio.Future[None]] = field(default_factory=deque)


class ConcurrencySlot:
    """Under way, until it is left."""

    def __init__(self, shares: ConcurrencyLimit, user: Who | None) -> None:
        self._shares, self._user = shares, user

    def leave(self) -> None:
        """Let the next one have it; leaving twice leaves once."""
        user, self._user = self._user, None
        if user is not None:
            self._shares.hand_on_slot(user)


class ConcurrencyLimit:
    """Places of all users; nobody's things are not counted."""

    def __init__(self, most: int, line: int, refusal: type[errors.TooManyRequests], words: str) -> None:
        """At most so many places each, and so many who wait where the line is counted at all."""
        self._most, self._line, self._refusal, self._words = most, line, refusal, words
        self._of: dict[Who, _UserSlots] = {}

    @asynccontextmanager
    async def take_slot(self, user: Who | None, *, patient: bool = False) -> AsyncIterator[ConcurrencySlot]:
        """A place, once there is one. Who is `patient` waits in however long a line."""
        if user is not None:
            await self._wait_for_slot(user, patient=patient)
        place = ConcurrencySlot(self, user)
        try:
            yield place
        finally:
            place.leave()

    def take_slot_now(self, user: Who) -> ConcurrencySlot:
        """A place, if there is one now."""
        places = self._of.setdefault(user, _UserSlots())
        if places.taken >= self._most:
            raise self._refusal(f"{places.taken} {self._words}")
        places.taken += 1
        return ConcurrencySlot(self, user)

    def count_taken(self, user: Who) -> int:
        """How many places a user has taken."""
        places = self._of.get(user)
        return 0 if places is None else places.taken

    async def _wait_for_slot(self, user: Who, *, patient: bool) -> None:
        places = self._of.setdefault(user, _UserSlots())
        if places.taken < self._most:
            places.taken += 1
            return
        if len(places.waiting) >= self._line and not patient:
            raise self._refusal(f"{places.taken} {self._words}")
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        places.waiting.append(waiting)
        try:
            await waiting
        except asyncio.CancelledError:
            if not waiting.cancelled():
                self.hand_on_slot(user)  # it was handed over in the same moment
            elif waiting in places.waiting:
                places.waiting.remove(waiting)
            raise

    def hand_on_slot(self, user: Who) -> None:
        """Hand a place on to who waits longest, or have one more free."""
        places = self._of[user]
        while places.waiting:
            following = places.waiting.popleft()
            if not following.done():
                following.set_result(None)
                return
        places.taken -= 1
        if not places.taken:
            del self._of[user]
