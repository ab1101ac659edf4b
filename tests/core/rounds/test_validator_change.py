"""Changes of the validators: one at a time, never into a list that could not go on, never past a leaf."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccn.core.chain.quorum import FaultModel
from ccn.core.chain.rules import Rules
from ccn.core.ids import NodeId
from ccn.core.rounds import validator_change
from ccn.core.rounds.refusal import Refusal
from ccn.core.rounds.validator_change import AddValidator, ClusterView, RemoveValidator
from tests.support.core.honest_cluster import rules_of
from tests.support.core.keys import pair_of

NAMES = [NodeId(f"node-{n}") for n in range(1, 7)]
some = st.sets(st.sampled_from(NAMES))
faults = st.sampled_from(list(FaultModel))


def here(names: Iterable[NodeId]) -> dict[NodeId, bytes]:
    return {name: pair_of(name).public for name in names}


def listed(rules: Rules) -> set[NodeId]:
    return {each.node for each in rules.validators}


@st.composite
def rules(draw: st.DrawFn) -> Rules:
    model = draw(faults)
    least = 4 if model is FaultModel.BYZANTINE else 1
    return rules_of(sorted(draw(st.sets(st.sampled_from(NAMES), min_size=least))), model)


wishes = st.sampled_from(NAMES).flatmap(
    lambda node: st.sampled_from(
        [AddValidator(node), RemoveValidator(node), RemoveValidator(node, lost=True)]
    )
)
seen = st.builds(
    ClusterView,
    some.map(here),
    some.map(frozenset),
    st.integers(0, 1),
    st.integers(0, 1),
)


@given(rules(), wishes, seen)
def test_a_change_concerns_one_node_and_leaves_the_rest_as_it_was(
    before: Rules, wanted: AddValidator | RemoveValidator, sees: ClusterView
) -> None:
    following = validator_change.apply_change(wanted, before, sees)
    if not isinstance(following, Refusal):
        assert listed(following) ^ listed(before) <= {wanted.node}
        assert following.parameters == before.parameters
        assert (wanted.node in listed(following)) == isinstance(wanted, AddValidator)


@given(rules(), wishes, seen)
def test_a_quorum_of_the_new_list_is_here_to_go_on(
    before: Rules, wanted: AddValidator | RemoveValidator, sees: ClusterView
) -> None:
    following = validator_change.apply_change(wanted, before, sees)
    if not isinstance(following, Refusal) and following != before:
        assert len(listed(following) & sees.present.keys()) >= following.quorum


@given(rules(), wishes, seen)
def test_quorums_before_and_after_share_a_node(
    before: Rules, wanted: AddValidator | RemoveValidator, sees: ClusterView
) -> None:
    """So that whoever signs the first block of the new list knows the last one of the old."""
    following = validator_change.apply_change(wanted, before, sees)
    if not isinstance(following, Refusal):
        everybody = len(listed(before) | listed(following))
        assert before.quorum + following.quorum > everybody


@given(rules(), wishes, seen)
def test_a_change_that_is_made_is_not_made_again(
    before: Rules, wanted: AddValidator | RemoveValidator, sees: ClusterView
) -> None:
    following = validator_change.apply_change(wanted, before, sees)
    if not isinstance(following, Refusal):
        assert validator_change.apply_change(wanted, following, sees) == following


@given(rules(), st.sampled_from(NAMES), seen)
def test_nobody_goes_whose_leaves_are_not_sealed(before: Rules, node: NodeId, sees: ClusterView) -> None:
    if sees.unsealed and node in listed(before):
        assert isinstance(validator_change.apply_change(RemoveValidator(node), before, sees), Refusal)


@pytest.mark.parametrize(
    ("wanted", "sees", "why"),
    [
        (AddValidator(NAMES[3]), ClusterView(here(NAMES[:3])), "node-4 is not here: start it"),
        (AddValidator(NAMES[0]), ClusterView({NAMES[0]: bytes(32)}), "votes with another key"),
        (
            AddValidator(NAMES[3]),
            ClusterView(here([NAMES[0], NAMES[3]])),
            "of 4 validators 3 would have to agree, and 2 are",
        ),
        (
            RemoveValidator(NAMES[2]),
            ClusterView(here(NAMES[:3])),
            "node-3 is at work: `ccn drain node-3` first",
        ),
        (
            RemoveValidator(NAMES[2]),
            ClusterView(here(NAMES[1:2])),
            "of 2 validators 2 would have to agree, and 1 are here",
        ),
        (
            RemoveValidator(NAMES[2]),
            ClusterView(here(NAMES[:2]), unsealed=7),
            "7 leaves of node-3 are not sealed",
        ),
        (RemoveValidator(NAMES[2], lost=True), ClusterView(here(NAMES[:3])), "is here and not lost"),
        (
            RemoveValidator(NAMES[2]),
            ClusterView(here(NAMES[:3]), frozenset({NAMES[2]}), instances=2),
            "node-3 still hosts 2 instances",
        ),
    ],
)
def test_a_refusal_says_what_to_do(
    wanted: AddValidator | RemoveValidator, sees: ClusterView, why: str
) -> None:
    refused = validator_change.apply_change(wanted, rules_of(NAMES[:3]), sees)
    assert isinstance(refused, Refusal)
    assert why in refused.detail


def test_a_node_that_is_gone_for_good_leaves_its_last_leaves_unproved() -> None:
    following = validator_change.apply_change(
        RemoveValidator(NAMES[2], lost=True), rules_of(NAMES[:3]), ClusterView(here(NAMES[:2]), unsealed=7)
    )
    assert not isinstance(following, Refusal)
    assert listed(following) == set(NAMES[:2])


def test_four_validators_that_expect_a_liar_do_not_become_three() -> None:
    refused = validator_change.apply_change(
        RemoveValidator(NAMES[3]), rules_of(NAMES[:4], FaultModel.BYZANTINE), ClusterView(here(NAMES[:3]))
    )
    assert isinstance(refused, Refusal)
    assert "cannot outvote a liar" in refused.detail


def test_the_last_validator_stays() -> None:
    refused = validator_change.apply_change(RemoveValidator(NAMES[0]), rules_of(NAMES[:1]), ClusterView({}))
    assert refused == Refusal(refused.reason, "node-1 is the last validator")  # type: ignore[union-attr]
