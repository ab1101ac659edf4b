"""Processes that benchmarks of doors stand on: a stand-in for the model, and a node on a database."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import anthropic

from ccn import settings

CHARACTER, MODEL = "wren", "claude-sonnet-5-5"
ASKS = "Tell me about lighthouses, at length."


UNLIMITED = {
    "CCN_INSTANCES_LIMIT": "2000",
    "CCN_LIMITS_REQUESTS": "1000000",
    "CCN_LIMITS_CONVERSATIONS": "1000000",
    "CCN_LIMITS_INSTANCES": "100000",
    "CCN_LIMITS_CALLS_AT_ONCE": "10000",
    "CCN_LIMITS_SPAWNS_AT_ONCE": "1000",
    "CCN_LIMITS_DAILY_DOLLARS": "1000000",
    "CCN_LIMITS_STREAMS": "100000",
    "CCN_HTTP_ADDRESS_LIMIT": "100000",
}
"""Limits out of the way: one caller of a benchmark does more than any user may."""


@dataclass(frozen=True, slots=True)
class Node:
    """A node that serves."""

    port: int
    pid: int


@asynccontextmanager
async def node(
    database: settings.DatabaseSettings, model: str, chosen: Mapping[str, str] = UNLIMITED
) -> AsyncIterator[Node]:
    """Run one node with the example character and the chosen settings."""
    port = free_port()
    environ = {
        "CCN_DATABASE_URL": database.url.get_secret_value(),
        "CCN_CLAUDE_BASE_URL": model,
        "CCN_CLAUDE_API_KEY": "any",
        "CCN_HTTP_PORT": str(port),
        "CCN_GRPC_PORT": "0",
        "CCN_LOG_LEVEL": "error",
        **chosen,
    }
    async with process("-m", "ccn", "node", "run", environ=environ) as pid:
        await listens(port)
        yield Node(port, pid)


@asynccontextmanager
async def stand_in() -> AsyncIterator[str]:
    """Run a stand-in in a process of its own, and say where it listens."""
    argv = (sys.executable, "-m", "ccn.claude.stand_in", "--json")
    running = await asyncio.create_subprocess_exec(*argv, stdout=asyncio.subprocess.PIPE)
    assert running.stdout is not None
    try:
        yield json.loads(await running.stdout.readline())["url"]
    finally:
        running.terminate()
        await running.wait()


async def begun(port: int, key: str) -> str:
    """Begin a conversation in which something was said and answered; return its id."""
    sdk = anthropic.AsyncAnthropic(api_key=key, base_url=f"http://127.0.0.1:{port}")
    async with sdk:
        said: Any = [{"role": "user", "content": ASKS}]
        raw = await sdk.messages.with_raw_response.create(
            model=CHARACTER, max_tokens=500, messages=said, extra_headers={"x-ccn-conversation": "new"}
        )
    return str(raw.headers["x-ccn-conversation"])


@asynccontextmanager
async def process(*argv: str, environ: Mapping[str, str] | None = None) -> AsyncIterator[int]:
    """Run Python with these arguments until the block ends."""
    running = await asyncio.create_subprocess_exec(
        sys.executable,
        *argv,
        env=settings.child_environment(dict(environ or {})),
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        yield running.pid
    finally:
        with suppress(ProcessLookupError):
            running.terminate()
        await running.wait()


async def listens(port: int) -> None:
    """Return once something listens at the port."""
    async with asyncio.timeout(60):
        while True:
            with suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return
            await asyncio.sleep(0.05)


def free_port() -> int:
    """Find a port at which nothing listens now."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])
