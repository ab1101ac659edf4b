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
class Verdict:
    """Whether a request may pass, and what is left."""

    allowed: bool
    limit: int
    remaining: int
    reset_s: int


def who(caller: Caller, address: str) -> str:
    """Whose requests are counted together: a user's, or an address's."""
    return f"address/{network(address)}" if caller.user is None else f"user/{caller.user}"


def network(address: str) -> str:
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

    def __init__(self, chosen: settings.Limits, clock: Callable[[], float] = time.time) -> None:
        self._requests = RateLimitItemPerSecond(chosen.requests, chosen.window_s, "requests")
        self._looks = RateLimitItemPerSecond(chosen.requests, chosen.window_s, "looks")
        self._sign_ins = RateLimitItemPerSecond(chosen.sign_ins, chosen.window_s, "sign-ins")
        self._clock = clock
        self._patience_s = chosen.redis_timeout_s / 2  # once for a connection, once for the answer
        self._slots = asyncio.Semaphore(_CONNECTIONS)
        self._here = request_windows.Here(clock)
        self._redis = _connections(chosen)
        self._shared = request_windows.There(self._redis) if self._redis else None
        self._reachable = False
        self._lost = asyncio.Event()
        self.guesses = Guesses(chosen, self._full, clock)

    async def request(self, key: str) -> Verdict:
        """Count a request, and say whether it may pass."""
        return await self._hit(self._requests, key)

    async def look(self, key: str) -> Verdict:
        """Count a look at the cluster, apart from requests: who watches may still talk."""
        return await self._hit(self._looks, key)

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

    async def _full(self, item: RateLimitItem, key: str) -> float:
        said = await self._hit(item, key)
        return 0.0 if said.allowed and said.remaining else float(said.reset_s)

    async def _hit(self, item: RateLimitItem, key: str) -> Verdict:
        here = self._verdict(item, self._here.hit(item, key))
        if self._shared is None or not self._reachable:
            return here
        try:
            async with asyncio.timeout(self._patience_s):
                await self._slots.acquire()
        except TimeoutError:
            return here  # a burst of our own requests says nothing about Redis
        try:
            async with asyncio.timeout(self._patience_s):
                return self._verdict(item, await self._shared.hit(item, key))
        except _LOST as lost:
            self._lose(lost)
            return here
        finally:
            self._slots.release()

    def _verdict(self, item: RateLimitItem, window: Window) -> Verdict:
        reset_s = math.ceil(window.oldest + item.get_expiry() - self._clock())
        return Verdict(window.allowed, item.amount, max(0, item.amount - window.held), max(1, reset_s))

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
                await self._shared.hit(self._requests, "probe")
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


def _words(lost: BaseException) -> str:
    """What was lost, without an address: it may hold a password."""
    return type(lost).__name__
