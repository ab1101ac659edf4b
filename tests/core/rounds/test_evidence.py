"""Evidence against a node that signed two blocks of one height, and against nobody else."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from ccn.core.chain import block, checkpoint
from ccn.core.chain.quorum import FaultModel
from ccn.core.ledger.signed import Check, Signed
from ccn.core.rounds import ballot, evidence
from ccn.core.rounds.ballot import Certificate, Vote
from ccn.core.rounds.evidence import Cosigned

if TYPE_CHECKING:
    from tests.support.core.honest_cluster import Cluster
    from tests.support.core.keys import Pairs

Clusters = Callable[..., "Cluster"]


def test_two_proposals_for_one_height_and_term_convict_the_leader(cluster: Clusters, check: Check) -> None:
    four = cluster(4)
    one = four.signed(four.draft().proposal)
    four.now_us += 1
    other = four.signed(four.draft().proposal)
    found = evidence.find_contradiction(one, other, four.rules, check)
    assert found == evidence.Evidence(four.leader, 1, 1, one, other)


def test_two_votes_for_one_height_and_term_convict_the_voter(cluster: Clusters, check: Check) -> None:
    four = cluster(4)
    one, other = (four.signed(Vote(four.leader, 1, 1, block * 32)) for block in (b"a", b"b"))
    found = evidence.find_contradiction(one, other, four.rules, check)
    assert found is not None
    assert (found.node, found.height, found.term) == (four.leader, 1, 1)


def test_nobody_is_convicted_by_what_an_honest_node_may_sign(cluster: Clusters, check: Check) -> None:
    four = cluster(4)
    vote = Vote(four.leader, 1, 1, b"a" * 32)
    one = four.signed(vote)
    for honest in (
        vote,
        replace(vote, term=2, block=b"b" * 32),
        replace(vote, height=2, block=b"b" * 32),
        replace(vote, node=four.nodes[1], block=b"b" * 32),
    ):
        assert evidence.find_contradiction(one, four.signed(honest), four.rules, check) is None


def test_nobody_is_convicted_by_a_forged_signature(cluster: Clusters, check: Check) -> None:
    four = cluster(4)
    one = four.signed(Vote(four.leader, 1, 1, b"a" * 32))
    other = four.signed(Vote(four.leader, 1, 1, b"b" * 32))
    for forged in (replace(other, signature=one.signature), replace(other, signature=b"")):
        assert evidence.find_contradiction(one, forged, four.rules, check) is None
        assert evidence.find_contradiction(forged, one, four.rules, check) is None


def test_a_stranger_is_nobody_to_convict(cluster: Clusters, check: Check) -> None:
    three, four = cluster(3), cluster(4)
    one, other = (four.signed(Vote(four.nodes[3], 1, 1, block * 32)) for block in (b"a", b"b"))
    assert evidence.find_contradiction(one, other, three.rules, check) is None
    assert evidence.find_contradiction(one, other, four.rules, check) is not None


def test_a_liar_among_three_is_not_outvoted_but_convicted(cluster: Clusters, check: Check) -> None:
    three = cluster(3, FaultModel.CRASH)
    first = three.draft().block.header
    three.now_us += 1
    second = three.draft().block.header
    liar, honest, other = three.nodes
    votes = [
        [three.signed(Vote(node, 1, 1, header.hash())) for node in (liar, misled)]
        for header, misled in ((first, honest), (second, other))
    ]
    for header, cast in zip((first, second), votes, strict=True):
        assert isinstance(ballot.tally(header, cast, three.rules, check), Certificate)
    assert evidence.find_contradiction(votes[0][0], votes[1][0], three.rules, check) is not None


def cosigned(four: Cluster, pair: Pairs, leaves: int, at_s: int = 1) -> Signed[Cosigned]:
    """What the leader says when it cosigns the next block, with so many leaves of each node."""
    made = four.draft([four.report(node, leaves=leaves) for node in four.nodes]).block
    tree = four.tip.tree.extend(made.leaves)
    after = block.advance_tip(four.tip, made.header, tree, made.next_rules)
    key = pair(four.leader)
    line = checkpoint.cosign(after.checkpoint(), four.leader, key.public, at_s, key.sign)
    return evidence.cosigned_from_signature(line, four.tip.origin, made.header, tree)


def test_two_cosigned_blocks_of_one_height_convict_whatever_their_size(
    cluster: Clusters, pair: Pairs, check: Check
) -> None:
    four = cluster(4)
    one, longer = (cosigned(four, pair, leaves) for leaves in (2, 3))
    four.now_us, four.term = four.now_us + 1, four.term + 1
    later = cosigned(four, pair, 2)
    for other in (longer, later):
        found = evidence.find_contradiction(one, other, four.rules, check)
        assert found == evidence.Evidence(four.leader, 1, 0, one, other)
    body = json.loads(found.body()) if found else {}
    assert bytes.fromhex(body["first_message"]) == one.statement.signed_bytes()
    assert body["second_tree"] == later.statement.tree.to_bytes().hex()
    assert (body["kind"], body["node"], body["height"]) == ("cosigned", four.leader, 1)


def test_nobody_is_convicted_by_a_cosignature_that_does_not_belong_to_its_block(
    cluster: Clusters, pair: Pairs, check: Check
) -> None:
    four = cluster(4)
    one, other = (cosigned(four, pair, leaves) for leaves in (2, 3))
    said = other.statement
    for forged in (
        cosigned(four, pair, 2, at_s=9),
        replace(one, statement=replace(one.statement, header=said.header)),
        replace(one, statement=said),
        replace(other, statement=replace(said, tree=one.statement.tree)),
        replace(other, statement=replace(said, origin="not a name")),
        replace(other, statement=replace(said, at_s=2)),
    ):
        assert evidence.find_contradiction(one, forged, four.rules, check) is None
