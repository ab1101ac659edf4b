"""What tests of rounds share: three nodes that call each other directly, with real keys and database."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from ccn import settings
from ccn.core import ids
from ccn.core.chain import block, owner_pseudonym
from ccn.core.chain.block import Tip
from ccn.core.chain.report import Report
from ccn.core.chain.roster import Roster
from ccn.core.chain.rules import Weighing
from ccn.core.ids import CharacterId, ConversationId, NodeId
from ccn.core.ledger.signed import Signed
from ccn.core.message import Role
from ccn.core.rounds.ballot import Proposal, Vote
from ccn.core.rounds.refusal import Refusal
from ccn.core.rounds.signer import SignerState
from ccn.node.rounds.consensus_round import RoundLeader
from ccn.node.rounds.voting import NodeIdentity, Voting
from ccn.peers.exchange import ReportRequest
from ccn.store.connection import pool
from ccn.store.connection.pool import Pool
from ccn.store.conversations import characters, conversations
from ccn.store.conversations.conversations import AppendMessage
from ccn.store.rounds import blocks, terms
from ccn.store.writing.writer import Writer
from tests.support.core.honest_cluster import rules_of
from tests.support.core.keys import ed25519, pair_of
from tests.support.speakers import ANN

NODES = [NodeId(f"node-{n}") for n in (1, 2, 3)]
ADA = CharacterId("ada")


@dataclass
class Paper:
    """A disk that only remembers."""

    state: SignerState

    def save(self, state: SignerState) -> None:
        self.state = state


def nobodys(found: Roster, tip: Tip) -> Roster:
    """What a node reports of instances of which the test does not say whose they are."""
    if found.owners or tip.rules.parameters.weighing is Weighing.INSTANCES:
        return found
    number = owner_pseudonym.make_pseudonym(tip.hash, found.character, owner_pseudonym.NOBODY)
    return replace(found, owners=number.to_bytes(owner_pseudonym.BYTES, "big") * len(found))


@dataclass
class Neighbours:
    """Peers that are called directly, unless they are away."""

    votings: dict[NodeId, Voting]
    away: set[NodeId] = field(default_factory=set)

    async def collect_reports(
        self, ask: ReportRequest, within_s: float
    ) -> Mapping[NodeId, Signed[Report] | Refusal | str]:
        return {n: "away" if n in self.away else await v.sign_report(ask) for n, v in self.votings.items()}

    async def collect_votes(
        self, proposed: Signed[Proposal], within_s: float
    ) -> Mapping[NodeId, Signed[Vote] | Refusal | str]:
        return {n: "away" if n in self.away else await v.vote_on(proposed) for n, v in self.votings.items()}

    async def announce_block(self, tip: Tip, within_s: float) -> None:
        for node, each in self.votings.items():
            if node not in self.away:
                await each.catch_up()


@dataclass
class World:
    """Three nodes, their database, and who leads."""

    database: settings.DatabaseSettings
    pool: Pool
    writer: Writer
    genesis: Tip
    peers: Neighbours
    disks: dict[NodeId, Paper]
    vectors: dict[NodeId, list[Roster]]
    here: ConversationId
    term: int = 0

    def now_us(self) -> int:
        return int(datetime.now(UTC).timestamp() * 1_000_000)

    def identity(self, node: NodeId) -> NodeIdentity:
        return NodeIdentity(node, pair_of(node).public, pair_of(node).sign, ed25519)

    def voter(self, node: NodeId, tip: Tip) -> Voting:
        async def rosters(tip: Tip) -> Sequence[Roster]:
            return [nobodys(each, tip) for each in self.vectors[node]]

        return Voting(
            self.identity(node), self.pool, self.disks[node], tip, rosters, self.vouches(node), self.now_us
        )

    def vouches(self, node: NodeId) -> Callable[[int, bytes], bool]:
        return self.writer.vouches_for if node == self.writer.node else lambda *_: True

    async def lead(self, node: NodeId) -> RoundLeader:
        self.term = await terms.take_over_term(self.pool, node, 2)
        each = self.peers.votings[node]
        return RoundLeader(self.term, self.identity(node), each, self.peers, self.pool, self.now_us)

    async def say(self, *words: str) -> None:
        for each in words:
            await self.writer.submit(AppendMessage(self.here, Role.USER, each, ANN))

    async def superuser(self, sql: str) -> None:
        """Do to the database what its owner can do."""
        async with self.pool.transaction() as connection:
            await connection.execute("SET LOCAL session_replication_role = replica")
            await connection.execute(sql)


@asynccontextmanager
async def found_chain(database: settings.DatabaseSettings) -> AsyncIterator[World]:
    """A founded chain; node-1 has written a plate, a conversation and its beginning."""
    rules = rules_of(NODES)
    genesis = block.genesis_tip("ccn.example/test", rules)
    async with AsyncExitStack() as stack:
        connections = await stack.enter_async_context(pool.open(database, "test"))
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        writer = Writer(database, NODES[0], lambda: datetime.now(UTC))
        tasks.create_task(writer.run())
        await characters.import_plate(connections, writer, ADA, "Ada", "# Ada", "test")
        here = ConversationId(ids.make_uuid7(1, secrets.token_bytes(10)))
        await writer.submit(conversations.BeginConversation(here, ADA))
        disks = {node: Paper(SignerState(0, genesis.hash)) for node in NODES}
        vectors: dict[NodeId, list[Roster]] = {node: [] for node in NODES}
        made = World(database, connections, writer, genesis, Neighbours({}), disks, vectors, here)
        made.peers.votings = {node: made.voter(node, genesis) for node in NODES}
        first = await terms.take_over_term(connections, NODES[0], 2)
        await blocks.write_genesis(connections, first, genesis)
        yield made
        writer.stop()
