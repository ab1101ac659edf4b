"""How the room of a block is shared, and what follows on the tip of a chain."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ccn.core.chain import block
from ccn.core.ids import NodeId

WAITING = st.dictionaries(
    st.sampled_from([NodeId(f"node-{number}") for number in range(7)]), st.integers(0, 50)
)
LIMITS = st.integers(0, 120)


@given(WAITING, LIMITS)
def test_no_block_has_more_leaves_than_its_limit_and_no_node_more_than_it_has(
    waiting: dict[NodeId, int], limit: int
) -> None:
    granted = block.share_leaves(waiting, limit)
    assert granted.keys() == waiting.keys()
    assert all(0 <= granted[node] <= waiting[node] for node in waiting)
    assert sum(granted.values()) == min(limit, sum(waiting.values()))


@given(WAITING, LIMITS)
def test_a_node_gets_less_than_another_only_if_it_has_no_more_or_by_one_leaf(
    waiting: dict[NodeId, int], limit: int
) -> None:
    granted = block.share_leaves(waiting, limit)
    short = [granted[node] for node, count in waiting.items() if granted[node] < count]
    assert all(count >= max(granted.values()) - 1 for count in short)


@given(WAITING, LIMITS)
def test_every_node_shares_alike_in_whichever_order_it_reads_the_reports(
    waiting: dict[NodeId, int], limit: int
) -> None:
    assert block.share_leaves(dict(reversed(waiting.items())), limit) == block.share_leaves(waiting, limit)


@given(WAITING, LIMITS)
def test_one_node_with_many_leaves_takes_nothing_from_the_share_of_another(
    waiting: dict[NodeId, int], limit: int
) -> None:
    granted = block.share_leaves(waiting, limit)
    share = limit // max(len(waiting), 1)
    assert all(granted[node] >= min(waiting[node], share) for node in waiting)
