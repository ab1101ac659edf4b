"""A turn through a gateway, beside the same through the node that hosts its instance.

One node and one gateway, as `ccn up` starts them: mutual TLS between them, and a stand-in that makes no
pauses. Turns go to one door and to the other by turns, in one conversation, so both see the same prompt
grow; what is added is the median of the differences of such pairs. The replies are short: how fast a long
one can pass through a door is not what a reader waits for.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from ccn import settings
from scripts.benchmarks import harness, serving
from scripts.benchmarks.harness import Figure

PAIRS = 60
WARMING = 6
GOAL_MS = 1.5
SHORT = {"CCN_CLAUDE_STAND_IN_WORDS_S": "0", "CCN_CLAUDE_MAX_TOKENS": "24"}


@dataclass(frozen=True, slots=True)
class Door:
    """A door, and a conversation behind it."""

    port: int
    key: str
    session: str


async def measure_turns(pairs: int = PAIRS) -> list[Figure]:
    """The figures of a cluster that lives for this alone."""
    async with _cluster() as told:
        key, (node,), (gateway,) = told["admin"]["api_key"], told["nodes"], told["gateways"]
        host, front = _port_of(node), _port_of(gateway)
        session = await serving.begun(host, key)
        by_host, by_gateway = list[float](), list[float]()
        for number in range(WARMING + pairs):
            timed = {}
            for port in (host, front) if number % 2 else (front, host):
                timed[port] = await _take_turn(Door(port, key, session), number)
            if number >= WARMING:
                by_host.append(timed[host])
                by_gateway.append(timed[front])
    added = [through - straight for through, straight in zip(by_gateway, by_host, strict=True)]
    return [
        Figure(
            f"a turn through a gateway : its host, p{percent}",
            "ms",
            harness.percentile(by_gateway, percent),
            harness.percentile(by_host, percent),
            better="less",
            trials=pairs,
        )
        for percent in (50, 95)
    ] + [
        Figure(
            "added by a gateway, p50",
            "ms",
            harness.percentile(added, 50),
            goal=GOAL_MS,
            better="less",
            trials=pairs,
        )
    ]


async def _take_turn(door: Door, number: int) -> float:
    """Milliseconds from the first byte of a message to the last event of its reply."""
    body = json.dumps({"content": f"{serving.ASKS} Number {number}."}).encode()
    head = (
        f"POST /api/v1/conversation/{door.session}/messages HTTP/1.1\r\nHost: x\r\n"
        f"Authorization: Bearer {door.key}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
    began, told = time.perf_counter(), b""
    writer.write(head.encode() + body)
    while b"event: done" not in told:
        data = await reader.read(65_536)
        assert data, told[-2_000:]
        told += data
    took = time.perf_counter() - began
    writer.close()
    return 1000 * took


@asynccontextmanager
async def _cluster() -> AsyncIterator[dict[str, Any]]:
    options = ("--ephemeral", "--json", "--quiet", "--port", "0", "--nodes", "1", "--gateways", "1")
    running = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ccn", "up", *options,
        env=settings.child_environment(SHORT | serving.UNLIMITED),
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert running.stdout is not None
    try:
        yield json.loads(await running.stdout.readline())
    finally:
        running.terminate()
        await running.wait()


def _port_of(node: dict[str, Any]) -> int:
    port: int | None = urlsplit(str(node["http"])).port
    assert port is not None
    return port
