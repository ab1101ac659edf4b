"""What one node signs, and what makes it stop: a memory that is lost, a database that lies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import pytest

from ccn import errors
from ccn.core.ids import NodeId
from ccn.core.ledger.signed import Signed
from ccn.core.rounds.ballot import Proposal, Vote
from ccn.core.rounds.refusal import Reason, Refusal
from ccn.node.rounds import consensus_round as story
from ccn.node.rounds import voting
from ccn.node.rounds.consensus_round import FailedRound, SealedRound
from ccn.peers.exchange import ReportRequest
from ccn.store.rounds import ledger
from ccn.store.writing.writer import Writer
from tests.support.core.keys import ed25519
from tests.support.node.round_world import NODES, Neighbours, World


@dataclass
class Deaf(Neighbours):
    """Peers that report and hear a proposal, and whose votes nobody gets."""

    heard: list[Signed[Proposal]] = field(default_factory=list)

    async def collect_votes(
        self, proposed: Signed[Proposal], within_s: float
    ) -> Mapping[NodeId, Signed[Vote] | Refusal | str]:
        self.heard.append(proposed)
        return dict.fromkeys(self.votings, "away")


TAMPERING = {
    "a leaf's body": "UPDATE leaves SET body = body || ' ' WHERE number = 2",
    "a leaf taken out": "DELETE FROM leaves WHERE number = 3",
    "a vote changed": "UPDATE votes SET signature = sha512(signature) WHERE node_id <> 'node-3'",
    "another header": "UPDATE verification_chain SET header = replace(convert_from(header, 'UTF8'),"
    " '\"term\":2', '\"term\":3')::bytea WHERE height = 1",
    "a range moved": "UPDATE block_leaves SET last = last - 1",
}


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
