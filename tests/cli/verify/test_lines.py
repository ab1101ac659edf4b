"""What a line may look like, and in which order lines stand: anything else is no export."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from ccn.cli import verify
from tests.support.cli.verify.forger import Forger
from tests.support.cli.verify.leaves import (
    CONVERSATION,
    INSTANCE,
    begun,
    lived,
    plate,
    said,
    shown_as,
    standing,
    standing_instance,
    version_row,
)

ROWS = (version_row(), standing())


def forge(*leaves: Any) -> Forger:
    forger = Forger()
    forger.seal({"node-1": [begun(), *leaves]})
    return forger


def found(audit: verify.Audit) -> list[str]:
    return [f"{where}: {what}" for _, where, what in audit.findings.ordered]


def test_a_line_has_a_limit() -> None:
    audit = verify.verify(io.BytesIO(b"[" * (verify.LINE_LIMIT + 2)))
    assert audit.findings.invalid == f"line 1: it is over the limit of {verify.LINE_LIMIT} bytes"


@pytest.mark.parametrize("more", [b"", b"{}", b'{"end":{"lines":6}}'])
def test_nothing_follows_the_end(more: bytes) -> None:
    audit = verify.verify(io.BytesIO(forge().close(*ROWS) + more + b"\n"))
    assert audit.findings.invalid.startswith("line 8")
    assert audit.code == verify.INVALID


def test_the_end_counts_the_lines_above_it() -> None:
    record = forge().close(*ROWS)
    audit = verify.verify(io.BytesIO(record.replace(b'{"end":{"lines":6}}', b'{"end":{"lines":7}}')))
    assert (audit.code, audit.findings.cut) == (verify.INCOMPLETE, "6 of 7 lines are here")


def test_a_record_of_a_protocol_that_came_later_is_refused_and_not_called_false() -> None:
    newer = Forger(v=4, protocol=verify.PROTOCOL + 1, threshold=7)
    newer.seal()
    audit = verify.verify(io.BytesIO(newer.close()))
    assert (audit.code, audit.findings.contradictions) == (verify.INVALID, [])
    assert audit.findings.invalid == "line 1: the nodes speak protocol 3, and this verifier knows up to 2"
    forger, wish = Forger(), {"wants": newer.rules_hash().hex()}
    rules = {"validators": newer.validators, "parameters": newer.parameters}
    forger.seal(rules=rules, reports=dict.fromkeys(forger.nodes, wish))
    audit = verify.verify(io.BytesIO(forger.close()))
    assert (audit.code, audit.findings.contradictions) == (verify.INVALID, [])


@pytest.mark.parametrize(("key", "value"), [("version", 3), ("version", 0), ("record", "ccm")])
def test_an_export_of_another_kind_or_version_is_refused(key: str, value: object) -> None:
    forger = forge()
    forger.lines[0][key] = value
    invalid = "line 1: this is not the first line of an export of a version that is known here"
    assert forger.judge(*ROWS).findings.invalid == invalid


def test_the_first_line_is_the_first_and_comes_once() -> None:
    forger = forge()
    forger.lines.insert(1, forger.lines[0])
    assert forger.judge(*ROWS).findings.invalid == "line 2: this is a second first line"
    del forger.lines[:2]
    assert forger.judge(*ROWS).findings.invalid == "line 1: this is not the first line of an export"


def test_lines_of_a_block_belong_to_one() -> None:
    forger = forge()
    roster = {"roster": {"node": "node-1", "character": "ada", "packed": ""}}
    forger.lines = [forger.lines[0], roster, forger.lines[2]]
    assert found(forger.judge(*ROWS)) == [
        "a roster of node-1: belongs to no block",
        f"conversation {CONVERSATION} (leaf 1 of node-1, block 0): belongs to no block",
    ]


@pytest.mark.parametrize("name", ["reports", "votes"])
@pytest.mark.parametrize("twice", [True, False])
def test_what_a_block_lists_ascends(name: str, twice: bool) -> None:
    forger = forge()
    listed = forger.lines[1][name]
    listed[:] = [*listed, listed[-1]] if twice else listed[::-1]
    invalid = f"line 2: its {name} are not in order, or one stands twice"
    assert forger.judge(*ROWS).findings.invalid == invalid


def test_results_of_a_block_ascend() -> None:
    forger = Forger()
    forger.seal({"node-1": [begun()]}, results=[("bob", {}), ("ada", {})])
    invalid = "line 2: its results are not in order, or one stands twice"
    assert forger.judge(*ROWS).findings.invalid == invalid


@pytest.mark.parametrize(
    ("place", "path", "value", "what"),
    [
        (1, ["reports"], {}, "its reports is no list"),
        (1, ["reports", 0], [], "its reports is no object"),
        (1, ["row", "spans", 0], ["node-1", 1, 1], "its spans is no list of 4"),
        (1, ["row", "spans", 0], {}, "its spans is no list of 4"),
        (1, ["row", "tree"], "f", "its tree is nothing that an export writes there"),
        (1, ["row", "tree"], "FF", "its tree is nothing that an export writes there"),
        (1, ["row", "at"], 2**63, "its at is nothing that an export writes there"),
        (1, ["row", "at"], -(2**63) - 1, "its at is nothing that an export writes there"),
        (1, ["row", "at"], True, "its at is nothing that an export writes there"),
        (1, ["block"], {"v": 1, "a": 1}, "its block is nothing that an export writes there"),
        (2, ["leaf"], "A", "its leaf is nothing that an export writes there"),
        (2, ["rows"], [{"table": 1}], "its rows is nothing that an export writes there"),
        (2, ["rows"], [{"table": "x", "b": 1, "a": 1}], "its rows is nothing that an export writes there"),
        (2, ["rows"], [{"table": "x", "a": {}}], "its rows is nothing that an export writes there"),
        (4, ["conversation", "at"], "1", "its at is nothing that an export writes there"),
        (5, ["standing", "head"], None, "its head is nothing that an export writes there"),
    ],
)  # fmt: skip
def test_a_value_of_another_form_is_refused(
    place: int, path: list[str | int], value: object, what: str
) -> None:
    forger = forge()
    forger.lines += json.loads(json.dumps(ROWS))
    target: Any = forger.lines[place]
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value
    assert forger.judge().findings.invalid == f"line {place + 1}: {what}"


def test_an_unknown_kind_of_line_is_refused() -> None:
    audit = forge().judge({"wish": {}})
    assert audit.findings.invalid == "line 5: a line of an unknown kind: 'wish'"


@pytest.mark.parametrize("line", [b"[]", b'"x"', b"1", b"null"])
def test_a_line_is_an_object(line: bytes) -> None:
    record = forge().close(*ROWS).replace(b'{"conversation":', line + b'\n{"conversation":', 1)
    assert verify.verify(io.BytesIO(record)).findings.invalid == "line 5: this is no object"


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_a_value_that_is_no_number_of_a_record_is_refused(number: str) -> None:
    record = forge().close(*ROWS).replace(b'{"end":{"lines":6}}', b'{"end":{"lines":%s}}' % number.encode())
    audit = verify.verify(io.BytesIO(record))
    assert audit.findings.invalid == f"line 7: {number} is no number of a record"


def test_what_the_table_of_leaves_says_otherwise_is_found() -> None:
    forger = forge(plate())
    line = forger.lines[3]
    forger.lines[3] = {"leaf": line["leaf"], "hash": "00" * 32, "content": line["content"]}
    (finding,) = forger.judge(*ROWS).findings.contradictions
    assert finding.what.startswith("its hash was 0000000000000000…, and is ")
    forger.lines[3] = {"leaf": line["leaf"], "as": ["node-1", 2, "message"], "content": line["content"]}
    (finding,) = forger.judge(*ROWS).findings.contradictions
    assert finding.what == "its body names itself leaf 2 of node-1, plate"


def test_a_body_that_is_no_object_is_found_and_hashed_as_it_is() -> None:
    forger = forge()
    forger.lines[2] = {"leaf": "AAAA", "as": ["node-1", 1, "message"]}
    audit = forger.judge()
    where = "a row (leaf 1 of node-1, block 1)"
    assert found(audit)[:2] == [
        f"{where}: its body names itself leaf None of None, None",
        f"{where}: its body is not canonical JSON",
    ]
    assert audit.code == verify.CONTRADICTION


def test_leaves_about_validators_are_known_and_say_nothing_of_conversations() -> None:
    audit = forge(({"kind": "validators", "v": 1, "note": "x"}, {})).judge(*ROWS)
    assert (audit.code, found(audit)) == (verify.VERIFIED, [])
    audit = forge(({"kind": "validators", "v": 1, "n\u00f6te": "x"}, {})).judge(*ROWS)
    assert [what for _, _, what in audit.findings.ordered] == ["these are not canonical bytes"]


@pytest.mark.parametrize(
    ("rows", "what"),
    [
        ([], "has 0 rows in instance_lives"),
        ([{}, {}], "has 2 rows in instance_lives"),
        ([{}], "repeats the row in instance_lives, which says the same"),
        ([{"host": "node-2"}], "the row in instance_lives says something else: host"),
        ([{"more": 1}], "the row in instance_lives says something else: more"),
        ([{}, {"table": "turns", "turn": "t"}], "a row of turns names this leaf: turn t"),
    ],
)
def test_rows_that_are_not_exactly_those_of_a_leaf_are_found(rows: list[dict[str, Any]], what: str) -> None:
    body, _ = lived()
    columns = {key: value for key, value in body.items() if key not in {"kind", "v"}}
    listed = [row if "table" in row else columns | row for row in rows]
    shown = [{"table": row.pop("table", "instance_lives"), **dict(sorted(row.items()))} for row in listed]
    audit = forge(shown_as(lived(), rows=shown)).judge(*ROWS, standing_instance())
    where = f"instance {INSTANCE} version 1 (leaf 2 of node-1, block 1)"
    assert f"{where}: {what}" in found(audit)
    assert audit.code == verify.CONTRADICTION


def test_only_ten_findings_are_printed_and_a_thousand_are_listed() -> None:
    audit = forge(*(said(seq, None) for seq in range(1, 1_201))).judge(*ROWS)
    text = verify.render_text(audit, "record").splitlines()
    assert (len(text), text[-1]) == (12, "  and 1191 more (--json lists them)")
    assert (audit.findings.total, len(audit.findings.contradictions)) == (1_201, 1_000)


@pytest.mark.parametrize(
    ("counts", "granted"),
    [
        ((1, 2, 3), (1, 2, 3)),
        ((9_000, 9_000, 9_000), (3_333, 3_333, 3_334)),
        ((10_000, 10, 10_000), (4_995, 10, 4_995)),
        ((0, 0, 10_000), (0, 0, 10_000)),
        ((10_000, 10_000), (5_000, 5_000)),
        ((10_000, 4_000, 4_000), (3_334, 3_333, 3_333)),
    ],
)
def test_a_block_is_shared_among_the_leaves_that_were_reported(
    counts: tuple[int, ...], granted: tuple[int, ...]
) -> None:
    reports = [{"node": f"n{place}", "first": 5, "count": count} for place, count in enumerate(counts)]
    spans = verify.share_leaves(reports)
    assert spans == [[f"n{place}", 5, 4 + many] for place, many in enumerate(granted) if many]
