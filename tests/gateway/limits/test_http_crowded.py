"""A crowd at the HTTP door: no address keeps the others out, and a full node never looks dead."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from fastapi import FastAPI

from ccn import settings
from ccn.gateway.http import connection_limit, slow_clients
from tests.support.gateway.bare_app import bare, served

Address = tuple[str, int]
Wire = tuple[asyncio.StreamReader, asyncio.StreamWriter]

HALF = b"GET /health HTTP/1.1\r\nHost: x\r\nX-A: "
ELSEWHERE = "127.0.0.2"
SMALL = settings.HttpSettings(connection_limit=16, address_limit=8, head_s=30.0)


@asynccontextmanager
async def connected(at: Address, sent: bytes = b"", source: str = "127.0.0.1") -> AsyncIterator[Wire]:
    reader, writer = await asyncio.open_connection(*at, local_addr=(source, 0))
    try:
        writer.write(sent)
        yield reader, writer
    finally:
        writer.close()


async def asked(at: Address, path: str, source: str = "127.0.0.1", *headers: str) -> tuple[int, str]:
    """The status and the body of an answer; 0 where there was none."""
    lines = (f"GET {path} HTTP/1.1", "Host: x", "Connection: close", *headers, "", "")
    async with connected(at, "\r\n".join(lines).encode(), source) as (reader, _), asyncio.timeout(60):
        try:
            head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
        except ConnectionError:
            return 0, ""
    return int(head.split(" ")[1]) if head else 0, body


def ended(*wires: Wire) -> list[bool]:
    """Which of them the server has ended; it does so before it answers whoever came later."""
    return [reader.at_eof() or reader.exception() is not None for reader, _ in wires]


def slow(chosen: settings.HttpSettings) -> tuple[FastAPI, asyncio.Event, asyncio.Semaphore]:
    """An application with a path that answers when it may, and what counts who asks for it."""
    made, may_end, begun = bare(chosen), asyncio.Event(), asyncio.Semaphore(0)

    @made.get("/slow")
    async def wait() -> str:
        begun.release()
        await may_end.wait()
        return "done"

    return made, may_end, begun


@asynccontextmanager
async def busy(at: Address, begun: asyncio.Semaphore, **sources: int) -> AsyncIterator[None]:
    """So many requests from each address are under way."""
    async with AsyncExitStack() as held, asyncio.timeout(60):
        for source, number in sources.items():
            for _ in range(number):
                request = b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n"
                await held.enter_async_context(connected(at, request, source.replace("_", ".")[1:]))
                await begun.acquire()
        yield


async def test_half_open_heads_of_one_address_neither_stop_others_nor_probes_nor_itself() -> None:
    async with served(bare(SMALL), SMALL) as at, AsyncExitStack() as held:
        for _ in range(200):
            await held.enter_async_context(connected(at, HALF))
        for source in ("127.0.0.1", ELSEWHERE):
            assert (await asked(at, "/health", source))[0] == (await asked(at, "/docs", source))[0] == 200
            assert "checks" in (await asked(at, "/ready", source))[1]


async def test_who_has_waited_longest_of_an_address_gives_way() -> None:
    async with served(bare(SMALL), SMALL) as at, AsyncExitStack() as held:
        other = await held.enter_async_context(connected(at, HALF, ELSEWHERE))
        wires = [await held.enter_async_context(connected(at, HALF)) for _ in range(10)]
        assert (await asked(at, "/health"))[0] == 200
        assert ended(*wires) == [True] * 3 + [False] * 7
        assert ended(other) == [False]


async def test_who_has_waited_longest_of_all_gives_way_when_the_node_is_full() -> None:
    async with served(bare(SMALL), SMALL) as at, AsyncExitStack() as held:
        sources = [f"127.0.0.{n}" for n in range(1, 5) for _ in range(5)]
        wires = [await held.enter_async_context(connected(at, HALF, source)) for source in sources]
        assert (await asked(at, "/docs", "127.0.0.9"))[0] == 200
        assert ended(*wires) == [True] * 5 + [False] * 15


async def test_an_idle_connection_gives_way_and_a_busy_one_does_not() -> None:
    chosen = SMALL.model_copy(update={"address_limit": 2})
    made, may_end, begun = slow(chosen)
    async with served(made, chosen) as at, busy(at, begun, _127_0_0_1=1):
        async with connected(at, b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n") as idle:
            assert (await idle[0].readuntil(b"}")).startswith(b"HTTP/1.1 200")
            assert (await asked(at, "/docs"))[0] == 200
            assert ended(idle) == [True]
        may_end.set()


async def test_an_address_whose_connections_are_all_busy_is_told_so_and_may_still_ask_for_health() -> None:
    made, may_end, begun = slow(SMALL)
    async with served(made, SMALL) as at, busy(at, begun, _127_0_0_1=8):
        assert (await asked(at, "/health"))[0] == 200
        assert "checks" in (await asked(at, "/ready"))[1]
        status, body = await asked(at, "/docs")
        assert (status, json.loads(body)["code"]) == (429, "too_many_requests")
        assert "8 connections of this address" in json.loads(body)["detail"]
        upgrade = ("Upgrade: websocket", "Sec-WebSocket-Key: eA==", "Sec-WebSocket-Version: 13")
        assert (await asked(at, "/ws/conversation/x", "127.0.0.1", *upgrade))[0] == 429
        assert (await asked(at, "/docs", ELSEWHERE))[0] == 200
        async with connected(at, HALF) as (reader, _):
            assert await reader.read() == b""
        may_end.set()


async def test_a_node_whose_connections_are_all_busy_answers_health_and_tells_the_others() -> None:
    made, may_end, begun = slow(SMALL)
    async with served(made, SMALL) as at, busy(at, begun, _127_0_0_1=8, _127_0_0_2=8):
        assert (await asked(at, "/health", "127.0.0.9"))[0] == 200
        status, body = await asked(at, "/docs", "127.0.0.9")
        assert (status, json.loads(body)["code"]) == (503, "overloaded")
        may_end.set()
    async with served(made, SMALL) as at:
        assert (await asked(at, "/docs", "127.0.0.9"))[0] == 200


async def test_places_are_given_back_whatever_connections_were() -> None:
    made, may_end, begun = slow(SMALL)
    async with served(made, SMALL) as at:
        upgrade = ("Upgrade: websocket", "Sec-WebSocket-Key: eA==", "Sec-WebSocket-Version: 13")
        for _ in range(10):
            async with connected(at, HALF), connected(at):
                await asked(at, "/docs")
            await asked(at, "/ws/conversation/x", "127.0.0.1", *upgrade)
        async with busy(at, begun, _127_0_0_1=8):
            may_end.set()


async def test_silent_connections_take_nobody_s_place_and_the_longest_silent_give_way() -> None:
    async with served(bare(SMALL), SMALL) as at, AsyncExitStack() as held:
        wires = [
            await held.enter_async_context(connected(at))
            for _ in range(connection_limit.silent_limit(SMALL) + 2)
        ]
        first = await held.enter_async_context(connected(at, HALF))
        assert (await asked(at, "/docs"))[0] == 200
        assert ended(first, *wires[:2], wires[-1]) == [False, True, True, False]


async def test_a_proxy_has_no_limit_and_those_behind_it_have_theirs() -> None:
    chosen = settings.HttpSettings(address_limit=2, trusted_proxies=("127.0.0.1",))
    made, may_end, begun = slow(chosen)
    async with served(made, chosen) as at, AsyncExitStack() as held, asyncio.timeout(60):
        for n in range(3):
            for _ in range(2):
                request = f"GET /slow HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 10.0.0.{n}\r\n\r\n".encode()
                await held.enter_async_context(connected(at, request))
                await begun.acquire()
        told = [
            (await asked(at, "/docs", "127.0.0.1", f"X-Forwarded-For: 10.0.0.{n}"))[0] for n in (0, 2, 9)
        ]
        assert told == [429, 429, 200]
        assert (await asked(at, "/health", "127.0.0.1", "X-Forwarded-For: 10.0.0.0"))[0] == 200
        may_end.set()


@pytest.mark.parametrize("length", [slow_clients.HEAD_LIMIT - 200, slow_clients.HEAD_LIMIT + 100])
async def test_a_head_has_its_limit_also_when_it_comes_at_once(length: int) -> None:
    async with served(bare(SMALL), SMALL) as at:
        status, body = await asked(at, "/health", "127.0.0.1", "X-Long: " + "x" * length)
        if length < slow_clients.HEAD_LIMIT:
            assert status == 200
        else:
            assert (status, json.loads(body)["detail"]) == (
                431,
                "the head of a request has at most 65536 bytes",
            )


async def test_a_long_body_with_a_short_head_is_no_long_head() -> None:
    async with served(bare(SMALL), SMALL) as at:
        head = b"POST /token/refresh HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 200000\r\n"
        async with connected(at, head + b"Content-Type: application/json\r\n\r\n" + b" " * 200_000) as wire:
            assert b" 422 " in (await wire[0].read()).partition(b"\r\n")[0]
