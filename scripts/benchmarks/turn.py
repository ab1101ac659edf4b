"""A turn on its hosting node, beside the official SDK straight to the same stand-in with the same prompt.

Each turn is accepted, streamed to a reader and committed; then the SDK asks the same once more. What is
added is the difference of such a pair. The database keeps its promises (fsync). A forwarded chunk comes
from another node over gRPC; both run in this process, so its figure is more than it is with two.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

import anthropic
import structlog
from pydantic import SecretStr

from ccn import settings
from ccn.claude import client, wire
from ccn.core.calls.call import Call, Piece
from ccn.core.calls.price import CallSize
from ccn.core.ids import CharacterId, ConversationId, NodeId, UserId
from ccn.core.stream import EventKind
from ccn.gateway.grpc import peer as peer_door
from ccn.node import assembly
from ccn.node.assembly import NodeInstances
from ccn.node.conversations import Conversations
from ccn.node.instances.forwarding import Forwarding
from ccn.node.spending.paid_model import PaidModel, Payer
from ccn.peers import client as peers
from ccn.peers.exchange import ForwardedRequest
from ccn.service.clock import new_id
from ccn.store.connection import pool
from ccn.store.conversations import characters, instances
from ccn.store.writing.writer import Writer
from scripts.benchmarks import harness, serving, store_server
from scripts.benchmarks.harness import Figure

if TYPE_CHECKING:
    from ccn.gateway.grpc.peer import PeerNode

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
    async with store_server.running() as server, serving.stand_in() as url:
        return await _measured(rounds, await server.database("turn"), url)


async def _measured(rounds: int, database: settings.DatabaseSettings, url: str) -> harness.Report:
    async with (
        node(database, url) as lives,
        desk(lives, database) as other,
        anthropic.AsyncAnthropic(api_key="any", base_url=url, max_retries=0) as sdk,
    ):
        await _pairs(lives, lives.conversations, sdk)  # warm

        def contender(
            what: str, percent: float, reader: Conversations = lives.conversations
        ) -> Callable[[], Awaitable[float]]:
            async def once() -> float:
                pairs = await _pairs(lives, reader, sdk)
                return harness.percentile([getattr(pair, what) for pair in pairs], percent)

            return once

        wanted = {
            "p50": contender("turn", 50),
            "p95": contender("turn", 95),
            "chunk": contender("chunk", 50),
            "forwarded": contender("chunk", 50, other),
        }
        got = await harness.measure(rounds, wanted)
    return harness.Report(
        [
            Figure("a turn besides the model, p50", "ms", got.of["p50"], goal=5.0, better="less"),
            Figure("a turn besides the model, p95", "ms", got.of["p95"], goal=12.0, better="less"),
            Figure("added to a chunk on the hosting node", "ms", got.of["chunk"], goal=0.15, better="less"),
            Figure("added to a forwarded chunk", "ms", got.of["forwarded"], goal=0.4, better="less"),
        ],
        [got],
    )


async def _pairs(lives: NodeInstances, reader: Conversations, sdk: anthropic.AsyncAnthropic) -> list[Pair]:
    begun = await lives.conversations.start(MIRA)
    return [await _pair(lives, reader, sdk, begun.conversation.id, number) for number in range(TURNS)]


async def _pair(
    lives: NodeInstances,
    reader: Conversations,
    sdk: anthropic.AsyncAnthropic,
    talk: ConversationId,
    number: int,
) -> Pair:
    began = time.perf_counter()
    turn = await reader.say(talk, f"Tell me about lighthouse {number}.", store_server.ANN)
    times = [
        time.perf_counter()
        async for told in reader.follow_turn(turn.id)
        if told.kind in {EventKind.DELTA, EventKind.DONE}
    ]
    ours, chunk = times[-1] - began, (times[-2] - times[0]) / max(1, len(times) - 2)
    instance = await instances.find_in_conversation(lives.pool, talk)
    assert instance is not None
    call = await lives.prompts.build_call(instance, turn.user_seq)
    began = time.perf_counter()
    stream = await sdk.messages.create(**wire.call_to_params(call), stream=True)
    times = [time.perf_counter() async for event in stream if event.type == "content_block_delta"]
    alone, chunk_alone = time.perf_counter() - began, (times[-1] - times[0]) / max(1, len(times) - 1)
    return Pair(1000 * (ours - alone), 1000 * (chunk - chunk_alone))


@asynccontextmanager
async def node(database: settings.DatabaseSettings, url: str) -> AsyncIterator[NodeInstances]:
    """One node without doors, with one character."""
    stop = asyncio.Event()
    claude = settings.ClaudeSettings(base_url=url, api_key=SecretStr("any"))
    async with (
        store_server.writing(database) as writer,
        pool.open(database, "node-1") as connections,
        client.open_client(claude) as asks,
        asyncio.TaskGroup() as tasks,
    ):
        await characters.import_plate(connections, writer, MIRA, "Mira", PLATE, "benchmark")
        lives = assembly.assemble_instances(
            connections,
            writer,
            PaidModel(asks, connections, claude, lambda: datetime.now(UTC), settings.LimitsSettings()),
            forwarding=Forwarding(writer.node, None),
            here=lambda: None,
            chosen=settings.InstancesSettings(),
            claude=claude,
            new_id=new_id,
        )
        for part in lives.make_parts(stop, 2.0).values():
            tasks.create_task(part)
        try:
            yield lives
        finally:
            stop.set()


@asynccontextmanager
async def desk(lives: NodeInstances, database: settings.DatabaseSettings) -> AsyncIterator[Conversations]:
    """Another node, which hosts nothing: it asks the first one through that one's door for peers."""
    stop, here = asyncio.Event(), NodeId("desk")
    door = peer_door.PeerServer(cast("PeerNode", _Answers(lives)), None)
    port = door.listen(settings.PeersSettings(port=0))
    writer = Writer(database, here, lambda: datetime.now(UTC))
    async with (
        pool.open(database, here) as connections,
        peers.open_client(here, None) as others,
        asyncio.TaskGroup() as tasks,
    ):
        tasks.create_task(door.serve(stop, 1.0))
        tasks.create_task(writer.run())
        await others.set_addresses({lives.hosting.node: f"127.0.0.1:{port}"})
        reads = assembly.assemble_instances(
            connections,
            writer,
            Nobody(),
            forwarding=Forwarding(here, others),
            here=lambda: None,
            chosen=settings.InstancesSettings(),
            claude=settings.ClaudeSettings(),
            new_id=new_id,
        )
        try:
            yield reads.conversations
        finally:
            writer.stop()
            stop.set()


