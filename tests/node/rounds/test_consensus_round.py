"""Rounds of three nodes that call each other directly, on a real database with real signatures."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from uuid import UUID

import pytest

from ccn import errors, settings
from ccn.core import ids
from ccn.core.axes import Vector
from ccn.core.chain import block, checkpoint, owner_pseudonym
from ccn.core.chain.block import Tip
from ccn.core.chain.report import Report
from ccn.core.chain.roster import Roster, RosterRow
from ccn.core.chain.rules import Weighing
from ccn.core.ids import CharacterId, ConversationId, InstanceId, NodeId
from ccn.core.ledger import proof
from ccn.core.ledger.signed import Signed
from ccn.core.message import Role
from ccn.core.rounds.ballot import Proposal, Vote
from ccn.core.rounds.refusal import Reason, Refusal
from ccn.core.rounds.signer import SignerState
from ccn.node.rounds import consensus_round as story
from ccn.node.rounds import voting
from ccn.node.rounds.consensus_round import FailedRound, RoundLeader, SealedRound
from ccn.node.rounds.voting import NodeIdentity, Voting
from ccn.node.views import round_history
from ccn.peers.exchange import ReportRequest
from ccn.store.character import vectors
from ccn.store.connection import pool
from ccn.store.connection.pool import Pool
from ccn.store.conversations import characters, conversations, instances
from ccn.store.conversations.conversations import AppendMessage
from ccn.store.rounds import blocks, consensus_log, ledger, terms
from ccn.store.writing.writer import Writer
from tests.core.conftest import ed25519, pair_of, rules_of
from tests.rosters import pack_rows
from tests.speaking import ANN

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
class Deaf(Neighbours):
    """Peers that report and hear a proposal, and whose votes nobody gets."""

    heard: list[Signed[Proposal]] = field(default_factory=list)

    async def collect_votes(
        self, proposed: Signed[Proposal], within_s: float
    ) -> Mapping[NodeId, Signed[Vote] | Refusal | str]:
        self.heard.append(proposed)
        return dict.fromkeys(self.votings, "away")


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


@pytest.fixture
async def world(database: settings.DatabaseSettings) -> AsyncIterator[World]:
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


async def test_a_round_seals_everything_that_was_written(world: World) -> None:
    await world.say("one", "two")
    outcome = await story.run_round(await world.lead(NODES[0]))
    assert isinstance(outcome, SealedRound)
    assert (outcome.tip.height, outcome.votes, outcome.refused) == (1, tuple(NODES), {})
    assert await ledger.count_waiting(world.pool) == 0
    assert {each.tip for each in world.peers.votings.values()} == {outcome.tip}


async def test_a_block_is_final_when_a_quorum_cosigned_its_checkpoint(world: World) -> None:
    await story.run_round(await world.lead(NODES[1]))
    head = await ledger.load_head(world.pool)
    assert head is not None
    assert checkpoint.is_final(head, world.genesis.rules, ed25519)
    assert len(head.signatures) == 3


async def test_a_checkpoint_that_nobody_cosigned_yet_is_not_shown(world: World) -> None:
    await story.run_round(await world.lead(NODES[0]))
    before = await ledger.load_head(world.pool)
    await story.run_round(await world.lead(NODES[0]))
    async with world.pool.transaction() as connection:
        await connection.execute("SET LOCAL session_replication_role = replica")  # as if none had come yet
        await connection.execute(
            "DELETE FROM cosignatures WHERE tree_size = (SELECT max(tree_size) FROM checkpoints)"
        )
    assert await ledger.load_head(world.pool) == before


async def test_an_outsider_can_check_a_message_and_the_growth_of_the_tree(world: World) -> None:
    await world.say("one")
    first = await story.run_round(await world.lead(NODES[0]))
    await world.say("two", "three")
    second = await story.run_round(await world.lead(NODES[2]))
    assert isinstance(first, SealedRound)
    assert isinstance(second, SealedRound)
    old, new = first.tip.checkpoint(), second.tip.checkpoint()
    node, number = await ledger.find_leaf(world.pool, world.here, 2)
    place = await ledger.find_place(world.pool, node, number)
    leaf = await world.pool.value(
        "SELECT hash FROM leaves WHERE node_id = $1 AND number = $2", node, number
    )
    assert proof.verify_inclusion(
        leaf, place, new.size, await ledger.prove_inclusion(world.pool, place, new.size), new.root
    )
    grown = await ledger.prove_consistency(world.pool, old.size, new.size)
    assert proof.verify_consistency(old.size, new.size, grown, old.root, new.root)


async def test_rounds_go_on_without_a_minority_and_it_catches_up(world: World) -> None:
    world.peers.away = {NODES[2]}
    for words in ("one", "two"):
        await world.say(words)
        outcome = await story.run_round(await world.lead(NODES[0]))
        assert isinstance(outcome, SealedRound)
        assert outcome.refused == {NODES[2]: "away"}
    world.peers.away = set()
    outcome = await story.run_round(await world.lead(NODES[2]))
    assert isinstance(outcome, SealedRound)
    assert (outcome.tip.height, outcome.votes) == (3, tuple(NODES))


async def test_without_a_quorum_the_round_fails_and_the_next_one_seals_the_backlog(world: World) -> None:
    await world.say("one")
    world.peers.away = {NODES[1], NODES[2]}
    outcome = await story.run_round(await world.lead(NODES[0]))
    assert isinstance(outcome, FailedRound)
    assert outcome.reason == "1 reports hold, 2 are needed"
    entry = (await consensus_log.load_newest(world.pool, limit=1))[0]
    assert (entry.committed, entry.data["reason"]) == (False, outcome.reason)
    await world.say("two")
    world.peers.away = set()
    assert isinstance(await story.run_round(await world.lead(NODES[0])), SealedRound)
    assert await ledger.count_waiting(world.pool) == 0


async def test_an_overtaken_leader_commits_nothing(world: World) -> None:
    await world.say("one")
    old = await world.lead(NODES[0])
    new = await world.lead(NODES[1])
    with pytest.raises(errors.StaleTerm):
        await story.run_round(old)
    assert isinstance(await story.run_round(new), SealedRound)
    assert await blocks.load_height(world.pool) == 1


async def test_a_restarted_leader_does_not_propose_a_second_block_in_its_term(world: World) -> None:
    """The database was put back and counts the term again; nothing but the disk knows what was asked."""
    world.peers = deaf = Deaf(world.peers.votings)
    before = await world.lead(NODES[0])
    assert isinstance(await story.run_round(before), FailedRound)
    await world.say("more")
    again = world.peers.votings[NODES[0]] = world.voter(NODES[0], world.genesis)
    outcome = await story.run_round(replace(before, voting=again))
    assert isinstance(outcome, FailedRound)
    assert outcome.reason == "voted for another block in height 1, term 2"
    assert len(deaf.heard) == 1
    assert isinstance(await story.run_round(await world.lead(NODES[0])), FailedRound)
    assert [each.statement.header.term for each in deaf.heard] == [2, 3]


@pytest.mark.parametrize(
    "edit", ["UPDATE leaves SET body = body || ' ' WHERE number = 2", "DELETE FROM leaves"]
)
async def test_a_restarted_node_knows_the_leaves_that_it_reported(world: World, edit: str) -> None:
    await world.say("one", "two")
    world.peers = Deaf(world.peers.votings)
    leading = await world.lead(NODES[0])
    assert isinstance(await story.run_round(leading), FailedRound)
    world.writer = Writer(world.database, NODES[0], lambda: datetime.now(UTC))
    first = world.peers.votings[NODES[0]] = world.voter(NODES[0], world.genesis)
    ask = ReportRequest(NODES[1], 1, leading.term, world.genesis.hash)
    assert isinstance(await first.sign_report(ask), Signed)
    await world.superuser(edit)
    for node in (first, world.voter(NODES[0], world.genesis)):
        answer = await node.sign_report(ask)
        assert isinstance(answer, Refusal)
        assert answer.reason is Reason.LEAVES
        assert node.stop_reason == answer


async def test_the_median_and_the_outlier_are_in_the_block(world: World) -> None:
    for nth, node in enumerate(NODES):
        scores = (900_000 if nth == 2 else 500_000 + nth,) * 16
        row = RosterRow(InstanceId(UUID(int=nth + 1)), 1, Vector(scores))
        world.vectors[node] = [pack_rows(ADA, [row])]
    outcome = await story.run_round(await world.lead(NODES[0]))
    assert isinstance(outcome, SealedRound)
    assert outcome.outliers == 1
    body = await world.pool.value("SELECT body FROM block_results WHERE height = 1")
    assert b'"median":[' + b",".join([b"500001"] * 16) in body
    shown = await round_history.load_block(world.pool, 1)
    assert shown["reports"] == [*NODES]
    (ada,) = shown["results"]
    assert (ada["character"], ada["instances"], set(ada["median"].values())) == (ADA, 3, {0.500001})
    assert ada["outliers"] == [{"instance": str(UUID(int=3)), "node": NODES[2], "drift": 0.399999}]
    assert (ada["drift"], ada["disputed"]) == ({"least": 0, "most": 0.399999}, [])


async def test_what_a_node_hosts_is_reported_and_its_drift_written_back(world: World) -> None:
    spawned = []
    for score in (400_000, 400_000, 600_000):
        here = ConversationId(ids.make_uuid7(2, secrets.token_bytes(10)))
        await world.writer.submit(conversations.BeginConversation(here, ADA))
        spawn = instances.SpawnInstance(
            InstanceId(ids.make_uuid7(3, secrets.token_bytes(10))), here, "model", 1
        )
        instance = await world.writer.submit(spawn)
        await world.writer.submit(
            instances.ChangeInstance(instance, instances.InstanceStatus.RUNNING, "passed its interview")
        )
        await world.writer.submit(
            vectors.RecordScore(here, 1, Vector((score,) * 16), "tier-1/v1", instance.id)
        )
        spawned.append(instance.id)
    (hosted,) = world.vectors[NODES[0]] = await vectors.load_rosters(world.pool, NODES[0], world.genesis)
    assert {row.instance for row in hosted.rows()} == set(spawned)
    assert isinstance(await story.run_round(await world.lead(NODES[1])), SealedRound)
    drifts = [(await instances.load_instance(world.pool, each)).drift for each in spawned]
    assert drifts == pytest.approx([0.0, 0.0, 0.2])


TAMPERING = {
    "a leaf's body": "UPDATE leaves SET body = body || ' ' WHERE number = 2",
    "a leaf taken out": "DELETE FROM leaves WHERE number = 3",
    "a vote changed": "UPDATE votes SET signature = sha512(signature) WHERE node_id <> 'node-3'",
    "another header": "UPDATE verification_chain SET header = replace(convert_from(header, 'UTF8'),"
    " '\"term\":2', '\"term\":3')::bytea WHERE height = 1",
    "a range moved": "UPDATE block_leaves SET last = last - 1",
}


@pytest.mark.parametrize("edit", TAMPERING.values(), ids=TAMPERING)
async def test_a_node_that_was_away_does_not_cosign_what_was_tampered_with(world: World, edit: str) -> None:
    await world.say("one", "two")
    world.peers.away = {NODES[2]}
    assert isinstance(await story.run_round(await world.lead(NODES[0])), SealedRound)
    await world.superuser(edit)
    late = world.peers.votings[NODES[2]]
    await late.catch_up()
    assert late.stop_reason is not None
    assert late.tip == world.genesis
    assert world.disks[NODES[2]].state.height == 0


async def test_a_node_does_not_sign_for_a_leaf_that_somebody_else_made(world: World) -> None:
    await world.say("one")
    assert isinstance(await story.run_round(await world.lead(NODES[0])), SealedRound)
    await world.superuser(
        "INSERT INTO leaves SELECT node_id, head + 1, 'redaction', '{}' FROM leaf_sources"
    )
    outcome = await story.run_round(await world.lead(NODES[1]))
    assert isinstance(outcome, SealedRound)
    stopped = world.peers.votings[NODES[0]].stop_reason
    assert stopped is not None
    assert stopped.reason is Reason.LEAVES
    assert outcome.refused == {NODES[0]: stopped.detail}
    assert await ledger.count_waiting(world.pool) == 0
    assert await world.pool.value("SELECT max(last) FROM block_leaves") < await world.pool.value(
        "SELECT max(number) FROM leaves"
    )


async def test_a_database_that_went_back_stops_the_signing(world: World) -> None:
    outcome = await story.run_round(await world.lead(NODES[0]))
    assert isinstance(outcome, SealedRound)
    await world.superuser("DELETE FROM verification_chain WHERE height = 1")
    for node in NODES:
        each = world.peers.votings[node]
        await each.catch_up()
        assert each.stop_reason is not None
        assert each.stop_reason.reason is Reason.BACK
    failed = await story.run_round(await world.lead(NODES[0]))
    assert isinstance(failed, FailedRound)


async def test_a_restarted_node_stands_where_it_signed_last(world: World) -> None:
    state = world.disks[NODES[0]].state
    assert await voting.load_signed_tip(world.pool, state, world.genesis, ed25519) == world.genesis
    for words in ("one", "two", "three"):
        await world.say(words)
        await story.run_round(await world.lead(NODES[0]))
        tip = await voting.load_signed_tip(world.pool, world.disks[NODES[1]].state, world.genesis, ed25519)
        assert tip == world.peers.votings[NODES[1]].tip


async def test_a_restarted_node_refuses_a_database_that_was_rolled_back(world: World) -> None:
    await story.run_round(await world.lead(NODES[0]))
    await world.superuser("DELETE FROM verification_chain WHERE height = 1")
    with pytest.raises(errors.RecordLost, match="put back to an earlier moment"):
        await voting.load_signed_tip(world.pool, world.disks[NODES[0]].state, world.genesis, ed25519)
