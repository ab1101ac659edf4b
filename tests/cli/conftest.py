"""A record with something of everything in it, copies to tamper with, and the command about a database."""

from __future__ import annotations

import asyncio
import io
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import asyncpg
import pytest
import pytest_asyncio
from pydantic import SecretStr

from ccn import errors, settings
from ccn.cli import verify
from ccn.core import ids
from ccn.core.axes import Vector
from ccn.core.chain import block
from ccn.core.chain.quorum import FaultModel
from ccn.core.chain.roster import RosterRow
from ccn.core.chain.rules import Parameters, Rules, Weighing
from ccn.core.ids import CharacterId, ConversationId, InstanceId, NodeId, SnapshotId, TurnId
from ccn.core.rounds.signer import SignerState
from ccn.core.turn import TurnStatus
from ccn.node.rounds import consensus_round as story
from ccn.node.rounds.consensus_round import SealedRound
from ccn.store.character import vectors
from ccn.store.connection import pool
from ccn.store.conversations import characters, conversations, instances, turns
from ccn.store.operators import requests
from ccn.store.rounds import blocks, export, terms
from ccn.store.upkeep import snapshots
from ccn.store.upkeep.retention import RedactMessages
from ccn.store.writing.writer import Writer
from tests.support.cli.about_database import Ccn
from tests.support.core.honest_cluster import rules_of
from tests.support.core.rosters import pack_rows
from tests.support.node.round_world import Neighbours, Paper, World
from tests.support.speakers import ANN

ADA, BOB = CharacterId("ada"), CharacterId("bob")
HERE = ConversationId(UUID("01900000-0000-7000-8000-000000000001"))
HOSTED = ConversationId(UUID("01900000-0000-7000-8000-000000000002"))
INSTANCE = InstanceId(UUID("01900000-0000-7000-8000-000000000003"))
TURN = TurnId(UUID("01900000-0000-7000-8000-000000000004"))


def new_id() -> UUID:
    return ids.make_uuid7(2, secrets.token_bytes(10))


@asynccontextmanager
async def founded(
    database: settings.DatabaseSettings,
    nodes: Sequence[NodeId],
    faults: FaultModel = FaultModel.CRASH,
    weighing: Weighing = Weighing.OWNERS,
) -> AsyncIterator[World]:
    """A chain of these nodes with one character and one conversation; the first node writes."""
    genesis = block.genesis_tip("ccn.example/test", rules_of(nodes, faults, weighing))
    async with AsyncExitStack() as stack:
        connections = await stack.enter_async_context(pool.open(database, "test"))
        writer = await stack.enter_async_context(writing(database, nodes[0]))
        await characters.import_plate(connections, writer, ADA, "Ada", "# Ada", "test")
        await writer.submit(conversations.BeginConversation(HERE, ADA))
        disks = {node: Paper(SignerState(0, genesis.hash)) for node in nodes}
        made = World(
            database,
            connections,
            writer,
            genesis,
            Neighbours({}),
            disks,
            {node: [] for node in nodes},
            HERE,
        )
        made.peers.votings = {node: made.voter(node, genesis) for node in nodes}
        await blocks.write_genesis(
            connections, await terms.take_over_term(connections, nodes[0], 2), genesis
        )
        yield made


@asynccontextmanager
async def writing(database: settings.DatabaseSettings, node: NodeId) -> AsyncIterator[Writer]:
    writer = Writer(database, node, lambda: datetime.now(UTC))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(writer.run())
        try:
            yield writer
        finally:
            writer.stop()


async def seal(world: World, leader: NodeId) -> None:
    outcome = await story.run_round(await world.lead(leader))
    assert isinstance(outcome, SealedRound), outcome


