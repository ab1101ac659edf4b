"""A registration is believed for what is signed in it, and for nothing else that somebody shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from ccn import errors
from ccn.core.chain.protocol import ProtocolRange
from ccn.core.chain.rules import Parameters, Rules, Validator
from ccn.core.identity import registration
from ccn.core.identity.registration import (
    EnrolledNode,
    NodeRegister,
    ProgramNotice,
    Registration,
    ShownRegistration,
)
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


def with_program(by: str = "", **changes: Any) -> ShownRegistration:
    """A registration with what it says of its program."""
    shown, pair = registered(), pair_of(by or ONE)
    said = shown.said.statement
    own: dict[str, Any] = {"cluster": said.cluster, "node": ONE, "life": said.life, "lease": said.lease}
    notice = ProgramNotice(**{**own, "version": "1.2.3", "spoken": ProtocolRange(1, 2), **changes})
    return replace(shown, program=signed.sign_statement(notice, pair.sign))


def test_what_a_node_says_of_its_program_is_believed_for_its_own_signature_only() -> None:
    program = registration.find_program(with_program(), ed25519)
    assert program is not None
    assert (program.version, program.spoken) == ("1.2.3", ProtocolRange(1, 2))
    assert registration.find_program(registered(), ed25519) is None, "it said nothing"
    for other in (
        with_program(by="somebody"),
        with_program(node=TWO),
        with_program(cluster=THEIRS),
        with_program(life=BEFORE),
        with_program(lease=0x7ABD),
    ):
        assert registration.find_program(other, ed25519) is None
        assert doubt(other) == "", "the node itself is believed all the same"
    shown = with_program()
    assert shown.program is not None
    for change in ({"version": "9.9.9"}, {"spoken": ProtocolRange(1, 9)}):
        forged = Signed(replace(shown.program.statement, **change), shown.program.signature)
        assert registration.find_program(replace(shown, program=forged), ed25519) is None


def test_a_registration_signs_the_same_bytes_as_before_programs_said_anything() -> None:
    said = with_program().said.statement
    assert said == registered().said.statement
    assert b"version" not in said.signed_bytes()


@pytest.mark.parametrize("version", ["", "1 2", "x" * 61, "\n"])
def test_a_version_that_no_program_has_is_refused(version: str) -> None:
    with pytest.raises(errors.InputInvalid):
        with_program(version=version)


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
