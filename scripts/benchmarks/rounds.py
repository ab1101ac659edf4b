"""A round of three nodes from the first question to the commit, beside bare gRPC with the same bytes.

The nodes are three processes with real doors, disks and signatures on one embedded PostgreSQL with fsync;
their instances have their states in it. Bare gRPC asks the same two processes for as many bytes as the
reports have, and sends them as many as the proposal has. Both happen in turns.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc  # type: ignore[import-untyped]
import grpc.aio  # type: ignore[import-untyped]

from ccn import settings
from ccn.core import ids
from ccn.core.chain import block
from ccn.core.chain.block import Tip
from ccn.core.chain.report import Report
from ccn.core.chain.rules import Parameters, Rules, Validator
from ccn.core.ids import CharacterId, ConversationId, NodeId
from ccn.core.ledger.signed import Signed
from ccn.core.message import Role
from ccn.core.rounds.ballot import Proposal, Vote
from ccn.core.rounds.refusal import Refusal
from ccn.node.rounds import consensus_round
from ccn.node.rounds.consensus_round import RoundLeader, SealedRound
from ccn.node.rounds.poll import NodePoll
from ccn.node.rounds.voting import NodeIdentity, Voting
from ccn.node.signing import memory, signing_key
from ccn.peers import client, wire
from ccn.peers.exchange import ReportRequest
from ccn.store.connection import pool
from ccn.store.connection.pool import Pool
from ccn.store.conversations import characters, conversations
from ccn.store.conversations.conversations import AppendMessage
from ccn.store.rounds import blocks as record
from ccn.store.rounds import terms
from scripts.benchmarks import harness, round_nodes, store_server
from scripts.benchmarks.harness import Figure, Medians
from scripts.benchmarks.store_server import Server

NODES = [NodeId(f"node-{number}") for number in (1, 2, 3)]
SIZES: Mapping[int, float | None] = {3: None, 100: None, 1_000: 12.0, 10_000: 20.0}
TIMES = {3: 10, 100: 10, 1_000: 10, 10_000: 3}
LEAVES = 10_000
ADA = CharacterId("ada")
WITHIN_S = 30.0


async def run(rounds: int) -> harness.Report:
    """One size after the other; then a full block of leaves."""
    round_nodes.quiet()
    figures, measured = list[Figure](), list[Medians]()
    async with store_server.running() as server:
        for size, goal in SIZES.items():
            async with _cluster(server, f"rounds_{size}", size) as cluster:
                got = await harness.measure(rounds, {"bare": cluster.bare, "ours": cluster.round})
                whole = statistics.median(cluster.whole_ms)
            name = f"{size} instances: collect to commit : bare gRPC"
            figures += [
                Figure(name, "ms", got.of["ours"], got.of["bare"], goal=goal, better="less"),
                Figure(f"{size} instances: until all have cosigned", "ms", whole, better="less"),
            ]
            measured.append(got)
        async with _cluster(server, "rounds_leaves", 3) as cluster:
            sealed = [await cluster.seal() for _ in range(rounds)]
        name = f"leaves sealed, {LEAVES} a block"
        figures.append(Figure(name, "1/s", statistics.median(sealed), trials=len(sealed)))
    return harness.Report(figures, measured)


class Timed:
    """Everybody, and when they were first asked and last told."""

    def __init__(self, everybody: NodePoll) -> None:
        self._everybody = everybody
        self.began = self.committed = 0.0

    async def collect_reports(
        self, ask: ReportRequest, within_s: float
    ) -> Mapping[NodeId, Signed[Report] | Refusal | str]:
        """What each reports."""
        self.began = time.perf_counter()
        return await self._everybody.collect_reports(ask, within_s)

    async def collect_votes(
        self, proposed: Signed[Proposal], within_s: float
    ) -> Mapping[NodeId, Signed[Vote] | Refusal | str]:
        """What each says to a proposal."""
        return await self._everybody.collect_votes(proposed, within_s)

    async def announce_block(self, tip: Tip, within_s: float) -> None:
        """It is committed by now."""
        self.committed = time.perf_counter()
        await self._everybody.announce_block(tip, within_s)


@dataclass(slots=True)
class Cluster:
    """Three nodes; this process leads."""

    size: int
    leading: RoundLeader
    peers: Timed
    channels: Sequence[grpc.aio.Channel]
    database: settings.DatabaseSettings
    here: ConversationId
    whole_ms: list[float] = field(default_factory=list)
    sizes: tuple[int, int] = (0, 0)

    async def round(self) -> float:
        """Milliseconds from the question for reports to the commit, of some rounds the median one."""
        took = []
        for _ in range(TIMES[self.size]):
            await self._hold()
            took.append((self.peers.committed - self.peers.began) * 1000)
        return statistics.median(took)

    async def bare(self) -> float:
        """Milliseconds for the same bytes: reports from each, then the proposal to each."""
        if self.sizes == (0, 0):
            self.sizes = await self._bytes()
        report, proposal = self.sizes
        took = []
        for _ in range(2 * TIMES[self.size]):
            since = time.perf_counter()
            await self._fan_out(report.to_bytes(4, "big") + bytes(90))
            await self._fan_out((200).to_bytes(4, "big") + bytes(proposal))
            took.append((time.perf_counter() - since) * 1000)
        return statistics.median(took)

    async def seal(self) -> float:
        """Leaves a second that a round seals, all of them new."""
        async with store_server.writing(self.database) as writer:
            for _ in range(LEAVES // 500):
                said = [
                    writer.submit(AppendMessage(self.here, Role.USER, "once more", store_server.ANN))
                    for _ in range(500)
                ]
                await asyncio.gather(*said)
        since = time.perf_counter()
        await self._hold()
        return LEAVES / (time.perf_counter() - since)

    async def _hold(self) -> SealedRound:
        since = time.perf_counter()
        outcome = await consensus_round.run_round(self.leading)
        if not isinstance(outcome, SealedRound) or len(outcome.votes) < len(NODES):
            raise AssertionError(f"this round does not count: {outcome}")
        self.whole_ms.append((time.perf_counter() - since) * 1000)
        return outcome

    async def _fan_out(self, data: bytes) -> None:
        calls = (channel.unary_unary(round_nodes.BARE)(data, timeout=WITHIN_S) for channel in self.channels)
        await asyncio.gather(*calls)

    async def _bytes(self) -> tuple[int, int]:
        """How large a report and a proposal are."""
        tip = (await self._hold()).tip
        reports = await record.load_reports(self.leading.pool, tip.height)
        shown = await record.load_block(self.leading.pool, tip.height)
        assert shown is not None
        proposal = Signed(Proposal(shown.header, tuple(reports), shown.next_rules), bytes(64))
        return len(wire.REPORT.encode(reports[0])), len(wire.PROPOSAL.encode(proposal))


@asynccontextmanager
async def _cluster(server: Server, name: str, size: int) -> AsyncIterator[Cluster]:
    database = await server.database(name)
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ccn-bench-")))
        connections = await stack.enter_async_context(pool.open(database, "bench"))
        here = await _people(database, connections, size)
        publics = {node: memory.prepare_folder(_made(folder / node)).public for node in NODES}
        await record.write_genesis(
            connections, await terms.take_over_term(connections, NODES[0], 5), _genesis(publics)
        )
        ports = [await stack.enter_async_context(_process(node, folder, database)) for node in NODES[1:]]
        voting, own = await stack.enter_async_context(
            round_nodes.standing(NODES[0], folder / NODES[0], database)
        )
        others = await stack.enter_async_context(client.open_client(NODES[0], None))
        await others.set_addresses(
            dict(zip(NODES[1:], [f"127.0.0.1:{p['door']}" for p in ports], strict=True))
        )
        channels = [
            await stack.enter_async_context(
                grpc.aio.insecure_channel(f"127.0.0.1:{port['bare']}", options=round_nodes.MESSAGES)
            )
            for port in ports
        ]
        peers = Timed(NodePoll(NODES[0], voting, others))
        leading = await _leading(folder / NODES[0], publics[NODES[0]], voting, peers, own)
        yield Cluster(size, leading, peers, channels, database, here)


async def _leading(
    folder: Path, public: bytes, voting: Voting, peers: Timed, connections: Pool
) -> RoundLeader:
    identity = NodeIdentity(
        NODES[0], public, signing_key.read_key(folder).sign, signing_key.check_signature
    )
    term = await terms.take_over_term(connections, NODES[0], 5)
    return RoundLeader(term, identity, voting, peers, connections, round_nodes.now_us)


def _genesis(publics: Mapping[NodeId, bytes]) -> Tip:
    validators = tuple(sorted(Validator(node, public) for node, public in publics.items()))
    parameters = Parameters("tier-1/v1", limit_ms=round(WITHIN_S * 1000))
    return block.genesis_tip("ccn.example/bench", Rules(validators, parameters))


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


@asynccontextmanager
async def _process(
    node: NodeId, folder: Path, database: settings.DatabaseSettings
) -> AsyncIterator[dict[str, int]]:
    url = database.url.get_secret_value()
    running = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "scripts.benchmarks.round_nodes", node, str(folder / node), url),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert running.stdin is not None
    assert running.stdout is not None
    try:
        ports: dict[str, int] = json.loads(await running.stdout.readline())
        yield ports
    finally:
        running.stdin.close()
        await running.wait()


async def _people(database: settings.DatabaseSettings, connections: Pool, size: int) -> ConversationId:
    """A conversation to write to, and that many instances on the nodes in turn, each with one state."""
    here = ConversationId(ids.make_uuid7(1, os.urandom(10)))
    async with store_server.writing(database) as writer:
        await characters.import_plate(connections, writer, ADA, "Ada", "# Ada", "bench")
        await writer.submit(conversations.BeginConversation(here, ADA))
    async with connections.transaction() as connection:
        await connection.execute("SET LOCAL session_replication_role = replica")
        for statement in (_CONVERSATIONS, _INSTANCES, _STATES):
            await connection.execute(statement, size, str(here))
    async with connections.transaction() as connection:
        await connection.execute("ANALYZE")
    return here


_NUMBERED = "FROM generate_series(1, $1) n"
_ID = "md5('instance ' || n || $2)::uuid"
_OWNED = (
    f"jsonb_build_object('id', {_ID}, 'owner_id', md5('owner ' || n / 3)::uuid)"  # three of each person
)
_CONVERSATIONS = f"""
    INSERT INTO conversations SELECT (jsonb_populate_record(c, {_OWNED})).*
    {_NUMBERED}, conversations c WHERE c.id = $2::uuid
"""
_INSTANCES = f"""
    INSERT INTO instance_registry
        (id, conversation_id, character_id, host, epoch, status, model, plate_version,
         heartbeat_at, spawned_at)
    SELECT {_ID}, {_ID}, 'ada', 'node-' || 1 + n % 3, 1, 'running', 'model', 1, now(), now() {_NUMBERED}
"""
_STATES = f"""
    INSERT INTO character_evolution
        (conversation_id, ts, seq, instance_id, vector, scorer, leaf_node, leaf_number)
    SELECT {_ID}, now(), 1, {_ID}, array(
        SELECT ((n * 7919 + axis * 104729) % 1000001)::real / 1000000 FROM generate_series(1, 16) axis
    ), 'tier-1/v1', 'node-1', 1 {_NUMBERED}
"""
