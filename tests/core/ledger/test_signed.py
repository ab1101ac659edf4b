"""A signature holds for one statement, one kind and one key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from ccn.core.ids import NodeId
from ccn.core.ledger import signed
from ccn.core.ledger.signed import Check, Signed

if TYPE_CHECKING:
    from tests.support.core.keys import Pairs


@dataclass(frozen=True)
class Claim:
    """A statement of some kind."""

    node: NodeId
    said: str
    kind: str = "claim"

    def signed_bytes(self) -> bytes:
        return signed.statement_bytes(self.kind, {"node": self.node, "said": self.said})


CLAIM = Claim(NodeId("node-1"), "it rains")


def test_the_first_line_names_the_kind_and_canonical_json_follows() -> None:
    assert CLAIM.signed_bytes() == b'ccn/claim/v1\n{"node":"node-1","said":"it rains"}'


def test_whoever_knows_the_key_can_check_who_said_it(pair: Pairs, check: Check) -> None:
    one = signed.sign_statement(CLAIM, pair("node-1").sign)
    assert one.is_signed_by(pair("node-1").public, check)
    assert not one.is_signed_by(pair("node-2").public, check)


@pytest.mark.parametrize(
    "other",
    [
        Claim(NodeId("node-1"), "it snows"),
        Claim(NodeId("node-2"), "it rains"),
        Claim(NodeId("node-1"), "it rains", kind="vote"),
    ],
)
def test_a_signature_holds_for_no_other_statement_or_kind(other: Claim, pair: Pairs, check: Check) -> None:
    one = signed.sign_statement(CLAIM, pair("node-1").sign)
    assert not Signed(other, one.signature).is_signed_by(pair("node-1").public, check)


@pytest.mark.parametrize("signature", [b"", b"x" * 63, b"x" * 64, b"x" * 65])
def test_bytes_that_are_no_signature_are_none(signature: bytes, pair: Pairs, check: Check) -> None:
    assert not Signed(CLAIM, signature).is_signed_by(pair("node-1").public, check)
