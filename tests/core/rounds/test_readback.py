"""Reading a block back from a database that may lie: what it alters is found before anything is signed."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ccn.core.chain.block import Tip
from ccn.core.chain.checkpoint import Checkpoint
from ccn.core.chain.header import Span
from ccn.core.chain.rules import Rules
from ccn.core.ledger import merkle, proof
from ccn.core.ledger.signed import Check
from ccn.core.rounds import readback
from ccn.core.rounds.readback import ShownBlock
from ccn.core.rounds.refusal import Reason, Refusal

if TYPE_CHECKING:
    from tests.support.core.honest_cluster import Cluster

Clusters = Callable[..., "Cluster"]

NOTHING: Mapping[int, bytes] = {}


def confirmed(
    four: Cluster, shown: ShownBlock, check: Check, own: Mapping[int, bytes] = NOTHING
) -> Tip | Refusal:
    return readback.confirm_block(shown, four.tip, four.nodes[1], own, check)


def reason(answer: Tip | Refusal) -> Reason:
    assert isinstance(answer, Refusal), answer
    return answer.reason


def test_the_tip_moves_to_the_block_and_its_checkpoint_covers_the_header(
    cluster: Clusters, check: Check
) -> None:
    four = cluster(4)
    before, shown = four.tip, four.shown(four.draft())
    after = confirmed(four, shown, check, four.own(four.nodes[1]))
    assert isinstance(after, Tip)
    leaves = [*shown.leaves, shown.header.hash()]
    assert after.checkpoint() == Checkpoint(before.origin, 9, merkle.root_of(leaves))
    assert (after.height, after.hash, after.time_us) == (1, shown.header.hash(), shown.header.time_us)
    inclusion = proof.hash_ranges(proof.inclusion_ranges(8, 9), leaves)
    assert proof.verify_inclusion(shown.header.hash(), 8, 9, inclusion, after.checkpoint().root)


@settings(max_examples=20)
@given(rounds=st.lists(st.integers(0, 5), min_size=1, max_size=4))
def test_checkpoints_of_one_chain_are_all_consistent(rounds: list[int], cluster: Clusters) -> None:
    three, every = cluster(3), list[bytes]()
    heads = [three.tip.checkpoint()]
    for leaves in rounds:
        draft = three.draft(three.reports(leaves))
        every += [*draft.block.leaves, draft.block.header.hash()]
        heads.append(three.commit(draft).checkpoint())
    for old, new in itertools.pairwise(heads):
        hashes = proof.hash_ranges(proof.consistency_ranges(old.size, new.size), every[: new.size])
        assert proof.verify_consistency(old.size, new.size, hashes, old.root, new.root)


def test_a_node_that_was_away_confirms_what_it_missed_one_by_one(cluster: Clusters, check: Check) -> None:
    three = cluster(3)
    away, missed = three.tip, list[ShownBlock]()
    for _ in range(3):
        draft = three.draft()
        missed.append(three.shown(draft))
        three.commit(draft)
    skipped = readback.confirm_block(missed[1], away, three.nodes[2], NOTHING, check)
    assert reason(skipped) == Reason.TIP
    for shown in missed:
        moved = readback.confirm_block(shown, away, three.nodes[2], NOTHING, check)
        assert isinstance(moved, Tip)
        away = moved
    assert away == three.tip


def alterations(shown: ShownBlock, other_rules: Rules) -> dict[str, tuple[Reason, ShownBlock]]:
    """What a database could show instead, and what must be said about it."""
    header, leaves = shown.header, shown.leaves
    span = header.spans[0]
    moved = (Span(span.node, span.first + 1, span.last + 1), *header.spans[1:])
    return {
        "height": (Reason.TIP, replace(shown, header=replace(header, height=header.height + 1))),
        "previous": (Reason.TIP, replace(shown, header=replace(header, previous=b"p" * 32))),
        "time": (Reason.QUORUM, replace(shown, header=replace(header, time_us=header.time_us + 1))),
        "first time": (Reason.TIP, replace(shown, header=replace(header, time_us=1))),
        "term": (Reason.QUORUM, replace(shown, header=replace(header, term=2))),
        "old term": (Reason.TIP, replace(shown, header=replace(header, term=0))),
        "leader": (
            Reason.QUORUM,
            replace(shown, header=replace(header, leader=shown.header.spans[1].node)),
        ),
        "result": (Reason.QUORUM, replace(shown, header=replace(header, result=b"r" * 32))),
        "reports": (Reason.QUORUM, replace(shown, header=replace(header, reports=b"r" * 32))),
        "root": (Reason.QUORUM, replace(shown, header=replace(header, root=b"r" * 32))),
        "before": (Reason.ROOT, replace(shown, header=replace(header, before_root=b"r" * 32))),
        "validators": (Reason.RULES, replace(shown, header=replace(header, validators=b"r" * 32))),
        "parameters": (Reason.RULES, replace(shown, header=replace(header, parameters=b"r" * 32))),
        "next rules": (Reason.RULES, replace(shown, next_rules=other_rules)),
        "spans": (Reason.QUORUM, replace(shown, header=replace(header, spans=moved))),
        "a leaf": (Reason.ROOT, replace(shown, leaves=(b"x" * 32, *leaves[1:]))),
        "two leaves swapped": (Reason.ROOT, replace(shown, leaves=(leaves[1], leaves[0], *leaves[2:]))),
        "a leaf missing": (Reason.LEAVES, replace(shown, leaves=leaves[1:])),
        "a leaf more": (Reason.LEAVES, replace(shown, leaves=(*leaves, b"x" * 32))),
        "half a leaf": (Reason.LEAVES, replace(shown, leaves=(leaves[0][:16], *leaves[1:]))),
        "no votes": (Reason.QUORUM, replace(shown, votes=())),
        "one vote many times": (Reason.QUORUM, replace(shown, votes=shown.votes[:1] * 4)),
        "too few votes": (Reason.QUORUM, replace(shown, votes=shown.votes[:2])),
    }


ALTERED = [
    "height",
    "previous",
    "time",
    "first time",
    "term",
    "old term",
    "leader",
    "result",
    "reports",
    "root",
    "before",
    "validators",
    "parameters",
    "next rules",
    "spans",
    "a leaf",
    "two leaves swapped",
    "a leaf missing",
    "a leaf more",
    "half a leaf",
    "no votes",
    "one vote many times",
    "too few votes",
]


@pytest.mark.parametrize("what", ALTERED)
def test_an_altered_block_is_refused(
    cluster: Clusters, rules: Callable[..., Rules], check: Check, what: str
) -> None:
    four = cluster(4)
    four.commit(four.draft())
    altered = alterations(four.shown(four.draft()), rules(["node-1", "node-2", "node-3"]))
    assert set(altered) == set(ALTERED)
    wanted, shown = altered[what]
    assert reason(confirmed(four, shown, check)) == wanted


def test_a_new_list_of_validators_cannot_vote_itself_in(
    cluster: Clusters, rules: Callable[..., Rules], check: Check
) -> None:
    three, alone = cluster(3), rules(["node-1"])
    shown = three.shown(
        three.draft([three.report(node, wants=alone) for node in three.nodes], wanted=alone)
    )
    taken_over = replace(shown, votes=shown.votes[:1])
    assert (
        reason(readback.confirm_block(taken_over, three.tip, three.nodes[1], NOTHING, check))
        == Reason.QUORUM
    )
    voted = readback.confirm_block(shown, three.tip, three.nodes[1], NOTHING, check)
    assert isinstance(voted, Tip)
    assert voted.rules == alone


def test_leaf_numbers_with_a_gap_are_refused_even_with_enough_votes(
    cluster: Clusters, check: Check
) -> None:
    four = cluster(4)
    node = four.nodes[1]
    shown = four.shown(four.draft())
    behind = replace(four.tip, sealed=((node, 5),))
    assert reason(readback.confirm_block(shown, behind, node, NOTHING, check)) == Reason.LEAVES


def test_a_leaf_this_node_did_not_produce_is_refused_in_its_name(cluster: Clusters, check: Check) -> None:
    four = cluster(4)
    shown = four.shown(four.draft())
    own = four.own(four.nodes[1])
    assert isinstance(confirmed(four, shown, check, own), Tip)
    assert isinstance(confirmed(four, shown, check, {9: b"later" * 6 + b"!!"}), Tip)
    assert reason(confirmed(four, shown, check, own | {2: b"x" * 32})) == Reason.LEAVES