class Nobody:
    """Whoever hosts nothing asks no model."""

    def stream(self, call: Call, who: Payer) -> AsyncGenerator[Piece, None]:
        """Never asked."""
        del call, who
        raise AssertionError("the desk hosts nothing")

    def reserve(self, what: Call | CallSize, who: Payer) -> Payer:
        """Never asked either."""
        del what, who
        raise AssertionError("the desk hosts nothing")

    def release(self, who: Payer) -> None:
        """Nothing was reserved."""

    def check_allowance(self, owner: UserId | None) -> None:
        """Nobody spends anything."""

    async def is_short(self, who: Payer) -> bool:
        """Nor ever will."""
        del who
        return False

    async def await_reservations(self, payers: Iterable[Payer]) -> None:
        """Nothing is waited for."""


@dataclass(frozen=True, slots=True)
class _Answers:
    """Of a node behind its door, what a stream needs."""

    lives: NodeInstances

    async def _never(self, asked: object) -> None:
        raise AssertionError(f"no rounds are held here: {asked}")

    identify = report = vote_on = confirm_block = load_blocks = _never

    async def admit(self, node: object, shown: object) -> None:
        """Whoever asks."""

    def forward(self, request: ForwardedRequest) -> AsyncGenerator[bytes]:
        """To whom it concerns."""
        return self.lives.forwarding.answer_request(request)
