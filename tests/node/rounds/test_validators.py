"""Nodes that begin and cease to vote: asked for by an operator, judged by each node, made by a block."""

from __future__ import annotations

import io
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast
from uuid import UUID

import pytest

from ccn import settings
from ccn.cli import verify
from ccn.core.chain.protocol import ProtocolRange
from ccn.core.ids import NodeId
from ccn.core.rounds import validator_change
from ccn.core.rounds.refusal import Refusal
from ccn.core.rounds.signer import SignerState
from ccn.core.rounds.validator_change import AddValidator, ClusterView
from ccn.node.rounds import consensus_round as story
from ccn.node.rounds import leadership, validator_changes
from ccn.node.rounds.consensus_round import FailedRound, SealedRound
from ccn.node.rounds.voting import Voting
from ccn.store.accounts import node_register
from ccn.store.operators import drains, requests
from ccn.store.operators.requests import AnswerRequest, Body
from ccn.store.rounds import blocks, export
from tests.support.core.keys import pair_of
from tests.support.node.present_members import members
from tests.support.node.round_world import NODES, Paper, World

FOUR = NodeId("node-4")


NEW = ProtocolRange(1, 2)


@dataclass
class Cluster:
    """Three validators, and a fourth node that is here."""

    world: World
    here: dict[NodeId, dict[NodeId, bytes]]
    """Whom each node sees, and under which key."""

    async def change(self, leader: NodeId, action: str, node: NodeId, **more: object) -> Body:
        """Ask for a change, and hold rounds until it is answered."""
        request, pool = uuid.uuid4(), self.world.pool
        body = {"action": action, "node": node, **more}
        await requests.add_request(pool, request, requests.VALIDATORS, "ann", body)
        tries = Counter[UUID]()
        while (told := await requests.load_outcome(pool, request)) is None:
            await self.round(leader, tries)
        return told

    async def round(self, leader: NodeId, tries: Counter[UUID]) -> SealedRound | FailedRound:
        world, voting = self.world, self.world.peers.votings[leader]
        await voting.catch_up()
        looked = {
            n: await validator_changes.load_wanted(world.pool, v, members(self.here[n]), 1)
            for n, v in world.peers.votings.items()
        }
        leading = await world.lead(leader)
        outcome = await story.run_round(leading)
        wish = looked[leader]
        if wish is not None:
            told = await validator_changes.conclude_change(world.pool, leading.term, wish, voting, tries)
            if told is not None:
                await world.writer.submit(AnswerRequest(wish.request, told, leading.term))
        return outcome

    async def verdict(self) -> verify.Audit:
        file = io.BytesIO()
        await export.export_record(self.world.pool, file)
        return verify.verify(io.BytesIO(file.getvalue()))


def keys(*nodes: NodeId) -> dict[NodeId, bytes]:
    return {node: pair_of(node).public for node in nodes}


@pytest.fixture
async def cluster(world: World) -> Cluster:
    world.disks[FOUR] = Paper(SignerState(0, world.genesis.hash))
    world.vectors[FOUR] = []
    world.peers.votings[FOUR] = world.voter(FOUR, world.genesis)
    everybody = keys(*NODES, FOUR)
    return Cluster(world, {node: dict(everybody) for node in everybody})


async def test_a_fourth_node_votes_from_the_block_after_the_one_that_names_it(cluster: Cluster) -> None:
    told = await cluster.change(NODES[0], "add", FOUR)
    assert told == {"changed": True, "height": 1, "validators": [*NODES, FOUR], "quorum": 3}
    assert (await cluster.round(NODES[1], Counter())).refused == {}
    shown = await blocks.load_block(cluster.world.pool, 2)
    assert shown is not None
    assert {vote.statement.node for vote in shown.votes} == {*NODES, FOUR}
    outcome = await cluster.round(FOUR, Counter())
    assert isinstance(outcome, SealedRound)
    found = await cluster.verdict()
    assert (found.code, found.findings.contradictions, found.findings.invalid) == (verify.VERIFIED, [], "")
    assert found.chain.cosigners == [*NODES, FOUR]
    assert found.chain.rules is not None
    assert (list(found.chain.rules.keys), found.chain.rules.quorum) == ([*NODES, FOUR], 3)


async def test_a_node_that_was_removed_decides_nothing_any_more(cluster: Cluster) -> None:
    await cluster.change(NODES[0], "add", FOUR)
    await ran(cluster, NODES[2])
    await drains.begin_drain(cluster.world.pool, NODES[2], "ann", NODES)
    told = await cluster.change(NODES[0], "remove", NODES[2])
    assert told["validators"] == [*NODES[:2], FOUR]
    cluster.world.peers.away = {FOUR}
    outcome = await cluster.round(NODES[0], Counter())
    assert isinstance(outcome, SealedRound)
    assert outcome.votes == (NODES[0], NODES[1])
    assert outcome.refused[NODES[2]] == "node-3 is not a validator"
    cluster.world.peers.away = {FOUR, NODES[1]}
    assert isinstance(await cluster.round(NODES[0], Counter()), FailedRound)
    assert (await cluster.verdict()).findings.contradictions == []
    known = (await node_register.load_register(cluster.world.pool)).nodes
    assert {node: each.removed for node, each in known.items()} == {NODES[2]: True}


