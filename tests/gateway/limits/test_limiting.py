"""The rate limits: a moving window, shared through a real Redis, and what happens when that goes away.

Tests that need Redis take `redis`; where there is none they are not collected, and the head of pytest's
output says so.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from uuid import UUID

import pytest
from limits import RateLimitItemPerSecond
from limits.aio.strategies import MovingWindowRateLimiter
from pydantic import SecretStr
from redis.asyncio import Redis as Client

from ccn import errors, metrics, settings
from ccn.core.ids import UserId
from ccn.gateway import limiting, request_windows
from ccn.gateway.accounts.access import ANYBODY, Caller
from ccn.gateway.limiting import Limiter
from ccn.store.accounts.users import Tier
from tests.support.gateway.redis_server import Redis

WAIT_S = 60.0


@asynccontextmanager
async def watched(limiter: Limiter) -> AsyncIterator[Limiter]:
    """A limiter that keeps in touch with Redis."""
    stop = asyncio.Event()
    watching = asyncio.create_task(limiter.watch_redis(stop))
    try:
        yield limiter
    finally:
        stop.set()
        await asyncio.wait_for(watching, WAIT_S)


def across_nodes(redis: Redis, **changes: object) -> Limiter:
    chosen = settings.LimitsSettings.model_validate(
        {"redis_url": SecretStr(redis.url), "redis_timeout_s": 60.0, **changes}
    )
    return Limiter(chosen)


async def until(limiter: Limiter, *, shared: bool) -> None:
    async with asyncio.timeout(WAIT_S):
        while limiter.shared is not shared:
            await asyncio.sleep(0.005)


@asynccontextmanager
async def asked_of(server: Redis) -> AsyncIterator[Callable[[], Awaitable[int]]]:
    """How many scripts it has run."""
    client = Client.from_url(server.url)

    async def scripts() -> int:
        return int((await client.info("commandstats"))["cmdstat_evalsha"]["calls"])

    yield scripts
    await client.aclose()


def degraded() -> bool:
    return "ccn_rate_limits_degraded 1.0" in metrics.series.render_page("")[0].decode()


def test_requests_are_counted_by_user_and_else_by_network() -> None:
    ada = UserId(UUID(int=1))
    cases = [
        (Caller(Tier.USER, ada), "10.0.0.1", f"user/{ada}"),
        (ANYBODY, "10.0.0.1", "address/10.0.0.1"),
        (ANYBODY, "::ffff:10.0.0.1", "address/10.0.0.1"),
        (ANYBODY, "2001:db8:1:2:3::4", "address/2001:db8:1:2::"),
        (ANYBODY, "2001:db8:1:2:ffff::", "address/2001:db8:1:2::"),
        (ANYBODY, "a made-up address", "address/unknown"),
        (ANYBODY, "", "address/unknown"),
    ]
    for caller, address, key in cases:
        assert limiting.counting_key(caller, address) == key


async def test_the_window_moves_and_never_holds_more_than_the_limit() -> None:
    now = 1_000.0
    limiter = Limiter(settings.LimitsSettings(requests=3, window_s=60), lambda: now)
    passed: list[float] = []
    for _ in range(400):
        now += 7.0
        if (await limiter.count_request("x")).allowed:
            passed.append(now)
    assert len(passed) > 100
    assert all(later - earlier >= 60 for earlier, later in zip(passed, passed[3:], strict=False))


async def test_a_refusal_says_how_long_to_wait_and_that_is_enough() -> None:
    now = 1_000.0
    limiter = Limiter(settings.LimitsSettings(requests=2, window_s=60), lambda: now)
    assert (await limiter.count_request("x")).remaining == 1
    now += 25
    last = await limiter.count_request("x")
    assert (last.allowed, last.remaining, last.reset_s) == (True, 0, 35)
    refused = await limiter.count_request("x")
    assert (refused.allowed, refused.remaining, refused.reset_s) == (False, 0, 35)
    assert (await limiter.count_request("y")).allowed
    assert (await limiter.count_sign_in("x")).limit == 10
    now += refused.reset_s
    assert (await limiter.count_request("x")).allowed


async def test_a_flood_of_addresses_fills_no_memory_and_is_quick() -> None:
    storage, one = request_windows.MemoryWindows(time.time, keys=100), RateLimitItemPerSecond(1, 60)
    for number in range(1_000):
        assert storage.hit(one, f"{number}").allowed
    assert len(storage.hits) == 100
    assert not storage.hit(one, "999").allowed


def test_a_wrong_address_of_redis_is_refused_without_its_password() -> None:
    with pytest.raises(errors.SettingsInvalid, match="CCN_LIMITS_REDIS_URL") as refused:
        Limiter(settings.LimitsSettings(redis_url=SecretStr("http://:hunter2@cache:1")))
    assert "hunter2" not in str(refused.value)


async def test_two_nodes_count_together(redis: Redis) -> None:
    async with watched(across_nodes(redis)) as one, watched(across_nodes(redis)) as other:
        await until(one, shared=True)
        await until(other, shared=True)
        said = [await (one, other)[n % 2].count_request("ada") for n in range(101)]
        assert [each.allowed for each in said] == [True] * 100 + [False]
        assert [each.remaining for each in said] == [*range(99, -1, -1), 0]
        assert 50 <= said[-1].reset_s <= 60


async def test_a_request_asks_redis_once(redis: Redis) -> None:
    async with watched(across_nodes(redis)) as limiter, asked_of(redis) as scripts:
        await until(limiter, shared=True)
        await limiter.count_request("ada")  # the first makes the connection and brings the script
        before = await scripts()
        for _ in range(10):
            await limiter.count_request("ada")
        assert await scripts() == before + 10


async def test_it_counts_together_with_the_scripts_of_the_library(redis: Redis) -> None:
    item = RateLimitItemPerSecond(3, 60, "requests")
    async with watched(across_nodes(redis, requests=3)) as limiter:
        await until(limiter, shared=True)
        assert limiter._shared is not None
        library = MovingWindowRateLimiter(limiter._shared)
        assert await library.hit(item, "ada")
        said = [await limiter.count_request("ada") for _ in range(3)]
        assert [(each.allowed, each.remaining) for each in said] == [(True, 1), (True, 0), (False, 0)]
        assert not await library.hit(item, "ada")


async def test_of_many_at_once_no_more_pass_than_may(redis: Redis) -> None:
    async with watched(across_nodes(redis)) as one, watched(across_nodes(redis)) as other:
        await until(one, shared=True)
        await until(other, shared=True)
        asked = [limiter.count_request("crowd") for _ in range(100) for limiter in (one, other)]
        said = await asyncio.gather(*asked)
        assert sum(each.allowed for each in said) == 100


async def test_a_burst_holds_nobody_up_and_redis_is_not_lost_for_long(redis: Redis) -> None:
    async with watched(across_nodes(redis, redis_timeout_s=0.2)) as limiter:
        await until(limiter, shared=True)
        said = await asyncio.gather(*[limiter.count_request(f"user {n}") for n in range(1_000)])
        assert all(each.allowed for each in said)
        await until(limiter, shared=True)


async def test_a_node_counts_alone_when_redis_dies_and_comes_back_by_itself(redis: Redis) -> None:
    async with watched(across_nodes(redis, requests=10)) as limiter:
        await until(limiter, shared=True)
        assert not degraded()
        before = [await limiter.count_request("ada") for _ in range(6)]
        await redis.kill()
        after = [await limiter.count_request("ada") for _ in range(6)]
        assert (limiter.shared, degraded()) == (False, True)
        assert [each.allowed for each in before + after] == [True] * 10 + [False] * 2
        await redis.start()
        await until(limiter, shared=True)
        assert not degraded()
        assert (await limiter.count_request("ada")).remaining == 9  # the Redis that came back is empty


async def test_a_redis_that_hangs_holds_up_one_request_for_no_longer_than_agreed(redis: Redis) -> None:
    assert settings.LimitsSettings().redis_timeout_s == 0.05
    async with watched(across_nodes(redis, redis_timeout_s=1.0)) as limiter:
        await until(limiter, shared=True)
        redis.freeze()
        began = time.perf_counter()
        assert (await limiter.count_request("ada")).allowed
        first_s = time.perf_counter() - began
        for _ in range(99):
            await limiter.count_request("ada")
        rest_s = time.perf_counter() - began - first_s
        redis.thaw()
        assert 0.4 < first_s < 20
        assert rest_s < 20  # not ninety-nine times as long: nobody waits while the circuit is open
        await until(limiter, shared=True)


async def test_a_node_that_starts_without_redis_serves_and_finds_it_later(redis: Redis) -> None:
    await redis.kill()
    async with watched(across_nodes(redis, requests=2)) as limiter:
        said = [await limiter.count_request("ada") for _ in range(3)]
        assert [each.allowed for each in said] == [True, True, False]
        await redis.start()
        await until(limiter, shared=True)


async def test_the_password_of_redis_reaches_no_log(
    redis: Redis, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = settings.LimitsSettings(redis_url=SecretStr(f"redis://ann:hunter2@127.0.0.1:{redis.port}/0"))
    async with watched(Limiter(secret)) as limiter:
        async with asyncio.timeout(WAIT_S):
            while not degraded():
                await asyncio.sleep(0.005)
        assert (await limiter.count_request("ada")).allowed
    told = capsys.readouterr()
    assert "counts requests alone" in told.out
    assert "hunter2" not in told.out + told.err
