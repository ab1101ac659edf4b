"""Moving windows of requests, in this process and in Redis. One step counts a hit and reads its window.

They extend the storages of the library `limits`, which needs two steps for that. The layout in Redis is the
library's own (a list, the newest first), so nodes that use the library alone count together with ours.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import redis.asyncio
from limits import RateLimitItem
from limits.aio.storage import MemoryStorage, RedisStorage

from ccn.core.bounded import Recent

KEY_LIMIT = 20_000  # keys counted at once on this node; the key that was silent longest goes first


@dataclass(frozen=True, slots=True)
class Window:
    """The result of a hit: whether it fitted, how many hits the window has, and when the oldest was."""

    allowed: bool
    counted: int
    oldest: float


class MemoryWindows(MemoryStorage):
    """The library's storage for one process, with a bound on its size.

    The library's own storage visits every key after each request, in a thread each. With a thousand users a
    node would do little else. Here a request touches one key, and the key that was silent longest goes
    first.
    """

    def __init__(self, clock: Callable[[], float], keys: int = KEY_LIMIT) -> None:
        super().__init__()
        self._clock = clock
        self.hits: Recent[str, deque[float]] = Recent(keys)

    def hit(self, item: RateLimitItem, key: str) -> Window:
        """Count a hit if it fits into the window."""
        now = self._clock()
        hits = self._recent_hits(item.key_for(key), now - item.get_expiry())
        allowed = len(hits) < item.amount
        if allowed:
            hits.append(now)
        return Window(allowed, len(hits), hits[0] if hits else now)

    def _recent_hits(self, key: str, since: float) -> deque[float]:
        hits = self.hits[key] = self.hits.get(key, deque())
        while hits and hits[0] <= since:
            hits.popleft()
        return hits


class RedisWindows(RedisStorage):
    """The library's storage in Redis."""

    def __init__(self, connections: redis.asyncio.ConnectionPool) -> None:
        # The library wants an address, which it does not use: the connections have it.
        super().__init__(
            "async+redis://",
            implementation="redispy",
            key_prefix="ccn",
            connection_pool=cast("str", connections),  # as documented, but its annotation says otherwise
        )
        self._hit = redis.asyncio.Redis(connection_pool=connections).register_script(_HIT)

    async def hit(self, item: RateLimitItem, key: str) -> Window:
        """Count a hit if it fits into the window, in one round trip."""
        redis_key = self.bridge.prefixed_key(item.key_for(key))
        allowed, counted, oldest = await self._hit(
            keys=[redis_key], args=[time.time(), item.amount, item.get_expiry()]
        )
        return Window(bool(allowed), int(counted), float(oldest))


_HIT = """
local now, limit, expiry = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local last = redis.call('LINDEX', KEYS[1], limit - 1)
local allowed = not (last and tonumber(last) >= now - expiry)
if allowed then
    redis.call('LPUSH', KEYS[1], ARGV[1])
    redis.call('LTRIM', KEYS[1], 0, limit - 1)
    redis.call('EXPIRE', KEYS[1], expiry)
end
local low, high, oldest = 0, redis.call('LLEN', KEYS[1]) - 1, ARGV[1]
while low <= high do
    local middle = math.floor((low + high) / 2)
    local at = redis.call('LINDEX', KEYS[1], middle)
    if tonumber(at) >= now - expiry then
        low, oldest = middle + 1, at
    else
        high = middle - 1
    end
end
return {allowed and 1 or 0, low, oldest}
"""
