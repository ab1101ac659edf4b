"""The HTTP door of one node: reads beside a bare FastAPI echo, what a streamed chunk costs, 500 WebSockets.

Node, echo and stand-in are processes of their own. Requests come one after the other over one connection. A
reply streams through the Messages API, straight from the stand-in and through the node, to a plain reader.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anthropic
from websockets.asyncio.client import ClientConnection, connect

from ccn import settings
from ccn.cli import first
from scripts.benchmarks import harness, store_server
from scripts.benchmarks.harness import Figure

READS = 300
REPLIES = 12
SOCKETS = 500
ROUND_TRIPS = 4
_CHARACTER = "wren"
_ASKS = "Tell me about lighthouses, at length."


@dataclass(frozen=True, slots=True)
class Node:
    """A node that serves, and a conversation on it."""

    host: str
    port: int
    key: str
    session: str

    @property
    def url(self) -> str:
        """Its HTTP door."""
        return f"http://{self.host}:{self.port}"


async def run(rounds: int) -> harness.Report:
    """Reads, chunks and sockets, in one run."""
    async with AsyncExitStack() as stack:
        model = await stack.enter_async_context(_stand_in())
        echo = await stack.enter_async_context(_echo())
        node = await stack.enter_async_context(_node(model))
        reads = {
            "/health": "/health",
            "state": f"/api/v1/conversation/{node.session}",
            "history": f"/api/v1/conversation/{node.session}/messages",
            "realtime": "/api/v1/metrics/realtime",
        }
        took: dict[str, list[float]] = {}
        contenders = {"echo": _reads("echo", echo, "/echo/x", "", took)}
        contenders |= {name: _reads(name, node.port, path, node.key, took) for name, path in reads.items()}
        got = await harness.measure(rounds, contenders)
        chunks = await harness.measure(rounds, _chunks(model, node))
        figures = [
            Figure(
                f"GET {name}, p{percent}",
                "ms",
                harness.percentile(took[name], percent),
                harness.percentile(took["echo"], percent),
                goal=3.0 if percent == 95 else None,
                better="less",
                trials=len(took[name]),
            )
            for name in reads
            for percent in (50, 95)
        ]
        added = chunks.of["node"] - chunks.of["stand-in"]
        figures += [
            Figure(
                "a streamed chunk : from the stand-in",
                "ms",
                chunks.of["node"],
                chunks.of["stand-in"],
                better="less",
            ),
            Figure("added to a chunk, p50", "ms", added, goal=0.15, better="less"),
        ]
        figures += await _sockets(node)
    return harness.Report(figures, [got, chunks])


def _reads(
    name: str, port: int, path: str, key: str, took: dict[str, list[float]]
) -> Callable[[], Awaitable[float]]:
    shown = f"Authorization: Bearer {key}\r\n" if key else ""
    request = f"GET {path} HTTP/1.1\r\nHost: x\r\n{shown}\r\n".encode()

    async def once() -> float:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        mine = list[float]()
        for _ in range(READS):
            began = time.perf_counter()
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
            mine.append(1000 * (time.perf_counter() - began))
        writer.close()
        took.setdefault(name, []).extend(mine[READS // 10 :])  # the first ones warm up
        return harness.percentile(mine, 95)

    return once


def _chunks(model: str, node: Node) -> Mapping[str, Callable[[], Awaitable[float]]]:
    def contender(port: int, key: str, name: str) -> Callable[[], Awaitable[float]]:
        async def once() -> float:
            return 1000 * harness.percentile([await _chunk(port, key, name, n) for n in range(REPLIES)], 50)

        return once

    straight = contender(int(model.rpartition(":")[2]), "any", "claude-sonnet-5-5")
    return {"stand-in": straight, "node": contender(node.port, node.key, _CHARACTER)}


async def _chunk(port: int, key: str, model: str, number: int) -> float:
    """Seconds for each chunk of a reply after the first."""
    said = [{"role": "user", "content": f"{_ASKS} Number {number}."}]
    body = json.dumps({"model": model, "max_tokens": 500, "messages": said, "stream": True}).encode()
    head = (
        f"POST /v1/messages HTTP/1.1\r\nHost: x\r\nx-api-key: {key}\r\nanthropic-version: 2023-06-01\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head.encode() + body)
    first_at, chunks = 0.0, 0
    while data := await reader.read(65_536):
        chunks += data.count(b"event: content_block_delta")
        if chunks and not first_at:
            first_at = time.perf_counter()
    took = time.perf_counter() - first_at
    writer.close()
    return took / max(1, chunks - 1)


async def _sockets(node: Node) -> list[Figure]:
    """All of them open at once, and each asks something."""
    url = f"ws://{node.host}:{node.port}/ws/conversation/{node.session}"
    headers = {"Authorization": f"Bearer {node.key}"}
    async with AsyncExitStack() as stack:
        began = time.perf_counter()
        opened = [
            await stack.enter_async_context(
                connect(url, additional_headers=headers, proxy=None, compression=None)
            )
            for _ in range(SOCKETS)
        ]
        opened_ms = 1000 * (time.perf_counter() - began) / SOCKETS
        took = [await _round_trip(each) for _ in range(ROUND_TRIPS) for each in opened]
    return [
        Figure("WebSockets open at once", "", len(opened), goal=SOCKETS),
        Figure("to open one", "ms", opened_ms, better="less"),
        Figure(
            "a frame there and back, p95",
            "ms",
            harness.percentile(took, 95),
            goal=100,
            better="less",
            trials=len(took),
        ),
    ]


async def _round_trip(opened: ClientConnection) -> float:
    began = time.perf_counter()
    await opened.send('{"type":"resume","after":"x"}')
    assert json.loads(await opened.recv())["type"] == "error"
    return 1000 * (time.perf_counter() - began)


@asynccontextmanager
async def _node(model: str) -> AsyncIterator[Node]:
    """One node on its own database, which has the example character."""
    port = _free_port()
    async with store_server.running() as server:
        database = await server.database("gateway")
        url = database.url.get_secret_value()
        environ = {
            "CCN_DATABASE_URL": url,
            "CCN_CLAUDE_BASE_URL": model,
            "CCN_CLAUDE_API_KEY": "any",
            "CCN_HTTP_PORT": str(port),
            "CCN_GRPC_PORT": "0",
            "CCN_LIMITS_REQUESTS": "1000000",
            "CCN_LOG_LEVEL": "error",
        }
        async with _process("-m", "ccn", "node", "run", environ=environ):
            await _listens(port)
            with tempfile.TemporaryDirectory() as folder:
                admin = await first.admin(url, Path(folder, "key"))
            assert admin is not None
            session = await _begun(port, admin.api_key)
            yield Node("127.0.0.1", port, admin.api_key, session)


async def _begun(port: int, key: str) -> str:
    sdk = anthropic.AsyncAnthropic(api_key=key, base_url=f"http://127.0.0.1:{port}")
    async with sdk:
        said: Any = [{"role": "user", "content": _ASKS}]
        raw = await sdk.messages.with_raw_response.create(
            model=_CHARACTER, max_tokens=500, messages=said, extra_headers={"x-ccn-conversation": "new"}
        )
    return str(raw.headers["x-ccn-conversation"])


@asynccontextmanager
async def _echo() -> AsyncIterator[int]:
    port = _free_port()
    async with _process("-m", "scripts.benchmarks.gateway_floor", str(port)):
        await _listens(port)
        yield port


@asynccontextmanager
async def _stand_in() -> AsyncIterator[str]:
    port = _free_port()
    async with _process("-m", "ccn.claude.stand_in", "--port", str(port)):
        await _listens(port)
        yield f"http://127.0.0.1:{port}"


@asynccontextmanager
async def _process(*argv: str, environ: Mapping[str, str] | None = None) -> AsyncIterator[None]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *argv,
        env=settings.environment(dict(environ or {})),
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def _listens(port: int) -> None:
    async with asyncio.timeout(60):
        while True:
            with suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return
            await asyncio.sleep(0.05)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])
