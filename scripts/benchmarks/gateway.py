"""The HTTP door of one node: reads beside a bare FastAPI echo, what a streamed chunk costs, 500 WebSockets,
and a turn through a gateway.

Node, echo and stand-in are processes of their own. Requests come one after the other over one connection. A
reply streams through the Messages API to a plain reader; what the node adds is told beside the official SDK
straight from the stand-in, which is what a node has to do as well. The plain reader shows what that costs.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anthropic
from websockets.asyncio.client import ClientConnection, connect

from ccn.cli.cluster import first_admin
from scripts.benchmarks import gateway_role, harness, serving, store_server
from scripts.benchmarks.harness import Figure

READS = 300
REPLIES = 12
SOCKETS = 500
ROUND_TRIPS = 4


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
        model = await stack.enter_async_context(serving.stand_in())
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
        of = chunks.of
        figures += [
            Figure("a streamed chunk, read plainly", "ms", of["node"], of["stand-in"], better="less"),
            Figure("a streamed chunk : the SDK's", "ms", of["node"], of["sdk"], better="less"),
            Figure("added to a chunk, p50", "ms", of["node"] - of["sdk"], goal=0.15, better="less"),
        ]
        figures += await _sockets(node)
    figures += await gateway_role.measure_turns()
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

    async def sdk() -> float:
        async with anthropic.AsyncAnthropic(api_key="any", base_url=model, max_retries=0) as asks:
            return 1000 * harness.percentile([await _by_sdk(asks, n) for n in range(REPLIES)], 50)

    straight = contender(int(model.rpartition(":")[2]), "any", serving.MODEL)
    return {"stand-in": straight, "sdk": sdk, "node": contender(node.port, node.key, serving.CHARACTER)}


async def _chunk(port: int, key: str, model: str, number: int) -> float:
    """Seconds for each chunk of a reply after the first."""
    said = [{"role": "user", "content": f"{serving.ASKS} Number {number}."}]
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


async def _by_sdk(asks: anthropic.AsyncAnthropic, number: int) -> float:
    """The same with the official SDK, straight from the stand-in: what a program without CCN would see."""
    said: Any = [{"role": "user", "content": f"{serving.ASKS} Number {number}."}]
    stream = await asks.messages.create(model=serving.MODEL, max_tokens=500, messages=said, stream=True)
    at = [time.perf_counter() async for event in stream if event.type == "content_block_delta"]
    return (at[-1] - at[0]) / max(1, len(at) - 1)


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
    """One node on its own database, and a conversation in it."""
    async with store_server.running() as server:
        database = await server.database("gateway")
        async with serving.node(database, model) as node:
            with tempfile.TemporaryDirectory() as folder:
                admin = await first_admin.ensure_admin(database.url.get_secret_value(), Path(folder, "key"))
            assert admin is not None
            yield Node("127.0.0.1", node.port, admin.api_key, await serving.begun(node.port, admin.api_key))


@asynccontextmanager
async def _echo() -> AsyncIterator[int]:
    port = serving.free_port()
    async with serving.process("-m", "scripts.benchmarks.gateway_floor", str(port)):
        await serving.listens(port)
        yield port
