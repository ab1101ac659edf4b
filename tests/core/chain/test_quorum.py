"""Quorums against the table of the design and against every pair of quorums there is."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccn import errors
from ccn.core.chain import quorum
from ccn.core.chain.quorum import Faults


@pytest.mark.parametrize(
    ("faults", "nodes", "needed", "tolerated"),
    [
        (Faults.CRASH, 1, 1, 0),
        (Faults.CRASH, 2, 2, 0),
        (Faults.CRASH, 3, 2, 1),
        (Faults.CRASH, 4, 3, 1),
        (Faults.CRASH, 5, 3, 2),
        (Faults.CRASH, 7, 4, 3),
        (Faults.BYZANTINE, 4, 3, 1),
        (Faults.BYZANTINE, 5, 4, 1),
        (Faults.BYZANTINE, 6, 5, 1),
        (Faults.BYZANTINE, 7, 5, 2),
    ],
)
def test_the_table_of_the_design_holds(faults: Faults, nodes: int, needed: int, tolerated: int) -> None:
    assert quorum.needed(faults, nodes) == needed
    assert quorum.tolerated(faults, nodes) == tolerated


@pytest.mark.parametrize("nodes", range(4, 9))
def test_any_two_byzantine_quorums_share_an_honest_node(nodes: int) -> None:
    quorums = [set(q) for q in combinations(range(nodes), quorum.needed(Faults.BYZANTINE, nodes))]
    liars = quorum.tolerated(Faults.BYZANTINE, nodes)
    assert all(len(one & other) > liars for one in quorums for other in quorums)


@pytest.mark.parametrize("nodes", range(1, 9))
def test_any_two_crash_quorums_share_a_node(nodes: int) -> None:
    quorums = [set(q) for q in combinations(range(nodes), quorum.needed(Faults.CRASH, nodes))]
    assert all(one & other for one in quorums for other in quorums)


@given(faults=st.sampled_from(Faults), nodes=st.integers(4, quorum.NODE_LIMIT))
def test_quorums_are_safe_and_no_larger_than_they_must_be(faults: Faults, nodes: int) -> None:
    needed, liars = quorum.needed(faults, nodes), quorum.tolerated(Faults.BYZANTINE, nodes)
    shared = liars if faults is Faults.BYZANTINE else 0
    assert 2 * needed - nodes > shared
    assert needed <= nodes - quorum.tolerated(faults, nodes)
    if faults is Faults.CRASH:
        assert 2 * (needed - 1) - nodes <= shared


@given(nodes=st.integers(4, quorum.NODE_LIMIT))
def test_honest_nodes_of_a_byzantine_quorum_outnumber_the_liars(nodes: int) -> None:
    liars = quorum.tolerated(Faults.BYZANTINE, nodes)
    assert quorum.needed(Faults.BYZANTINE, nodes) - liars > liars


@pytest.mark.parametrize("nodes", [1, 2, 3])
def test_three_nodes_cannot_be_promised_to_outvote_a_liar(nodes: int) -> None:
    with pytest.raises(errors.InputInvalid, match="needs 4"):
        quorum.needed(Faults.BYZANTINE, nodes)
    with pytest.raises(errors.InputInvalid, match="needs 4"):
        quorum.tolerated(Faults.BYZANTINE, nodes)


@pytest.mark.parametrize("faults", Faults)
@pytest.mark.parametrize("nodes", [-1, 0, quorum.NODE_LIMIT + 1])
def test_clusters_of_impossible_sizes_are_refused(faults: Faults, nodes: int) -> None:
    with pytest.raises(errors.InputInvalid, match="validators"):
        quorum.needed(faults, nodes)
