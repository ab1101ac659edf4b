"""What a node holds in memory beside a bare process with the same imports, and what idle instances add.

The node is a process of its own on a database of its own. Once it stands still, a thousand conversations
whose host is gone are put into the record; the node adopts their instances, and nobody ever talks to them.
RSS is what a process shows; PSS shares among processes what they share, so growth is told by it.
"""

from __future__ import annotations

import asyncio
import re
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.request import urlopen

import psutil  # type: ignore[import-untyped]

from ccn import settings
from ccn.cli.cluster import first_admin
from ccn.core.ids import CharacterId, ConversationId, InstanceId, NodeId
from ccn.gateway.accounts import credentials
from ccn.store.connection import pool
from ccn.store.connection.pool import Pool
from ccn.store.conversations import conversations, instances
from ccn.store.writing.writer import Writer
from scripts.benchmarks import harness, serving, store_server
from scripts.benchmarks.harness import Figure

INSTANCES = 1_000
IDLE_S = 20.0
MIB = 2**20
_GONE = NodeId("gone")
_BARE = "import sys, ccn.cli, ccn.service.lifetime; print(flush=True); sys.stdin.read()"
_STILL_S, _DEADLINE_S = 3.0, 120.0


@dataclass(frozen=True, slots=True)
class Held:
    """MiB of a process."""

    rss: float
    pss: float


async def run() -> harness.Report:
    """One node, once: memory does not vary as time does."""
    async with AsyncExitStack() as stack:
        model = await stack.enter_async_context(serving.stand_in())
        server = await stack.enter_async_context(store_server.running())
        database = await server.database("memory")
        bare = held(await stack.enter_async_context(_bare()))
        node = await stack.enter_async_context(serving.node(database, model))
        with tempfile.TemporaryDirectory() as folder:
            admin = await first_admin.ensure_admin(database.url.get_secret_value(), Path(folder, "key"))
        assert admin is not None
        await serving.begun(node.port, admin.api_key)
        await asyncio.sleep(_STILL_S)
        alone, spent = held(node.pid), await _tokens(node.port)
        await _left_behind(database)
        await _adopted(database)
        await asyncio.sleep(IDLE_S)
        full, more = held(node.pid), await _tokens(node.port) - spent
    return harness.Report(
        [
            Figure("a node : the same imports, RSS", "MiB", alone.rss, bare.rss, goal=1.6, better="less"),
            Figure("the same, PSS", "MiB", alone.pss, bare.pss, better="less"),
            Figure("added by idle instances, PSS", "MiB", full.pss - alone.pss, goal=30, better="less",
                   trials=INSTANCES),
            Figure("the same, RSS", "MiB", full.rss - alone.rss, goal=30, better="less", trials=INSTANCES),
            Figure(f"tokens they spent in {IDLE_S:g} s", "", more, goal=0, better="less", trials=INSTANCES),
        ]
    )  # fmt: skip


def held(pid: int) -> Held:
    """What a process holds now."""
    told = psutil.Process(pid).memory_full_info()
    return Held(told.rss / MIB, told.pss / MIB)


async def _left_behind(database: settings.DatabaseSettings) -> None:
    """Conversations with instances that their host left to whoever wants them."""
    writer = Writer(database, _GONE, lambda: datetime.now(UTC))
    async with pool.open(database, "memory") as connections, asyncio.TaskGroup() as tasks:
        tasks.create_task(writer.run())
        try:
            mine = await asyncio.gather(*(_instance(writer) for _ in range(INSTANCES)))
            await instances.release_instances(connections, _GONE, mine)
        finally:
            writer.stop()


async def _instance(writer: Writer) -> InstanceId:
    here, named = ConversationId(credentials.new_id()), InstanceId(credentials.new_id())
    await writer.submit(conversations.BeginConversation(here, CharacterId(serving.CHARACTER), None, 1))
    spawned = await writer.submit(instances.SpawnInstance(named, here, serving.MODEL, 1))
    await writer.submit(
        instances.ChangeInstance(spawned, instances.InstanceStatus.RUNNING, "for a benchmark")
    )
    return named


async def _adopted(database: settings.DatabaseSettings) -> None:
    until = time.monotonic() + _DEADLINE_S
    async with pool.open(database, "memory") as connections:
        while await _still_left(connections):
            if time.monotonic() > until:
                raise TimeoutError(f"not all instances were adopted within {_DEADLINE_S:g} s")
            await asyncio.sleep(0.2)


async def _still_left(connections: Pool) -> int:
    return int(await connections.value("SELECT count(*) FROM instance_registry WHERE host = $1", _GONE))


async def _tokens(port: int) -> float:
    """All that the node has ever used, by its own series."""

    def page() -> str:
        with urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            return str(answer.read(), "utf-8")

    series = re.findall(r"^ccn_api_tokens_total{.*} (\S+)$", await asyncio.to_thread(page), re.MULTILINE)
    return sum(map(float, series))


@asynccontextmanager
async def _bare() -> AsyncIterator[int]:
    """A process that has imported all that a node does, and does nothing."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", _BARE, stdin=pipe, stdout=pipe)
    assert process.stdin is not None
    assert process.stdout is not None
    await process.stdout.readline()
    try:
        yield process.pid
    finally:
        process.stdin.close()
        await process.wait()