async def live(world: World) -> None:
    """Four blocks of everything that leaves a trace, and a few leaves after them."""
    nodes = sorted(world.disks)
    writer = world.writer
    await world.say("one", "two", "three", "four")
    await writer.submit(conversations.BeginConversation(HOSTED, ADA, plate_version=1))
    instance = await writer.submit(instances.SpawnInstance(INSTANCE, HOSTED, "model-1", 1))
    instance = await writer.submit(
        instances.ChangeInstance(instance, instances.InstanceStatus.RUNNING, "passed")
    )
    accepted = await writer.submit(_accept("hello", 1, TURN))
    await writer.submit(_start(accepted, 1))
    await writer.submit(_commit(accepted, 1, "Good morning."))
    await writer.submit(
        vectors.RecordScore(HOSTED, 2, Vector((500_000, None) + (400_000,) * 14), "tier-1/v1", INSTANCE)
    )
    world.vectors[nodes[0]] = [
        pack_rows(
            ADA,
            [
                RosterRow(INSTANCE, 1, Vector((500_000,) * 16)),
                RosterRow(InstanceId(UUID(int=9)), 1, Vector((900_000,) * 16)),
            ],
        ),
        pack_rows(BOB, [RosterRow(InstanceId(UUID(int=7)), 1, Vector((1,) * 15 + (None,)))]),
    ]
    world.vectors[nodes[1]] = [
        pack_rows(ADA, [RosterRow(InstanceId(UUID(int=5)), 1, Vector((400_000,) * 16))])
    ]
    await seal(world, nodes[0])

    world.peers.away = {nodes[-1]}
    await writer.submit(RedactMessages(HERE, 2, 3, "admin", "asked by its owner"))
    await snapshots.take_snapshot(world.pool, writer, SnapshotId(new_id()), HOSTED, datetime.now(UTC))
    await characters.import_plate(world.pool, writer, ADA, "Ada", "# Ada, second", "test")
    await seal(world, nodes[1])

    world.peers.away = set()
    async with writing(world.database, nodes[1]) as second:
        adopted = await second.submit(instances.AdoptInstance(instance, "its host is silent"))
        failed = await second.submit(_accept("still there?", 2, TurnId(new_id())))
        await second.submit(_start(failed, 2))
        await second.submit(_fail(failed, 2))
        await second.submit(
            instances.ChangeInstance(adopted, instances.InstanceStatus.TERMINATED, "drained")
        )
    other = Rules(world.genesis.rules.validators, _loosened(world.genesis.rules.parameters))
    for voting in world.peers.votings.values():
        voting.wanted_rules = other
    await seal(world, nodes[0])

    here = await conversations.load_conversation(world.pool, HERE)
    await writer.submit(conversations.CloseConversation(here))
    await requests.add_request(
        world.pool, uuid4(), "redact", "ann", {"conversation": str(HERE), "first": 2}
    )
    asked = await requests.claim_request(world.pool, nodes[0], ["redact"], 5)
    assert asked is not None
    await writer.submit(
        requests.AnswerRequest(asked, requests.error_to_outcome(errors.Conflict("done before")))
    )
    await seal(world, nodes[1])
    await writer.submit(conversations.BeginConversation(ConversationId(new_id()), ADA))


def _host(world: World) -> None:
    """Instances of two characters on two nodes; one of them is far out."""

    def at(number: int, *scores: int | None) -> RosterRow:
        return RosterRow(
            InstanceId(UUID(int=number)), 1, Vector((*scores, *(500_000,) * (16 - len(scores))))
        )

    first, second, *_ = sorted(world.disks)
    world.vectors[first] = [
        pack_rows(ADA, [at(1), at(9, *(900_000,) * 16)]),
        pack_rows(BOB, [at(7, 1, None)]),
    ]
    world.vectors[second] = [pack_rows(ADA, [at(5, *(400_000,) * 16)])]


def _accept(words: str, epoch: int, turn: TurnId) -> turns.AcceptTurn:
    return turns.AcceptTurn(turn, HOSTED, words, ANN, epoch)


def _start(turn: turns.Turn, epoch: int) -> turns.StartTurn:
    return turns.StartTurn(turn, epoch)


def _commit(turn: turns.Turn, epoch: int, words: str) -> turns.CommitReply:
    return turns.CommitReply(_running(turn), epoch, words, INSTANCE)


def _fail(turn: turns.Turn, epoch: int) -> turns.EndTurn:
    return turns.EndTurn(_running(turn), epoch, TurnStatus.FAILED, "overloaded")


def _running(turn: turns.Turn) -> turns.Turn:
    return replace(turn, status=TurnStatus.RUNNING)


def _loosened(parameters: Parameters) -> Parameters:
    return replace(parameters, tolerance=200_000)


@dataclass
class Copy:
    """A database to do things to."""

    database: settings.DatabaseSettings

    async def superuser(self, sql: str) -> None:
        connection = await asyncpg.connect(self.database.url.get_secret_value())
        try:
            await connection.execute("SET session_replication_role = replica")
            await connection.execute(sql)
        finally:
            await connection.close()

    async def export(self) -> bytes:
        file = io.BytesIO()
        async with pool.open(self.database, "test") as connections:
            await export.export_record(connections, file)
        return file.getvalue()

    async def verdict(self) -> verify.Audit:
        return verify.verify(io.BytesIO(await self.export()))


async def _sql(server: str, sql: str) -> None:
    connection = await asyncpg.connect(server)
    try:
        await connection.execute(sql)
    finally:
        await connection.close()


def _at(server: str, name: str) -> settings.DatabaseSettings:
    return settings.DatabaseSettings(url=SecretStr(f"{server.rpartition('/')[0]}/{name}"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def record(database_server: str) -> AsyncIterator[str]:
    """The name of a database with the whole record; nobody is connected to it."""
    name = f"record_{secrets.token_hex(6)}"
    await _sql(database_server, f"CREATE DATABASE {name} TEMPLATE ccn_template STRATEGY file_copy")
    async with founded(
        _at(database_server, name), [NodeId(f"node-{n}") for n in (1, 2, 3)], FaultModel.CRASH
    ) as world:
        await live(world)
    yield name
    await _sql(database_server, f"DROP DATABASE {name} WITH (FORCE)")


@pytest_asyncio.fixture(loop_scope="module")
async def copy(database_server: str, record: str) -> AsyncIterator[Copy]:
    """A copy of the record."""
    name = f"copy_{secrets.token_hex(6)}"
    await _sql(database_server, f"CREATE DATABASE {name} TEMPLATE {record} STRATEGY file_copy")
    yield Copy(_at(database_server, name))
    await _sql(database_server, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def ccn(tmp_path: Path, database: settings.DatabaseSettings) -> Ccn:
    """The command, about an empty database."""
    return Ccn(tmp_path, database)
