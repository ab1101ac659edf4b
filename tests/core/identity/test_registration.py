"""A registration is believed for what is signed in it, and for nothing else that somebody shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from ccn import errors
from ccn.core.chain.rules import Parameters, Rules, Validator
from ccn.core.identity import registration
from ccn.core.identity.registration import EnrolledNode, NodeRegister, Registration, ShownRegistration
from ccn.core.ids import NodeId
from ccn.core.ledger import signed
from ccn.core.ledger.signed import Signed
from tests.support.core.keys import ed25519, pair_of

ONE, TWO = NodeId("node-1"), NodeId("node-2")
OURS, THEIRS = UUID(int=1), UUID(int=2)
LIFE, BEFORE = UUID(int=11), UUID(int=10)
REGISTER = NodeRegister(OURS, {node: EnrolledNode(pair_of(node).public, LIFE) for node in (ONE, TWO)})


def registered(node: NodeId = ONE, by: str = "", **changes: Any) -> ShownRegistration:
    """As a node shows itself, but for the changes, signed with the key of whoever does."""
    pair = pair_of(by or node)
    said = Registration(
        OURS, node, pair.public, "http://127.0.0.1:7700", "127.0.0.1:7702", LIFE, 0x7ABC, 1_800_000
    )
    said = replace(said, **changes)
    return ShownRegistration(said.node, said.lease, signed.sign_statement(said, pair.sign))


def altered(field: str, value: object) -> ShownRegistration:
    """What the node signed, and then somebody changed."""
    shown = registered()
    changed: dict[str, Any] = {field: value}
    said = replace(shown.said.statement, **changed)
    return ShownRegistration(said.node, said.lease, Signed(said, shown.said.signature))


def doubt(shown: ShownRegistration, register: NodeRegister = REGISTER) -> str:
    return registration.find_doubt(shown, register, ed25519)


def test_what_a_node_signed_for_its_present_life_is_believed() -> None:
    assert doubt(registered()) == ""
    assert doubt(registered(TWO)) == ""


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("http", "http://127.0.0.1:6666"),
        ("grpc", "127.0.0.1:6667"),
        ("since_us", 1_800_001),
        ("lease", 0x7ABD),
    ],
)
def test_nothing_of_it_can_be_changed(field: str, value: object) -> None:
    assert doubt(altered(field, value)) == "its signature is false"


@pytest.mark.parametrize(
    ("show", "words"),
    [
        (lambda: registered(NodeId("a-node")), "no such node has enrolled"),
        (lambda: registered(by="somebody"), "enrolled with another key"),
        (lambda: registered(cluster=THEIRS), "of another cluster"),
        (lambda: registered(life=BEFORE), "not of the node's present life"),
        (lambda: replace(registered(), lease=0x7ABD), "under another lease"),
        (lambda: replace(registered(), lease=0), "under another lease"),
        (lambda: replace(registered(), name="node-2"), "under another name"),
        (lambda: altered("node", TWO), "enrolled with another key"),
        (lambda: altered("key", pair_of(TWO).public), "enrolled with another key"),
        (lambda: replace(registered(), said=Signed(registered().said.statement, b"")), "is false"),
    ],
)
def test_what_somebody_made_up_or_shows_again_is_not(
    show: Callable[[], ShownRegistration], words: str
) -> None:
    assert words in doubt(show())


def test_the_key_that_a_made_up_node_shows_is_worth_nothing_with_a_signature_of_its_own() -> None:
    forged = registered(by="somebody", key=pair_of(ONE).public)
    assert doubt(forged) == "its signature is false"


def test_a_signature_of_something_else_does_not_count() -> None:
    said = registered().said.statement
    other = pair_of(ONE).sign(said.signed_bytes().replace(b"registration", b"report"))
    assert doubt(ShownRegistration(ONE, said.lease, Signed(said, other))) == "its signature is false"


def rules(**keys: str) -> Rules:
    listed = (Validator(NodeId(node.replace("_", "-")), pair_of(by).public) for node, by in keys.items())
    return Rules(tuple(sorted(listed)), Parameters("tier-1/v1"))


def test_before_the_founding_whoever_enrolled_takes_part() -> None:
    assert registration.key_of(ONE, REGISTER, None) == pair_of(ONE).public
    assert registration.key_of(NodeId("a-node"), REGISTER, None) is None


def test_of_those_that_vote_the_chain_has_the_key_whatever_the_register_says() -> None:
    voting = rules(node_1="the true key", node_3="node-3")
    assert registration.key_of(ONE, REGISTER, voting) == pair_of("the true key").public
    assert registration.key_of(TWO, REGISTER, voting) == pair_of(TWO).public
    assert registration.key_of(NodeId("node-3"), REGISTER, voting) == pair_of("node-3").public


def test_who_was_removed_takes_no_part_until_it_is_voted_in() -> None:
    removed = NodeRegister(OURS, {ONE: EnrolledNode(pair_of(ONE).public, LIFE, removed=True)})
    assert registration.key_of(ONE, removed, None) is None
    assert registration.key_of(ONE, removed, rules(node_2=TWO)) is None
    assert registration.key_of(ONE, removed, rules(node_1=ONE)) == pair_of(ONE).public
    assert doubt(registered(), removed) == ""  # it may show itself, so that it can be added again


@pytest.mark.parametrize(
    "changes",
    [
        {"node": NodeId("Node 1")},
        {"key": bytes(31)},
        {"http": "127.0.0.1:7700"},
        {"http": "javascript:alert(1)//"},
        {"http": "http://127.0.0.1:1; script-src *"},
        {"http": "http://" + "a" * 300},
        {"grpc": "http://127.0.0.1:1"},
        {"grpc": "127.0.0.1"},
        {"lease": 1 << 63},
        {"since_us": -1},
    ],
)
def test_what_no_node_says_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(errors.InputInvalid):
        registered(**changes)
