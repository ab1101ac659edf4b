"""Limits how often a caller may ask: a moving window, for all nodes with Redis, for one node without.

A failure of Redis neither lifts the limits nor stops requests. A request waits for Redis for
`redis_timeout_s` at most. After the first that waits in vain, this node counts alone until a probe in the
background reaches Redis again. This node always keeps a count of its own: a caller that is over its limit
here stays so when Redis is lost.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

import redis.asyncio
import structlog
from limits import RateLimitItem, RateLimitItemPerSecond
from redis.exceptions import RedisError

from ccn import metrics, settings
from ccn.gateway import redis_link, request_windows
from ccn.gateway.accounts.access import Caller
from ccn.gateway.guessing import Guesses
from ccn.gateway.redis_link import RedisLink
from ccn.gateway.request_windows import Window

_log = structlog.get_logger()

_CONNECTIONS = 16
_PROBE_TIMEOUT_S = 2.0  # a new TLS connection may take longer than a request waits
_BETWEEN_PROBES_S = 1.0
_REDIS_ERRORS = (RedisError, OSError, TimeoutError)  # logged by their type: a text may hold a password


@dataclass(frozen=True, slots=True)
class LimitVerdict:
    """Whether a request may pass, and how many more the limit leaves."""

    allowed: bool
    limit: int
    remaining: int
    reset_s: int


def counting_key(caller: Caller, address: str) -> str:
    """The key that requests are counted under: the user, or the address if nobody has signed in."""
    return f"address/{normalise_address(address)}" if caller.user is None else f"user/{caller.user}"


def normalise_address(address: str) -> str:
    """Reduce an address to what is counted as one. For IPv6 that is /64: one client has all of it."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return "unknown"
    if isinstance(parsed, IPv6Address):
        parsed = parsed.ipv4_mapped or IPv6Address(int(parsed) >> 64 << 64)
    return str(parsed)


class Limiter:
    """Counts requests. `watch_redis` keeps it in touch with Redis."""

    def __init__(self, limits: settings.LimitsSettings, clock: Callable[[], float] = time.time) -> None:
        self._requests = RateLimitItemPerSecond(limits.requests, limits.window_s, "requests")
        self._looks = RateLimitItemPerSecond(limits.requests, limits.window_s, "looks")
        self._sign_ins = RateLimitItemPerSecond(limits.sign_ins, limits.window_s, "sign-ins")
        self._clock = clock
        self._patience_s = limits.redis_timeout_s / 2  # one half for a connection, one for the answer
        self._slots = asyncio.Semaphore(_CONNECTIONS)
        self._local = request_windows.MemoryWindows(clock)
        self.link = redis_link.find_link(limits)
        """The way to Redis; None if this node counts alone."""
        self._redis = _make_connections(self.link, limits) if self.link is not None else None
        self._shared = request_windows.RedisWindows(self._redis) if self._redis else None
        self._reachable = False
        self._lost = asyncio.Event()
        self._explained = ""
        self.guesses = Guesses(limits, self._count_refusal, clock)

    async def count_request(self, key: str) -> LimitVerdict:
        """Count a request and decide whether it may pass."""
        return await self._count_hit(self._requests, key)

    async def count_look(self, key: str) -> LimitVerdict:
        """Count a look at the cluster, apart from requests: watching must not use up what talking needs."""
        return await self._count_hit(self._looks, key)

    async def count_sign_in(self, key: str) -> LimitVerdict:
        """Count an attempt to sign in, which has a lower limit."""
        return await self._count_hit(self._sign_ins, key)

    @property
    def shared(self) -> bool:
        """Whether all nodes count together now."""
        return self._reachable

    async def watch_redis(self, stop: asyncio.Event) -> None:
        """Probe Redis whenever it is lost, until it is back. Runs until `stop`."""
        stopping = asyncio.create_task(stop.wait(), name="limits stop")
        try:
            while not stop.is_set():
                if self._redis is not None and not self._reachable:
                    await self._probe_redis()
                timeout_s = None if self._reachable or self._redis is None else _BETWEEN_PROBES_S
                lost = asyncio.create_task(self._lost.wait(), name="limits lost")
                waiting = (stopping, lost) if timeout_s is None else (stopping,)
                await asyncio.wait(waiting, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
                lost.cancel()
        finally:
            stopping.cancel()
            if self._redis is not None:
                await self._redis.disconnect()

    async def _count_refusal(self, item: RateLimitItem, key: str) -> float:
        verdict = await self._count_hit(item, key)
        return 0.0 if verdict.allowed and verdict.remaining else float(verdict.reset_s)

    async def _count_hit(self, item: RateLimitItem, key: str) -> LimitVerdict:
        local = self._verdict_from_window(item, self._local.hit(item, key))
        if self._shared is None or not self._reachable:
            return local
        try:
            async with asyncio.timeout(self._patience_s):
                await self._slots.acquire()
        except TimeoutError:
            return local  # this node's own burst of requests says nothing about Redis
        try:
            async with asyncio.timeout(self._patience_s):
                return self._verdict_from_window(item, await self._shared.hit(item, key))
        except _REDIS_ERRORS as error:
            self._lose_redis(error)
            return local
        finally:
            self._slots.release()

    def _verdict_from_window(self, item: RateLimitItem, window: Window) -> LimitVerdict:
        reset_s = math.ceil(window.oldest + item.get_expiry() - self._clock())
        return LimitVerdict(
            window.allowed, item.amount, max(0, item.amount - window.counted), max(1, reset_s)
        )

    def _lose_redis(self, error: BaseException) -> None:
        if self._reachable:
            _log.warning(
                "Redis does not answer: this node counts requests alone", reason=type(error).__name__
            )
        self._reachable = False
        self._lost.set()
        metrics.doors.set_limits_degraded(degraded=True)

    async def _probe_redis(self) -> None:
        assert self._shared is not None
        try:
            async with asyncio.timeout(_PROBE_TIMEOUT_S):
                await self._shared.hit(self._requests, "probe")
        except _REDIS_ERRORS as error:
            explained = await self.link.explain_failure() if self.link is not None else ""
            if not self._lost.is_set() or explained not in {"", self._explained}:
                _log.warning(
                    "Redis cannot be reached: this node counts requests alone",
                    reason=explained or type(error).__name__,
                )
            self._explained = explained
            self._lose_redis(error)
            return
        self._explained = ""
        self._reachable = True
        self._lost.clear()
        metrics.doors.set_limits_degraded(degraded=False)
        _log.info("requests are counted across all nodes")


def _make_connections(link: RedisLink, limits: settings.LimitsSettings) -> redis.asyncio.ConnectionPool:
    return link.open_pool(
        max_connections=_CONNECTIONS,
        timeout=limits.redis_timeout_s,
        socket_connect_timeout=_PROBE_TIMEOUT_S,
        socket_timeout=_PROBE_TIMEOUT_S,
    )
