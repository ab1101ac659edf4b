"""How often somebody may ask: a moving window, across all nodes where Redis is there, else for this node.

Never open and never dead: a request waits for Redis for `redis_timeout_s` at most. The first that waits in
vain opens the circuit, and from then on this node counts alone until a probe in the background reaches
Redis again. This node's own count is always kept, so who is over the limit here stays so when Redis goes.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import cast

import redis.asyncio
import structlog
from limits import RateLimitItem, RateLimitItemPerSecond
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from ccn import errors, metrics, settings
from ccn.gateway.access import Caller

_log = structlog.get_logger()

_KEYS = 20_000  # counted at once on this node; the longest silent give way
_CONNECTIONS = 16
_PROBE_TIMEOUT_S = 2.0  # a new TLS connection may take longer than a request would wait
_BETWEEN_PROBES_S = 1.0
_LOST = (RedisError, OSError, TimeoutError)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a request may pass, and what is left."""

    allowed: bool
    limit: int
    remaining: int
    reset_s: int


def who(caller: Caller, address: str) -> str:
    """Whose requests are counted together: a user's, or an address's; of IPv6 a network's."""
    if caller.user is not None:
        return f"user/{caller.user}"
    try:
        parsed = ip_address(address)
    except ValueError:
        return "address/unknown"
    if isinstance(parsed, IPv6Address):
        parsed = parsed.ipv4_mapped or IPv6Address(int(parsed) >> 64 << 64)
    return f"address/{parsed}"


class Limiter:
    """Counts requests; `watch` keeps it in touch with Redis."""

    def __init__(self, chosen: settings.Limits, clock: Callable[[], float] = time.time) -> None:
        self._requests = RateLimitItemPerSecond(chosen.requests, chosen.window_s, "requests")
        self._sign_ins = RateLimitItemPerSecond(chosen.sign_ins, chosen.window_s, "sign-ins")
        self._clock = clock
        self._patience_s = chosen.redis_timeout_s / 2  # once for a connection, once for the answer
        self._slots = asyncio.Semaphore(_CONNECTIONS)
        self._here = MovingWindowRateLimiter(_Here(clock))
        self._redis = _connections(chosen)
        self._shared = MovingWindowRateLimiter(_storage(self._redis)) if self._redis else None
        self._reachable = False
        self._lost = asyncio.Event()

    async def request(self, key: str) -> Verdict:
        """Count a request, and say whether it may pass."""
        return await self._hit(self._requests, key)

    async def sign_in(self, key: str) -> Verdict:
        """Count an attempt to sign in; these have a lower limit."""
        return await self._hit(self._sign_ins, key)

    @property
    def shared(self) -> bool:
        """Whether all nodes count together just now."""
        return self._reachable

    async def watch(self, stop: asyncio.Event) -> None:
        """Until told to stop: whenever Redis is lost, probe until it is back."""
        stopping = asyncio.create_task(stop.wait(), name="limits stop")
        try:
            while not stop.is_set():
                if self._redis is not None and not self._reachable:
                    await self._probe()
                timeout_s = None if self._reachable or self._redis is None else _BETWEEN_PROBES_S
                lost = asyncio.create_task(self._lost.wait(), name="limits lost")
                waiting = (stopping, lost) if timeout_s is None else (stopping,)
                await asyncio.wait(waiting, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
                lost.cancel()
        finally:
            stopping.cancel()
            if self._redis is not None:
                await self._redis.disconnect()

    async def _hit(self, item: RateLimitItem, key: str) -> Verdict:
        here = await self._asked(self._here, item, key)
        if self._shared is None or not self._reachable:
            return here
        try:
            async with asyncio.timeout(self._patience_s):
                await self._slots.acquire()
        except TimeoutError:
            return here  # a burst of our own requests says nothing about Redis
        try:
            async with asyncio.timeout(self._patience_s):
                return await self._asked(self._shared, item, key)
        except _LOST as lost:
            self._lose(lost)
            return here
        finally:
            self._slots.release()

    async def _asked(self, limiter: MovingWindowRateLimiter, item: RateLimitItem, key: str) -> Verdict:
        allowed = await limiter.hit(item, key)
        reset_at, remaining = await limiter.get_window_stats(item, key)
        return Verdict(allowed, item.amount, max(0, remaining), max(1, math.ceil(reset_at - self._clock())))

    def _lose(self, why: BaseException) -> None:
        if self._reachable:
            _log.warning("Redis does not answer: this node counts requests alone", reason=_words(why))
        self._reachable = False
        self._lost.set()
        metrics.limits_degraded(degraded=True)

    async def _probe(self) -> None:
        assert self._shared is not None
        try:
            async with asyncio.timeout(_PROBE_TIMEOUT_S):
                await self._shared.get_window_stats(self._requests, "probe")
        except _LOST as lost:
            if not self._lost.is_set():
                _log.warning(
                    "Redis cannot be reached: this node counts requests alone", reason=_words(lost)
                )
            self._lose(lost)
            return
        self._reachable = True
        self._lost.clear()
        metrics.limits_degraded(degraded=False)
        _log.info("requests are counted across all nodes")


class _Here(MemoryStorage):
    """The library's storage for one process, with a bound on its size.

    The library's own goes through every key after each request, in a thread each: with a thousand users
    that is what a node would mostly do. Here a request touches one key, and the longest silent give way.
    """

    def __init__(self, clock: Callable[[], float], keys: int = _KEYS) -> None:
        super().__init__()
        self._clock, self._limit = clock, keys
        self._hits: OrderedDict[str, deque[float]] = OrderedDict()

    async def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Count `amount` hits, if that many fit into the window."""
        hits = self._recent(key, expiry)
        if len(hits) + amount > limit:
            return False
        hits.extend([self._clock()] * amount)
        return True

    async def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        """When the oldest hit in the window was, and how many there are."""
        del limit
        hits = self._recent(key, expiry)
        return (hits[0] if hits else self._clock()), len(hits)

    def _recent(self, key: str, expiry: int) -> deque[float]:
        hits = self._hits.setdefault(key, deque())
        self._hits.move_to_end(key)
        while hits and hits[0] <= self._clock() - expiry:
            hits.popleft()
        if len(self._hits) > self._limit:
            self._hits.popitem(last=False)
        return hits


def _connections(chosen: settings.Limits) -> redis.asyncio.ConnectionPool | None:
    url = chosen.redis_url.get_secret_value()
    if not url:
        return None
    try:
        return redis.asyncio.BlockingConnectionPool.from_url(
            url,
            max_connections=_CONNECTIONS,
            timeout=chosen.redis_timeout_s,
            socket_connect_timeout=_PROBE_TIMEOUT_S,
            socket_timeout=_PROBE_TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),  # the circuit decides when to try again
        )
    except ValueError as wrong:
        raise errors.SettingsInvalid(f"CCN_LIMITS_REDIS_URL: {wrong}") from None


def _storage(connections: redis.asyncio.ConnectionPool) -> RedisStorage:
    # The library would read the address again; it is in the connections already.
    return RedisStorage(
        "async+redis://",
        implementation="redispy",
        key_prefix="ccn",
        connection_pool=cast("str", connections),  # as documented, but its annotation says otherwise
    )


def _words(lost: BaseException) -> str:
    """What was lost, without an address: it may hold a password."""
    return type(lost).__name__