async def test_a_node_that_does_not_vote_is_removed_too(cluster: Cluster) -> None:
    await node_register.enrol_node(cluster.world.pool, FOUR, pair_of(FOUR).public)
    assert (await cluster.change(NODES[0], "remove", FOUR))["changed"] is False
    assert (await node_register.load_register(cluster.world.pool)).nodes[FOUR].removed
    assert (await cluster.change(NODES[0], "add", FOUR))["changed"] is True
    assert not (await node_register.load_register(cluster.world.pool)).nodes[FOUR].removed


async def ran(cluster: Cluster, node: NodeId) -> None:
    """Make the node one that has written; it has nothing left to seal."""
    await cluster.world.pool.rows("INSERT INTO leaf_sources (node_id) VALUES ($1)", node)


async def test_a_leader_alone_brings_in_nobody(cluster: Cluster) -> None:
    """It may be that only the leader sees the new node, or sees it under a key of its own making."""
    forged = pair_of("somebody else").public
    cluster.here[NODES[0]][FOUR] = forged
    told = await cluster.change(NODES[0], "add", FOUR)
    assert told["error"] == "Conflict"
    assert "in 4 rounds no quorum of 2 validators wanted this change" in str(told["message"])
    tip = await blocks.load_tip(cluster.world.pool)
    assert tip is not None
    assert (tip.height, tip.rules) == (validator_changes.ROUNDS, cluster.world.genesis.rules)


async def test_a_quorum_that_sees_the_node_is_enough(cluster: Cluster) -> None:
    del cluster.here[NODES[2]][FOUR]
    assert (await cluster.change(NODES[0], "add", FOUR))["changed"] is True


async def test_one_change_at_a_time_in_the_order_they_were_asked(cluster: Cluster) -> None:
    pool, tries = cluster.world.pool, Counter[UUID]()
    asked = [uuid.uuid4(), uuid.uuid4()]
    for request, action in zip(asked, ("add", "remove"), strict=True):
        body = {"action": action, "node": FOUR}
        await requests.add_request(pool, request, requests.VALIDATORS, "ann", body)
    await ran(cluster, FOUR)
    await drains.begin_drain(pool, FOUR, "ann", NODES)
    for request, count in zip(asked, (4, 3), strict=True):
        await cluster.round(NODES[0], tries)
        told = await requests.load_outcome(pool, request)
        assert told is not None
        validators = told["validators"]
        assert isinstance(validators, list)
        assert (told["changed"], len(validators)) == (True, count)
    assert await requests.list_waiting(pool, requests.VALIDATORS) == []


async def test_a_block_raises_the_protocol_once_all_voters_speak_and_want_it_and_the_record_verifies(
    world: World,
) -> None:
    keys = {node: pair_of(node).public for node in NODES}

    async def seal(spoken: Mapping[NodeId, ProtocolRange], wishes: Sequence[int] = (2, 2, 2)) -> int:
        for wish, voting in zip(wishes, world.peers.votings.values(), strict=True):
            await voting.catch_up()
            await validator_changes.load_wanted(world.pool, voting, members(keys, spoken), wish)
        assert isinstance(await story.run_round(await world.lead(NODES[0])), SealedRound)
        return world.peers.votings[NODES[0]].tip.rules.parameters.protocol

    assert await seal(dict.fromkeys(NODES[:2], NEW)) == 1, "one is of the release before"
    assert await seal(dict.fromkeys(NODES, NEW), (2, 2, 1)) == 1, "one may still go back"
    world.peers.away = {NODES[2]}
    assert await seal(dict.fromkeys(NODES, NEW)) == 1, "one is away, and may come back older"
    world.peers.away = set()
    assert await seal(dict.fromkeys(NODES, NEW)) == 2
    assert await seal({}, (1, 1, 1)) == 2, "there is no way back"
    file = io.BytesIO()
    await export.export_record(world.pool, file)
    found = verify.verify(io.BytesIO(file.getvalue()))
    assert (found.code, found.findings.contradictions) == (verify.VERIFIED, [])
    older = Voting(
        world.identity(NODES[2]),
        world.pool,
        world.disks[NODES[2]],
        world.peers.votings[NODES[2]].tip,
        cast("Any", None),
        lambda *_: True,
        world.now_us,
        spoken=ProtocolRange(1, 1),
    )
    assert older.stop_reason is not None
    assert older.unsupported == (
        "the cluster speaks protocol 2, and this program 1: run the newer CCN for it"
    )
    assert not await leadership.may_lead(world.pool, older, NODES[2])


