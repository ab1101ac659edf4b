"""What a node remembers of the leaves it sent."""

from __future__ import annotations

from ccn.core.ids import NodeId
from ccn.core.ledger import commitment
from ccn.core.ledger.commitment import Leaf, LeafKind
from ccn.store.writing.own_leaves import OwnLeaves


def leaf(number: int, words: str = "once") -> Leaf:
    return commitment.make_leaf(NodeId("node-1"), number, LeafKind.OPERATOR, {"words": words})


def test_before_it_knows_where_its_leaves_end_a_node_vouches_for_every_leaf() -> None:
    leaves = OwnLeaves()
    assert leaves.vouches_for(7, leaf(7).hash)
    leaves.begin_after(6)
    assert not leaves.vouches_for(7, leaf(7).hash)
    leaves.begin_after(9)
    assert not leaves.vouches_for(7, leaf(7).hash), "only the first reading counts"
    assert leaves.vouches_for(6, leaf(6).hash), "it was there before this process"


def test_of_two_leaves_under_one_number_both_count_until_one_is_in_the_ledger() -> None:
    leaves, first, second = OwnLeaves(), leaf(1), leaf(1, "again")
    leaves.begin_after(0)
    leaves.remember([first])
    assert leaves.in_doubt == []
    leaves.remember([second])
    assert leaves.in_doubt == [1]
    assert leaves.vouches_for(1, first.hash)
    assert leaves.vouches_for(1, second.hash)
    leaves.settle_durable([second])
    assert leaves.in_doubt == []
    assert leaves.vouches_for(1, second.hash)
    assert not leaves.vouches_for(1, first.hash)


def test_a_leaf_that_was_never_sent_settles_nothing() -> None:
    leaves = OwnLeaves()
    leaves.begin_after(0)
    leaves.remember([leaf(1), leaf(1, "again")])
    leaves.settle(1, leaf(1, "forged").hash)
    assert leaves.in_doubt == [1]
    assert not leaves.vouches_for(1, leaf(1, "forged").hash)


def test_the_same_leaf_sent_again_is_in_no_doubt() -> None:
    leaves = OwnLeaves()
    leaves.remember([leaf(1)])
    leaves.remember([leaf(1)])
    assert leaves.in_doubt == []


def test_a_leaf_too_old_to_be_remembered_is_believed() -> None:
    leaves = OwnLeaves(limit=2)
    leaves.begin_after(0)
    leaves.remember([leaf(1), leaf(1, "again"), leaf(2), leaf(3)])
    assert leaves.in_doubt == []
    assert leaves.vouches_for(1, b"any")
    assert not leaves.vouches_for(2, b"any")
