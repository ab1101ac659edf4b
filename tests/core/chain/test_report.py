"""Reports: what they sign, and the sizes they keep."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import pytest

from ccn import errors
from ccn.core.chain.report import LEAF_LIMIT, Report
from ccn.core.chain.roster import Roster, RosterRow
from ccn.core.ids import CharacterId, NodeId
from ccn.core.ledger import signed
from ccn.core.ledger.signed import Check
from tests.support.core.rosters import pack_rows

Rosters = Callable[..., Roster]
RowMaker = Callable[..., RosterRow]

PLAIN = Report(NodeId("node-1"), 1, 0, b"p" * 32, (), 1, b"l" * 64, b"w" * 32)


def test_everything_in_a_report_is_signed(make_row: RowMaker, make_roster: Rosters) -> None:
    rosters = (make_roster(make_row(1)),)
    changes: list[dict[str, Any]] = [
        {"node": NodeId("node-2")},
        {"height": 2},
        {"term": 1},
        {"previous": b"q" * 32},
        {"rosters": rosters},
        {"rosters": (make_roster(make_row(1), character="bob"),)},
        {"rosters": (make_roster(make_row(1, epoch=2)),)},
        {"rosters": (make_roster(make_row(1, 499_999)),)},
        {"rosters": (make_roster(make_row(1, owner=1)),)},
        {"rosters": (make_roster(make_row(1, owner=None)),)},
        {"rosters": (make_roster(),)},
        {"first": 2},
        {"leaves": b"l" * 32},
        {"leaves": b"l" * 63 + b"m"},
        {"wants": b"v" * 32},
    ]
    assert {name for change in changes for name in change} == {
        field.name for field in fields(Report) if field.init
    }
    messages = {replace(PLAIN, **change).signed_bytes() for change in changes}
    assert len(messages | {PLAIN.signed_bytes()}) == len(changes) + 1


def test_a_report_counts_for_its_signer_only(pair: Callable[[str], Any], check: Check) -> None:
    said = signed.sign_statement(PLAIN, pair("node-1").sign)
    assert said.is_signed_by(pair("node-1").public, check)
    assert not said.is_signed_by(pair("node-2").public, check)
    assert not replace(said, statement=replace(PLAIN, term=1)).is_signed_by(pair("node-1").public, check)
    assert not replace(said, signature=said.signature + b"x").is_signed_by(pair("node-1").public, check)


def test_the_kind_of_a_statement_is_part_of_what_is_signed() -> None:
    assert PLAIN.signed_bytes().startswith(b"ccn/report/v1\n{")
    assert signed.statement_bytes("vote", {"a": 1}) != signed.statement_bytes("proposal", {"a": 1})


@pytest.mark.parametrize(
    "change",
    [
        {"node": "Node 1"},
        {"height": 0},
        {"term": -1},
        {"first": 0},
        {"previous": b"short"},
        {"wants": b"short"},
        {"leaves": b"l" * 33},
        {"leaves": bytes(32 * (LEAF_LIMIT + 1))},
    ],
)
def test_a_report_that_cannot_be_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(errors.InputInvalid):
        replace(PLAIN, **change)


def test_characters_are_reported_once_each_in_order(make_row: RowMaker, make_roster: Rosters) -> None:
    ada, bob = make_roster(make_row(1)), make_roster(make_row(2), character="bob")
    assert replace(PLAIN, rosters=(ada, bob)).rosters == (ada, bob)
    for rosters in ((bob, ada), (ada, ada)):
        with pytest.raises(errors.InputInvalid, match="twice"):
            replace(PLAIN, rosters=rosters)


def test_a_node_reports_no_more_instances_than_the_limit(make_row: RowMaker, make_roster: Rosters) -> None:
    template = make_roster(make_row(0)).packed[16:]
    packed = b"".join(number.to_bytes(16, "big") + template for number in range(10_001))
    full = Roster(CharacterId("ada"), packed[:-88], bytes(80_000))
    assert len(replace(PLAIN, rosters=(full,)).rosters[0]) == 10_000
    for rosters in (
        (Roster(CharacterId("ada"), packed),),
        (full, pack_rows(CharacterId("bob"), [make_row(1)])),
    ):
        with pytest.raises(errors.InputInvalid, match="10000"):
            replace(PLAIN, rosters=rosters)