async def test_a_node_that_reads_a_block_which_raises_the_protocol_beyond_it_signs_nothing_any_more(
    world: World,
) -> None:
    keys = {node: pair_of(node).public for node in NODES}
    outsider = Voting(
        world.identity(FOUR),
        world.pool,
        Paper(SignerState(0, world.genesis.hash)),
        world.genesis,
        cast("Any", None),
        lambda *_: True,
        world.now_us,
        spoken=ProtocolRange(1, 1),
    )
    for voting in world.peers.votings.values():
        await validator_changes.load_wanted(world.pool, voting, members(keys, dict.fromkeys(NODES, NEW)), 2)
    await story.run_round(await world.lead(NODES[0]))
    await outsider.catch_up()
    assert (outsider.tip.height, "protocol 2" in outsider.unsupported) == (1, True)
    await story.run_round(await world.lead(NODES[0]))
    assert (await outsider.catch_up()).height == 1, "it follows no further"


async def test_a_node_that_does_not_speak_the_protocol_is_not_let_in(cluster: Cluster) -> None:
    keys = {node: pair_of(node).public for node in [*NODES, FOUR]}
    view = ClusterView(keys, spoken=dict.fromkeys(NODES, NEW))
    rules = cluster.world.genesis.rules
    raised = rules.with_protocol(view.spoken, 2)
    refused = validator_change.apply_change(AddValidator(FOUR), raised, view)
    assert isinstance(refused, Refusal)
    assert refused.detail.startswith(
        "node-4 cannot follow: the cluster speaks protocol 2, and this program 1"
    )
    assert not isinstance(validator_change.apply_change(AddValidator(FOUR), rules, view), Refusal)


async def test_a_leader_that_died_before_it_answered_leaves_the_answer_to_the_next(
    cluster: Cluster,
) -> None:
    pool, request = cluster.world.pool, uuid.uuid4()
    await requests.add_request(pool, request, requests.VALIDATORS, "ann", {"action": "add", "node": FOUR})
    for node, voting in cluster.world.peers.votings.items():
        await validator_changes.load_wanted(pool, voting, members(cluster.here[node]), 1)
    await story.run_round(await cluster.world.lead(NODES[0]))
    await cluster.round(NODES[1], Counter())
    told = await requests.load_outcome(pool, request)
    assert told is not None
    assert (told["changed"], told["quorum"]) == (False, 3)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({"action": "remove", "node": "node-1"}, "node-1 is at work: `ccn drain node-1` first"),
        ({"action": "add", "node": "node-9"}, "node-9 is not here"),
        ({"action": "double", "node": "node-1"}, "this is no change of the validators"),
    ],
)
async def test_what_cannot_be_is_refused_and_the_rounds_go_on(
    cluster: Cluster, body: Mapping[str, object], why: str
) -> None:
    pool, request = cluster.world.pool, uuid.uuid4()
    await requests.add_request(pool, request, requests.VALIDATORS, "ann", body)
    assert isinstance(await cluster.round(NODES[0], Counter()), SealedRound)
    told = await requests.load_outcome(pool, request)
    assert told is not None
    assert why in str(told["message"])


async def test_a_node_stays_until_its_last_leaf_is_sealed(
    cluster: Cluster, database: settings.DatabaseSettings
) -> None:
    """It wrote something and died: nobody else can report what it wrote, unless it is given up."""
    world = cluster.world
    await world.say("one")
    world.peers.away = {NODES[0]}
    for seen in cluster.here.values():
        del seen[NODES[0]]
    await cluster.change(NODES[1], "add", FOUR)
    refused = await cluster.change(NODES[1], "remove", NODES[0])
    assert "leaves of node-1 are not sealed, and nobody else can report them" in str(refused["message"])
    told = await cluster.change(NODES[1], "remove", NODES[0], lost=True)
    assert told["validators"] == [*NODES[1:], FOUR]
    found = await cluster.verdict()
    assert found.findings.contradictions == []
    assert found.findings.counts["waiting"] > 0


FORGERIES = {
    "another list after the change": (
        "UPDATE block_rules SET validators = (SELECT validators FROM block_rules WHERE height = 0)"
        " WHERE height = 1"
    ),
    "a change taken back": "DELETE FROM block_rules WHERE height = 1",
    "a change that nobody wanted": (
        "INSERT INTO block_rules SELECT 2, validators, parameters FROM block_rules WHERE height = 0"
    ),
    "votes of the old list under the first block of the new one": (
        "DELETE FROM votes WHERE height = 2 AND node_id IN ('node-3', 'node-4')"
    ),
}


@pytest.mark.parametrize("edit", FORGERIES.values(), ids=FORGERIES)
async def test_a_forged_list_is_found(cluster: Cluster, edit: str) -> None:
    await cluster.change(NODES[0], "add", FOUR)
    await cluster.round(NODES[1], Counter())
    await cluster.world.superuser(edit)
    assert (await cluster.verdict()).code == verify.CONTRADICTION
