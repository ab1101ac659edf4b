"""Quorums against the table of the design and against every pair of quorums there is."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccn import errors
from ccn.core.chain import quorum
from ccn.core.chain.quorum import FaultModel


@pytest.mark.parametrize(
    ("faults", "nodes", "needed", "tolerated"),
    [
        (FaultModel.CRASH, 1, 1, 0),
        (FaultModel.CRASH, 2, 2, 0),
        (FaultModel.CRASH, 3, 2, 1),
        (FaultModel.CRASH, 4, 3, 1),
        (FaultModel.CRASH, 5, 3, 2),
        (FaultModel.CRASH, 7, 4, 3),
        (FaultModel.BYZANTINE, 4, 3, 1),
        (FaultModel.BYZANTINE, 5, 4, 1),
        (FaultModel.BYZANTINE, 6, 5, 1),
        (FaultModel.BYZANTINE, 7, 5, 2),
    ],
)
def test_the_table_of_the_design_holds(faults: FaultModel, nodes: int, needed: int, tolerated: int) -> None:
    assert quorum.votes_needed(faults, nodes) == needed
    assert quorum.faults_tolerated(faults, nodes) == tolerated


@pytest.mark.parametrize("nodes", range(4, 9))
def test_any_two_byzantine_quorums_share_an_honest_node(nodes: int) -> None:
    quorums = [set(q) for q in combinations(range(nodes), quorum.votes_needed(FaultModel.BYZANTINE, nodes))]
    liars = quorum.faults_tolerated(FaultModel.BYZANTINE, nodes)
    assert all(len(one & other) > liars for one in quorums for other in quorums)


@pytest.mark.parametrize("nodes", range(1, 9))
def test_any_two_crash_quorums_share_a_node(nodes: int) -> None:
    quorums = [set(q) for q in combinations(range(nodes), quorum.votes_needed(FaultModel.CRASH, nodes))]
    assert all(one & other for one in quorums for other in quorums)


@given(faults=st.sampled_from(FaultModel), nodes=st.integers(4, quorum.NODE_LIMIT))
def test_quorums_are_safe_and_no_larger_than_they_must_be(faults: FaultModel, nodes: int) -> None:
    needed, liars = quorum.votes_needed(faults, nodes), quorum.faults_tolerated(FaultModel.BYZANTINE, nodes)
    shared = liars if faults is FaultModel.BYZANTINE else 0
    assert 2 * needed - nodes > shared
    assert needed <= nodes - quorum.faults_tolerated(faults, nodes)
    if faults is FaultModel.CRASH:
        assert 2 * (needed - 1) - nodes <= shared


@given(nodes=st.integers(4, quorum.NODE_LIMIT))
def test_honest_nodes_of_a_byzantine_quorum_outnumber_the_liars(nodes: int) -> None:
    liars = quorum.faults_tolerated(FaultModel.BYZANTINE, nodes)
    assert quorum.votes_needed(FaultModel.BYZANTINE, nodes) - liars > liars


@pytest.mark.parametrize("nodes", [1, 2, 3])
def test_three_nodes_cannot_be_promised_to_outvote_a_liar(nodes: int) -> None:
    with pytest.raises(errors.InputInvalid, match="needs 4"):
        quorum.votes_needed(FaultModel.BYZANTINE, nodes)
    with pytest.raises(errors.InputInvalid, match="needs 4"):
        quorum.faults_tolerated(FaultModel.BYZANTINE, nodes)


@pytest.mark.parametrize("faults", FaultModel)
@pytest.mark.parametrize("nodes", [-1, 0, quorum.NODE_LIMIT + 1])
def test_clusters_of_impossible_sizes_are_refused(faults: FaultModel, nodes: int) -> None:
    with pytest.raises(errors.InputInvalid, match="validators"):
        quorum.votes_needed(faults, nodes)
