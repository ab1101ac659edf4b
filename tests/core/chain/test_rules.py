"""The rules in force: lists that are listed one way, and parameters with which rounds can be held."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccn import errors
from ccn.core.chain import block
from ccn.core.chain import rules as core_rules
from ccn.core.chain.protocol import ProtocolRange
from ccn.core.chain.quorum import FaultModel
from ccn.core.chain.rules import Parameters, Rules, Validator, Weighing
from ccn.core.ids import NodeId
from ccn.core.ledger import commitment

ONE, TWO, THREE = (Validator(NodeId(f"node-{n}"), bytes([n]) * 32) for n in (1, 2, 3))
PARAMETERS = Parameters("tier-1/v1")


@given(
    count=st.integers(4, 64),
    faults=st.sampled_from(FaultModel),
    tolerance=st.integers(0, 1_000_000),
    interval_ms=st.integers(1, 86_400_000),
    kind=st.sampled_from([(Weighing.INSTANCES, 1), *((Weighing.OWNERS, number) for number in (1, 2, 9))]),
)
def test_rules_are_read_as_they_were_written(
    count: int, faults: FaultModel, tolerance: int, interval_ms: int, kind: tuple[Weighing, int]
) -> None:
    listed = sorted(Validator(NodeId(f"n-{n}"), n.to_bytes(32, "big")) for n in range(count))
    times, (weighing, number) = {"interval_ms": interval_ms}, kind
    parameters = Parameters("tier-1/v1", faults, tolerance, **times, weighing=weighing, protocol=number)
    written = Rules(tuple(listed), parameters)
    assert core_rules.parse_rules(written.validators_body(), written.parameters.body()) == written


def test_every_part_of_the_rules_is_in_their_hash() -> None:
    rules = Rules((ONE, TWO), PARAMETERS)
    changed: list[dict[str, Any]] = [
        {"scorer": "tier-1/v2"},
        {"faults": FaultModel.BYZANTINE},
        {"tolerance": 99_999},
        {"smoothing": 200_000},
        {"interval_ms": 9_999},
        {"limit_ms": 4_999},
        {"clock_ms": 1_999},
        {"weighing": Weighing.INSTANCES},
        {"protocol": 2},
    ]
    assert {name for change in changed for name in change} == set(Parameters.__slots__)
    bodies = {replace(PARAMETERS, **change).body() for change in changed} | {PARAMETERS.body()}
    assert len(bodies) == len(changed) + 1
    others = [
        Rules((ONE, THREE), PARAMETERS),
        Rules((ONE,), PARAMETERS),
        replace(rules, parameters=Parameters("x")),
    ]
    assert len({rules.hash(), *(other.hash() for other in others)}) == 4


def test_the_quorum_follows_from_the_list_and_the_fault_model(rules: Callable[..., Rules]) -> None:
    five = [f"node-{n}" for n in range(1, 6)]
    assert rules(five).quorum == 3
    assert rules(five, FaultModel.BYZANTINE).quorum == 4
    with pytest.raises(errors.InputInvalid, match="needs 4"):
        rules(five[:3], FaultModel.BYZANTINE)


def test_a_key_is_found_by_its_node() -> None:
    rules = Rules((ONE, TWO), PARAMETERS)
    assert rules.key_of(NodeId("node-2")) == TWO.key
    assert rules.key_of(NodeId("node-3")) is None


def test_parameters_of_the_first_version_are_those_that_weigh_instances() -> None:
    body = (
        b'{"clock_ms":2000,"faults":"crash","interval_ms":10000,"kind":"parameters","limit_ms":5000,'
        b'"scorer":"tier-1/v1","smoothing":100000,"tolerance":100000,"v":1}'
    )
    old = core_rules.parse_rules(Rules((ONE,), PARAMETERS).validators_body(), body)
    assert old.parameters == replace(PARAMETERS, weighing=Weighing.INSTANCES)
    assert old.with_current_weighing() == Rules((ONE,), PARAMETERS)
    assert old.with_current_weighing().with_current_weighing() == old.with_current_weighing()
    for unknown in (body.replace(b'"v":1', b'"v":2'), body.replace(b'"v":1', b'"v":2,"weighing":"men"')):
        with pytest.raises(errors.InputInvalid, match="not the rules"):
            core_rules.parse_rules(old.validators_body(), unknown)


def test_only_where_nodes_may_lie_does_anybody_reckon_with_liars() -> None:
    listed = tuple(Validator(NodeId(f"n-{n}"), n.to_bytes(32, "big")) for n in range(7))
    assert Rules(listed, PARAMETERS).liars == 0
    assert Rules(listed, replace(PARAMETERS, faults=FaultModel.BYZANTINE)).liars == 2


@pytest.mark.parametrize(
    "listed",
    [(), (TWO, ONE), (ONE, ONE), (ONE, Validator(NodeId("node-2"), ONE.key))],
    ids=["empty", "unordered", "double", "one key twice"],
)
def test_a_list_that_could_count_a_node_twice_is_refused(listed: tuple[Validator, ...]) -> None:
    with pytest.raises(errors.InputInvalid):
        Rules(listed, PARAMETERS)


@pytest.mark.parametrize(("node", "key"), [("Node", bytes(32)), ("node-1", bytes(31)), ("", bytes(32))])
def test_a_validator_without_a_proper_name_and_key_is_refused(node: str, key: bytes) -> None:
    with pytest.raises(errors.InputInvalid):
        Validator(NodeId(node), key)


@pytest.mark.parametrize(
    "change",
    [
        {"scorer": ""},
        {"scorer": "x" * 101},
        {"tolerance": -1},
        {"tolerance": 1_000_001},
        {"smoothing": 0},
        {"interval_ms": 0},
        {"limit_ms": 86_400_001},
        {"clock_ms": -1},
        {"protocol": 0},
        {"protocol": 2, "weighing": Weighing.INSTANCES},
    ],
)
def test_parameters_with_which_no_round_could_be_held_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(errors.InputInvalid):
        replace(PARAMETERS, **change)


@given(data=st.data())
def test_a_document_with_another_field_or_type_is_refused(data: st.DataObject) -> None:
    rules = Rules((ONE, TWO), PARAMETERS)
    bodies = [rules.validators_body(), rules.parameters.body()]
    which = data.draw(st.integers(0, 1))
    fields = json.loads(bodies[which])
    name = data.draw(st.sampled_from(sorted(fields)))
    other = data.draw(
        st.sampled_from([None, "other", -5, [], [1], [["node-1", "zz"]], [["node-1"]], [[1, 2]]])
    )
    bodies[which] = commitment.encode_canonical({**fields, name: other})
    if name == "scorer" and other == "other":
        assert core_rules.parse_rules(*bodies).parameters.scorer == "other"
        return
    with pytest.raises(errors.InputInvalid):
        core_rules.parse_rules(*bodies)


def test_the_two_documents_do_not_stand_for_each_other() -> None:
    rules = Rules((ONE, TWO), PARAMETERS)
    with pytest.raises(errors.InputInvalid):
        core_rules.parse_rules(rules.parameters.body(), rules.validators_body())


def test_the_first_protocol_is_written_as_it_was_before_there_were_others() -> None:
    assert b"protocol" not in PARAMETERS.body()
    assert replace(PARAMETERS, protocol=2).body() == PARAMETERS.body().replace(
        b'"scorer"', b'"protocol":2,"scorer"'
    ).replace(b'"v":2', b'"v":3')
    named = PARAMETERS.body().replace(b'"scorer"', b'"protocol":1,"scorer"')
    for twice in (named, named.replace(b'"v":2', b'"v":3'), named.replace(b":1,", b':"2",')):
        with pytest.raises(errors.InputInvalid):
            core_rules.parse_rules(Rules((ONE,), PARAMETERS).validators_body(), twice)


@pytest.mark.parametrize("more", [{}, {"threshold": 7}])
def test_rules_of_a_protocol_that_nobody_here_speaks_are_no_fault(more: dict[str, Any]) -> None:
    """Whatever they say besides; those that can be read are, because their reader may still show them."""
    fields = json.loads(replace(PARAMETERS, protocol=99).body())
    listed, body = Rules((ONE,), PARAMETERS).validators_body(), commitment.encode_canonical(fields | more)
    if not more:
        assert core_rules.parse_rules(listed, body).parameters.protocol == 99
        return
    with pytest.raises(errors.ProtocolUnsupported, match="speaks protocol 99, and this program 1-2"):
        core_rules.parse_rules(listed, body)
    spoken = commitment.encode_canonical({**fields, **more, "protocol": 2})
    with pytest.raises(errors.InputInvalid):
        core_rules.parse_rules(listed, spoken)


@pytest.mark.parametrize(
    ("ranges", "wish", "protocol"),
    [
        ([(1, 2), (1, 2)], 2, 2),
        ([(1, 2), (1, 2)], 1, 1),
        ([(1, 2), (1, 1)], 2, 1),
        ([(1, 2)], 2, 1),
        ([(1, 3), (2, 4)], 9, 3),
        ([(1, 2), (3, 4)], 9, 1),
    ],
)
def test_a_protocol_is_raised_as_far_as_every_validator_speaks_it(
    ranges: list[tuple[int, int]], wish: int, protocol: int
) -> None:
    spoken = {NodeId(f"node-{n}"): ProtocolRange(*each) for n, each in enumerate(ranges, 1)}
    raised = Rules((ONE, TWO), PARAMETERS).with_protocol(spoken, wish)
    assert raised.parameters == replace(PARAMETERS, protocol=protocol)
    assert raised.with_protocol({}, 1) == raised, "never back"


def test_genesis_commits_to_the_name_and_the_rules() -> None:
    rules = Rules((ONE, TWO), PARAMETERS)
    first = block.genesis_tip("ccn.example/a", rules)
    others = [
        block.genesis_tip("ccn.example/b", rules),
        block.genesis_tip("ccn.example/a", Rules((ONE, THREE), PARAMETERS)),
        block.genesis_tip("ccn.example/a", replace(rules, parameters=Parameters("x"))),
    ]
    assert len({first.hash, *(other.hash for other in others)}) == 4
    assert (first.height, first.tree.size, first.last_sealed(NodeId("node-1"))) == (0, 0, 0)
    with pytest.raises(errors.InputInvalid):
        block.genesis_tip("two words", rules)
