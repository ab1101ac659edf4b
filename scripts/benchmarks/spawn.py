"""A spawn besides the model, in a corpus of a million messages; the floor builds a prompt and commits rows.

Ours is everything from the wish for a conversation to an instance that passed its interview: the memories
of twenty earlier conversations, the state, six prompts, six reservations that are settled, and every row
and leaf. The model answers at once, in this process. The floor has all it needs at hand: it builds one
prompt and commits as many rows as a spawn leaves, once. The database keeps its promises (fsync).
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import cast

import asyncpg
import orjson
import structlog

from ccn import settings
from ccn.claude import wire
from ccn.claude.client import ModelClient
from ccn.claude.meter import UsageMeter
from ccn.core.calls.call import Call, Piece, Reply
from ccn.core.ids import CharacterId, ConversationId, UserId
from ccn.core.message import Message, Role
from ccn.core.prompts import prompt
from ccn.node import assembly
from ccn.node.assembly import NodeInstances
from ccn.node.instances.forwarding import Forwarding
from ccn.node.spending.paid_model import PaidModel
from ccn.service.clock import new_id
from ccn.store.connection import pool
from ccn.store.conversations import anchors, characters, prompt_sources
from scripts.benchmarks import corpus, harness, store_server
from scripts.benchmarks.corpus import Corpus
from scripts.benchmarks.harness import Figure
from scripts.benchmarks.turn import PLATE

SPAWNS = 30
ADA = CharacterId("ada")
ROWS = 8
"""A conversation, an instance, two of its lives, their leaves, and an anchor."""
LIMITS = settings.LimitsSettings(conversations=1_000_000, instances=100_000, calls_at_once=100)
_ANSWER = "I am Mira. I help you with this work. Nothing yet. Kind, warm, honest. The record continues."


async def run(rounds: int, rows: int) -> harness.Report:
    """On a server and a corpus of its own."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    async with store_server.running() as server:
        database = await server.database("corpus", "CREATE TABLE floor_rows (id uuid, body jsonb)")
        loaded = await corpus.load(database, rows)
        chosen = random.Random(3)
        async with _node(database) as lives, _bare(database) as connection:
            floor = await _Floor.of(lives, connection, loaded, chosen)

            def ours(percent: float) -> Callable[[], Awaitable[float]]:
                async def once() -> float:
                    return harness.percentile(await _spawned(lives, loaded, chosen), percent)

                return once

            await _spawned(lives, loaded, chosen)  # warm
            contenders = {"p50": ours(50), "p95": ours(95), "floor": floor.once}
            got = await harness.measure(rounds, contenders)
    name = f"a spawn besides the model, {rows:,} messages"
    return harness.Report(
        [
            Figure(f"{name}, p50", "ms", got.of["p50"], got.of["floor"], goal=10.0, better="less"),
            Figure(f"{name}, p95", "ms", got.of["p95"], got.of["floor"], better="less"),
        ],
        [got],
    )


async def _spawned(lives: NodeInstances, loaded: Corpus, chosen: random.Random) -> list[float]:
    """Milliseconds of each of some spawns, for people who were here before."""
    took = list[float]()
    for _ in range(SPAWNS):
        began = time.perf_counter()
        await lives.conversations.start(ADA, owner=UserId(chosen.choice(loaded.owners)))
        took.append(1000 * (time.perf_counter() - began))
    return took


class _Floor:
    """What cannot be left out, done with everything at hand."""

    def __init__(self, connection: asyncpg.Connection[asyncpg.Record], build: Callable[[], Call]) -> None:
        self._connection, self._build = connection, build

    @classmethod
    async def of(
        cls,
        lives: NodeInstances,
        connection: asyncpg.Connection[asyncpg.Record],
        loaded: Corpus,
        chosen: random.Random,
    ) -> _Floor:
        """The prompt of one of those spawns."""
        begun = await lives.conversations.start(ADA, owner=UserId(chosen.choice(loaded.owners)))
        here = begun.conversation.id
        anchor = await anchors.load_anchor(lives.pool, here)
        assert anchor is not None
        plate, limits = await lives.prompts.load_plate(ADA, 1), prompt.PromptLimits("any")
        recalled = await prompt_sources.load_memories(lives.pool, anchor.memories)
        asked = Message(ConversationId(here), 1, Role.USER, "Who are you?", begun.conversation.created_at)
        scene = prompt.Scene(1, (asked,), recalled, "ann")
        return cls(connection, lambda: prompt.build_call(plate, anchor, scene, limits))

    async def once(self) -> float:
        """Milliseconds, at the median."""
        took = list[float]()
        for _ in range(SPAWNS):
            began = time.perf_counter()
            call = self._build()
            assert call.messages
            body = orjson.dumps({"status": "running", "reason": "passed the interview"}).decode()
            await self._connection.execute(
                "INSERT INTO floor_rows SELECT * FROM unnest($1::uuid[], $2::jsonb[])",
                [new_id() for _ in range(ROWS)],
                [body] * ROWS,
            )
            took.append(1000 * (time.perf_counter() - began))
        return harness.percentile(took, 50)


class _Instant:
    """A client whose model answers at once, and is paid like any other."""

    async def stream(self, call: Call, meter: UsageMeter) -> AsyncGenerator[Piece, None]:
        """The same words to every question."""
        await meter.allow_try()
        answer = wire.StreamedReply(call.model)
        with meter.measure_try(answer, call):
            usage = {"input_tokens": 100, "output_tokens": 1}
            answer.take_event("message_start", _json({"message": {"model": call.model, "usage": usage}}))
            answer.take_event(
                "message_delta", _json({"delta": {"stop_reason": "end_turn"}, "usage": usage})
            )
        yield Reply(_ANSWER, "end_turn", answer.usage, call.model)


@asynccontextmanager
async def _node(database: settings.DatabaseSettings) -> AsyncIterator[NodeInstances]:
    """One node without doors."""
    stop, claude = asyncio.Event(), settings.ClaudeSettings()
    async with (
        store_server.writing(database) as writer,
        pool.open(database, "node-1") as connections,
        asyncio.TaskGroup() as tasks,
    ):
        await characters.import_plate(connections, writer, ADA, "Ada", PLATE, "benchmark")
        lives = assembly.assemble_instances(
            connections,
            writer,
            PaidModel(
                cast("ModelClient", _Instant()), connections, claude, lambda: datetime.now(UTC), LIMITS
            ),
            forwarding=Forwarding(writer.node, None),
            here=lambda: None,
            chosen=settings.InstancesSettings(limit=100_000),
            claude=claude,
            new_id=new_id,
            limits=LIMITS,
        )
        for part in lives.make_parts(stop, 2.0).values():
            tasks.create_task(part)
        try:
            yield lives
        finally:
            stop.set()


@asynccontextmanager
async def _bare(database: settings.DatabaseSettings) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    connection = await asyncpg.connect(database.url.get_secret_value())
    try:
        yield connection
    finally:
        await connection.close()


def _json(value: object) -> str:
    return orjson.dumps(value).decode()
