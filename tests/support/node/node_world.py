"""What tests of instances share: nodes without doors in one process, on one database, and a small model.

The nodes reach each other by calling each other. Whoever is `gone` is seen by nobody and reached by nobody.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import cast
from uuid import UUID

from ccn import errors, settings
from ccn.core import ids, stream
from ccn.core.calls.call import Call, CallBegun, CallRestart, CallRetry, Delta, Piece, Reply, TokenUsage
from ccn.core.calls.price import CallSize
from ccn.core.ids import CharacterId, ConversationId, NodeId, TurnId, UserId
from ccn.core.prompts.interview import QUESTIONS
from ccn.core.stream import EventKind, StreamEvent, StreamPosition
from ccn.node import assembly
from ccn.node.assembly import NodeInstances
from ccn.node.character.judge import Judge
from ccn.node.character.scoring import UNMEASURED, VectorScorer
from ccn.node.conversations import Conversations
from ccn.node.instances.forwarding import Forwarding
from ccn.node.instances.hosting import DatabaseHostStore, HostStore
from ccn.node.spending.paid_model import Payer
from ccn.peers.client import PeerClient
from ccn.peers.exchange import ForwardedRequest
from ccn.store.connection import pool
from ccn.store.connection.pool import Pool
from ccn.store.conversations import characters, conversations, turns
from ccn.store.writing.writer import Writer

ADA = CharacterId("ada")
PLATE = "# Ada\nKeeps her word."
QUICK = settings.InstancesSettings(heartbeat_s=0.1, adopt_after_s=3.0, chunk_ms=5, queue_limit=3)
"""Who is `gone` is given up after a second; who is here would have to be silent for three."""
PATIENT = QUICK.model_copy(update={"adopt_after_s": 60.0})
"""Where nobody dies, nobody is taken for dead, however long this machine lets a node wait."""
PASSES = "I am Ada. I help you with this work. Nothing yet. Honest. The record continues."


def new_id() -> UUID:
    return ids.make_uuid7(time.time_ns() // 1_000_000, secrets.token_bytes(10))


@dataclass
class Model:
    """Says its words one by one; `gate` holds it before each, `fails` ends it, `unheard` comes first."""

    words: tuple[str, ...] = ("Well, ", "I ", "am ", "here.")
    interview: str = PASSES
    stop: str = "end_turn"
    gate: Callable[[int], Awaitable[object]] | None = None
    restarts: bool = False
    fails: BaseException | None = None
    unheard: BaseException | None = None
    calls: list[Call] = field(default_factory=list)
    trouble: CallRetry | None = None
    asked: asyncio.Event | None = None
    """What interviews wait for."""
    retries: int = 0

    async def stream(self, call: Call, who: Payer) -> AsyncGenerator[Piece, None]:
        self.calls.append(call)
        await asyncio.sleep(0)
        for nth in range(self.retries):
            yield CallRetry(nth + 2, 1 + self.retries, 0.0, "network")
        if self.unheard is not None:
            raise self.unheard
        asked = call.messages[-1].text
        if asked in {question.asks for question in QUESTIONS}:
            if self.asked is not None:
                await self.asked.wait()
            yield Reply(self.interview, "end_turn", TokenUsage(10, 5), call.model)
            return
        yield CallBegun(TokenUsage(10, cache_read=3))
        for nth, word in enumerate(self.words):
            if self.gate is not None:
                await self.gate(nth)
            if self.restarts and nth == 2:
                yield CallRestart("network")
                yield Delta("".join(self.words[:2]))
            yield Delta(word)
        if self.fails is not None:
            raise self.fails
        yield Reply("".join(self.words), self.stop, TokenUsage(10, 5), call.model)

    def reserve(self, what: Call | CallSize, who: Payer) -> Payer:
        return who

    def release(self, who: Payer) -> None:
        pass

    def check_allowance(self, owner: UserId | None) -> None:
        pass

    async def is_short(self, who: Payer) -> bool:
        return False

    async def await_reservations(self, payers: Iterable[Payer]) -> None:
        pass

    async def await_settlements(self) -> None:
        pass

    async def count_tokens(self, call: Call) -> int:
        return sum(len(said.text.split()) for said in call.messages)


@dataclass
class Node:
    """One node without doors."""

    id: NodeId
    pool: Pool
    writer: Writer
    living: NodeInstances
    forwarding: Forwarding
    model: Model
    stop: asyncio.Event
    world: World
    parts: list[asyncio.Task[None]]
    writing: asyncio.Task[None]

    @property
    def conversations(self) -> Conversations:
        return self.living.conversations

    async def die(self) -> None:
        """As by kill -9: nothing is handed over, nothing is written any more."""
        self.world.gone.add(self.id)
        turns_of = [task for task in asyncio.all_tasks() if task.get_name() in self._works()]
        for task in (self.writing, *self.parts, *turns_of):
            task.cancel()
        await asyncio.wait({self.writing, *self.parts})

    async def freeze(self) -> None:
        """No heartbeat any more and no answer; what it is at goes on when its model does."""
        self.world.gone.add(self.id)
        for task in self.parts:
            task.cancel()
        await asyncio.wait(self.parts)

    def _works(self) -> set[str]:
        return {f"turns of {instance}" for instance in self.living.hosting.hosted_ids}

    async def begin_conversation(self, title: str = "") -> ConversationId:
        return (await self.conversations.start(ADA, title=title)).conversation.id

    async def reply(self, turn: TurnId, after: StreamPosition = stream.START) -> str:
        """The text that a reader has at the end."""
        return text([told async for told in self.conversations.follow_turn(turn, after)])

    async def read_messages(self, conversation: ConversationId) -> list[tuple[str, str | None]]:
        page = await conversations.load_history(self.pool, conversation)
        return [(each.role.value, each.content) for each in page.messages]

    async def wait_until(self, turn: TurnId, holds: Callable[[turns.Turn], bool]) -> turns.Turn:
        async with asyncio.timeout(60):
            while not holds(found := await turns.load_turn(self.pool, turn)):
                await asyncio.sleep(0.005)
        return found


@dataclass
class World:
    """The nodes that there are, and who is seen."""

    database: settings.DatabaseSettings
    nodes: dict[NodeId, Node] = field(default_factory=dict)
    gone: set[NodeId] = field(default_factory=set)
    processes: list[NodeId] = field(default_factory=list)
    """Nodes that run as processes of their own."""

    def here(self) -> list[NodeId]:
        return [*self.processes, *(node for node in self.nodes if node not in self.gone)]

    def find_peer(self, node: NodeId) -> Reaching:
        if node in self.gone or node not in self.nodes:
            raise errors.PeerUnavailable(f"{node} does not answer")
        return Reaching(self.nodes[node])

    @asynccontextmanager
    async def node(
        self,
        name: str,
        model: Model | None = None,
        chosen: settings.InstancesSettings = PATIENT,
        peers: PeerClient | None = None,
        scorer: VectorScorer = UNMEASURED,
        seed: int = 1,
        without: Collection[str] = (),
        grace_s: float = 3.0,
        limits: settings.LimitsSettings | None = None,
        host_store: Callable[[Pool], HostStore] = DatabaseHostStore,
        judge: Judge | None = None,
    ) -> AsyncIterator[Node]:
        """One node, `without` the parts whose work the test does itself; to stop it has `grace_s`."""
        node, stop = NodeId(name), asyncio.Event()
        writer = Writer(self.database, node, lambda: datetime.now(UTC))
        async with pool.open(self.database, name) as connections, asyncio.TaskGroup() as group:
            forwarding = Forwarding(node, peers or cast("PeerClient", self))
            speaks = model or Model()
            made = assembly.assemble_instances(
                connections,
                writer,
                speaks,
                forwarding=forwarding,
                here=self.here,
                chosen=chosen,
                claude=settings.ClaudeSettings(),
                new_id=new_id,
                limits=limits,
                scorer=scorer,
                judge=judge,
                seed=lambda: seed,
                host_store=host_store,
            )
            writing = group.create_task(writer.run())
            running = made.make_parts(stop, grace_s)
            for part in without:
                running.pop(part).close()
            parts = [group.create_task(part) for part in running.values()]
            here = Node(node, connections, writer, made, forwarding, speaks, stop, self, parts, writing)
            self.nodes[node] = here
            self.gone.discard(node)
            try:
                yield here
            finally:
                stop.set()
                await asyncio.wait(parts, timeout=grace_s + 20)
                writer.stop()
                await asyncio.wait({writing})
                self.gone.add(node)


@dataclass
class Reaching:
    """The way to another node; it breaks when that one is gone."""

    node: Node

    async def forward(self, request: ForwardedRequest, within_s: float) -> AsyncGenerator[bytes]:
        async for frame in self.node.forwarding.answer_request(request):
            if self.node.id in self.node.world.gone:
                raise errors.OutcomeUnknown("the connection broke")
            yield frame


def text(told: list[StreamEvent]) -> str:
    """What a reader shows: a restart voids what came before."""
    shown = ""
    for each in told:
        if each.kind is EventKind.DELTA:
            shown += each.data
        elif each.kind is EventKind.RESTART:
            shown = ""
    return shown


async def found_world(database: settings.DatabaseSettings, plate: str = PLATE) -> World:
    """A world with one character."""
    writer = Writer(database, NodeId("founder"), lambda: datetime.now(UTC))
    async with pool.open(database, "founder") as connections, asyncio.TaskGroup() as group:
        group.create_task(writer.run())
        await characters.import_plate(connections, writer, ADA, "Ada", plate, "test")
        writer.stop()
    return World(database)


def numbers(told: list[StreamEvent]) -> list[tuple[int, int]]:
    return [(each.position.epoch, each.position.number) for each in told]
