"""How often somebody may ask: a moving window, across all nodes where Redis is there, else for this node.

Never open and never dead: a request waits for Redis for `redis_timeout_s` at most. The first that waits in
vain opens the circuit, and from then on this node counts alone until a probe in the background reaches
Redis again. This node's own count is always kept, so who is over the limit here stays so when Redis goes.
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
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from ccn import errors, metrics, settings
from ccn.gateway import request_windows
from ccn.gateway.accounts.access import Caller
from ccn.gateway.guessing import Guesses
from ccn.gateway.request_windows import Window

_log = structlog.get_logger()

_CONNECTIONS = 16
_PROBE_TIMEOUT_S = 2.0  # a new TLS connection may take longer than a request would wait
_BETWEEN_PROBES_S = 1.0
_LOST = (RedisError, OSError, TimeoutError)


@dataclass(frozen=True, slots=True)
class LimitVerdict:
    """Whether a request may pass, and what is left."""

    allowed: bool
    limit: int
    remaining: int
    reset_s: int


def counting_key(caller: Caller, address: str) -> str:
    """Whose requests are counted together: a user's, or an address's."""
    return f"address/{normalise_address(address)}" if caller.user is None else f"user/{caller.user}"


def normalise_address(address: str) -> str:
    """What counts as one address: of IPv6 a network, because whoever has one of those has all of it."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return "unknown"
    if isinstance(parsed, IPv6Address):
        parsed = parsed.ipv4_mapped or IPv6Address(int(parsed) >> 64 << 64)
    return str(parsed)


class Limiter:
    """Counts requests; `watch` keeps it in touch with Redis."""

    def __init__(self, chosen: settings.LimitsSettings, clock: Callable[[], float] = time.time) -> None:
        self._requests = RateLimitItemPerSecond(chosen.requests, chosen.window_s, "requests")
        self._looks = RateLimitItemPerSecond(chosen.requests, chosen.window_s, "looks")
        self._sign_ins = RateLimitItemPerSecond(chosen.sign_ins, chosen.window_s, "sign-ins")
        self._clock = clock
        self._patience_s = chosen.redis_timeout_s / 2  # once for a connection, once for the answer
        self._slots = asyncio.Semaphore(_CONNECTIONS)
        self._here = request_windows.MemoryWindows(clock)
        self._redis = _make_connections(chosen)
        self._shared = request_windows.RedisWindows(self._redis) if self._redis else None
        self._reachable = False
        self._lost = asyncio.Event()
        self.guesses = Guesses(chosen, self._count_refusal, clock)

    async def count_request(self, key: str) -> LimitVerdict:
        """Count a request, and say whether it may pass."""
        return await self._count_hit(self._requests, key)

    async def count_look(self, key: str) -> LimitVerdict:
        """Count a look at the cluster, apart from requests: who watches may still talk."""
        return await self._count_hit(self._looks, key)

    async def count_sign_in(self, key: str) -> LimitVerdict:
        """Count an attempt to sign in; these have a lower limit."""
        return await self._count_hit(self._sign_ins, key)

    @property
    def shared(self) -> bool:
        """Whether all nodes count together just now."""
        return self._reachable

    async def watch_redis(self, stop: asyncio.Event) -> None:
        """Until told to stop: whenever Redis is lost, probe until it is back."""
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
        said = await self._count_hit(item, key)
        return 0.0 if said.allowed and said.remaining else float(said.reset_s)

    async def _count_hit(self, item: RateLimitItem, key: str) -> LimitVerdict:
        here = self._verdict_from_window(item, self._here.hit(item, key))
        if self._shared is None or not self._reachable:
            return here
        try:
            async with asyncio.timeout(self._patience_s):
                await self._slots.acquire()
        except TimeoutError:
            return here  # a burst of our own requests says nothing about Redis
        try:
            async with asyncio.timeout(self._patience_s):
                return self._verdict_from_window(item, await self._shared.hit(item, key))
        except _LOST as lost:
            self._lose_redis(lost)
            return here
        finally:
            self._slots.release()

    def _verdict_from_window(self, item: RateLimitItem, window: Window) -> LimitVerdict:
        reset_s = math.ceil(window.oldest + item.get_expiry() - self._clock())
        return LimitVerdict(
            window.allowed, item.amount, max(0, item.amount - window.counted), max(1, reset_s)
        )

    def _lose_redis(self, why: BaseException) -> None:
        if self._reachable:
            _log.warning(
                "Redis does not answer: this node counts requests alone", reason=_describe_loss(why)
            )
        self._reachable = False
        self._lost.set()
        metrics.set_limits_degraded(degraded=True)

    async def _probe_redis(self) -> None:
        assert self._shared is not None
        try:
            async with asyncio.timeout(_PROBE_TIMEOUT_S):
                await self._shared.hit(self._requests, "probe")
        except _LOST as lost:
            if not self._lost.is_set():
                _log.warning(
                    "Redis cannot be reached: this node counts requests alone", reason=_describe_loss(lost)
                )
            self._lose_redis(lost)
            return
        self._reachable = True
        self._lost.clear()
        metrics.set_limits_degraded(degraded=False)
        _log.info("requests are counted across all nodes")


def _make_connections(chosen: settings.LimitsSettings) -> redis.asyncio.ConnectionPool | None:
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


def _describe_loss(lost: BaseException) -> str:
    """What was lost, without an address: it may hold a password."""
    return type(lost).__name__
