"""A turn on its hosting node, beside the official SDK straight to the same stand-in with the same prompt.

Each turn is accepted, streamed to a reader and committed; then the SDK asks the same once more. What is
added is the difference of such a pair. The database keeps its promises (fsync).
"""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import anthropic
import structlog
from pydantic import SecretStr

from ccn import settings
from ccn.claude import client, wire
from ccn.core import ids
from ccn.core.ids import CharacterId, ConversationId
from ccn.core.stream import Kind
from ccn.node import living
from ccn.node.forwarding import Forwarding
from ccn.node.living import Living
from ccn.node.paying import Paying
from ccn.store import characters, instances, pool
from scripts.benchmarks import harness, store_server
from scripts.benchmarks.harness import Figure
from scripts.benchmarks.store_server import Server

TURNS = 40
MIRA = CharacterId("mira")
PLATE = "# Mira\nMira is warm, kind, curious and honest. " * 40


@dataclass(frozen=True, slots=True)
class Pair:
    """Milliseconds that a turn and its chunks took longer than with the SDK alone."""

    turn: float
    chunk: float


async def run(rounds: int) -> harness.Report:
    """Turns in one conversation after the other."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    async with (
        store_server.running() as server,
        stand_in() as url,
        node(server, url) as lives,
        anthropic.AsyncAnthropic(api_key="any", base_url=url, max_retries=0) as sdk,
    ):
        await _pairs(lives, sdk)  # warm

        def contender(what: str, percent: float) -> Callable[[], Awaitable[float]]:
            async def once() -> float:
                pairs = await _pairs(lives, sdk)
                return harness.percentile([getattr(pair, what) for pair in pairs], percent)

            return once

        wanted = {
            "p50": contender("turn", 50),
            "p95": contender("turn", 95),
            "chunk": contender("chunk", 50),
        }
        got = await harness.measure(rounds, wanted)
    return harness.Report(
        [
            Figure("a turn besides the model, p50", "ms", got.of["p50"], goal=5.0, better="less"),
            Figure("a turn besides the model, p95", "ms", got.of["p95"], goal=12.0, better="less"),
            Figure("added to a chunk on the hosting node", "ms", got.of["chunk"], goal=0.15, better="less"),
        ],
        [got],
    )


async def _pairs(lives: Living, sdk: anthropic.AsyncAnthropic) -> list[Pair]:
    begun = await lives.conversations.start(MIRA)
    return [await _pair(lives, sdk, begun.conversation.id, number) for number in range(TURNS)]


async def _pair(lives: Living, sdk: anthropic.AsyncAnthropic, talk: ConversationId, number: int) -> Pair:
    began = time.perf_counter()
    turn = await lives.conversations.say(talk, f"Tell me about lighthouse {number}.")
    times = [
        time.perf_counter()
        async for told in lives.conversations.follow(turn.id)
        if told.kind in {Kind.DELTA, Kind.DONE}
    ]
    ours, chunk = times[-1] - began, (times[-2] - times[0]) / max(1, len(times) - 2)
    instance = await instances.of_conversation(lives.pool, talk)
    assert instance is not None
    call = await lives.prompting.call(instance, turn)
    began = time.perf_counter()
    stream = await sdk.messages.create(**wire.asked(call), stream=True)
    times = [time.perf_counter() async for event in stream if event.type == "content_block_delta"]
    alone, chunk_alone = time.perf_counter() - began, (times[-1] - times[0]) / max(1, len(times) - 1)
    return Pair(1000 * (ours - alone), 1000 * (chunk - chunk_alone))


@asynccontextmanager
async def node(server: Server, url: str) -> AsyncIterator[Living]:
    """One node without doors, with one character."""
    database, stop = await server.database("turn"), asyncio.Event()
    claude = settings.Claude(base_url=url, api_key=SecretStr("any"))
    async with (
        store_server.writing(database) as writer,
        pool.open(database, "node-1") as connections,
        client.opened(claude) as asks,
        asyncio.TaskGroup() as tasks,
    ):
        await characters.import_plate(connections, writer, MIRA, "Mira", PLATE, "benchmark")
        lives = living.assemble(
            connections,
            writer,
            Paying(asks, connections, claude, lambda: datetime.now(UTC)),
            forwarding=Forwarding(writer.node, None),
            here=lambda: None,
            chosen=settings.Instances(),
            claude=claude,
            new_id=_new_id,
        )
        for part in lives.parts(stop, 2.0).values():
            tasks.create_task(part)
        try:
            yield lives
        finally:
            stop.set()


@asynccontextmanager
async def stand_in() -> AsyncIterator[str]:
    """The stand-in in a process of its own, and where it listens."""
    argv = (sys.executable, "-m", "ccn.claude.stand_in", "--json")
    process = await asyncio.create_subprocess_exec(*argv, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        yield json.loads(await process.stdout.readline())["url"]
    finally:
        process.terminate()
        await process.wait()


def _new_id() -> UUID:
    return ids.uuid7(time.time_ns() // 1_000_000, secrets.token_bytes(10))
