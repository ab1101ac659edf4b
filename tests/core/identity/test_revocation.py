"""A revoked certificate counts no more, and one that is made afterwards does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ccn import errors
from ccn.core.identity import revocation
from ccn.core.identity.revocation import PresentedCertificate, Revocation
from ccn.core.ids import NodeId

ONE, TWO = NodeId("node-1"), NodeId("node-2")
NOW = datetime(2026, 12, 1, tzinfo=UTC)
BEFORE, AFTER = NOW - timedelta(days=1), NOW + timedelta(seconds=1)


def test_one_certificate_is_revoked_by_its_number_whatever_its_name() -> None:
    revoked = [Revocation(None, "ab12", NOW)]
    assert not revocation.still_counts(ONE, PresentedCertificate("ab12", AFTER), revoked)
    assert revocation.still_counts(ONE, PresentedCertificate("ab13", BEFORE), revoked)


def test_all_certificates_of_a_node_are_revoked_that_were_made_until_then() -> None:
    revoked = [Revocation(ONE, None, NOW)]
    assert not revocation.still_counts(ONE, PresentedCertificate("1", BEFORE), revoked)
    assert not revocation.still_counts(ONE, PresentedCertificate("1", NOW), revoked)
    assert revocation.still_counts(ONE, PresentedCertificate("1", AFTER), revoked)
    assert revocation.still_counts(TWO, PresentedCertificate("1", BEFORE), revoked)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("node-1", (ONE, None)),
        ("ab12", (NodeId("ab12"), None)),
        ("00:AB:12", (None, "ab12")),
        ("0a:b1", (None, "ab1")),
    ],
)
def test_a_number_is_told_from_a_name(text: str, meant: tuple[NodeId | None, str | None]) -> None:
    assert revocation.parse_target(text) == meant


def test_what_is_printed_is_understood() -> None:
    for serial in ("ab1", "ab12", "f" * 40):
        assert revocation.parse_target(revocation.serial_to_pairs(serial)) == (None, serial)
    assert revocation.serial_to_pairs("ab1") == "0a:b1"


@pytest.mark.parametrize("text", ["", ":", "Node 1", "a:z", "0:0", ":".join(["1"] * 41)])
def test_what_is_neither_is_refused(text: str) -> None:
    with pytest.raises(errors.InputInvalid):
        revocation.parse_target(text)
