"""Which cosignatures make a record final, and what a checkpoint from an earlier visit finds."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from typing import Any

import pytest

from ccn.cli import verify
from tests.support.cli.verify.forger import ORIGIN, Forger
from tests.support.cli.verify.leaves import begun, standing, version_row

ROWS = (version_row(), standing())
Lines = list[list[str]]


def forge(**changed: Any) -> Forger:
    forger = Forger()
    forger.seal({"node-1": [begun()]}, **changed)
    return forger


def checkpoint_of(forger: Forger) -> dict[str, Any]:
    found: dict[str, Any] = forger.lines[-1]["checkpoint"]
    return found


def found(audit: verify.Audit) -> list[str]:
    return [f"{where}: {what}" for _, where, what in audit.findings.ordered]


@pytest.mark.parametrize(
    ("cosigning", "code"),
    [
        (["node-1", "node-2", "node-3"], verify.VERIFIED),
        (["node-2", "node-3"], verify.VERIFIED),
        (["node-3"], verify.UNSIGNED),
        ([], verify.UNSIGNED),
    ],
)
def test_a_quorum_of_cosignatures_makes_a_record_final(cosigning: list[str], code: int) -> None:
    audit = forge(cosigning=cosigning).judge(*ROWS)
    assert (audit.code, found(audit)) == (code, [])
    assert audit.chain.cosigners == (cosigning if code == verify.VERIFIED else [])


def test_a_record_is_final_up_to_the_last_block_that_enough_cosigned() -> None:
    forger = forge()
    forger.seal(cosigning=["node-1"])
    audit = forger.judge(*ROWS)
    assert (audit.code, audit.chain.height, audit.chain.final_height) == (verify.UNSIGNED, 2, 1)


def test_cosignatures_of_others_are_counted_and_not_checked() -> None:
    forger = forge()
    name = "witness.example/w1"
    blob = base64.b64encode(bytes(76)).decode()
    checkpoint_of(forger)["cosignatures"].append([name, f"\N{EM DASH} {name} {blob}\n"])
    audit = forger.judge(*ROWS)
    assert (audit.code, audit.findings.counts["strangers"]) == (verify.VERIFIED, 1)
    assert "1 cosignature of others than validators, not checked" in verify.render_text(audit, "x")


def _of_another(lines: Lines) -> None:
    lines[0][1] = lines[1][1]


def _by_another_key(lines: Lines) -> None:
    dash, name, blob = lines[0][1].split(" ")
    data = base64.b64decode(blob)
    lines[0][1] = f"{dash} {name} {base64.b64encode(bytes(4) + data[4:]).decode()}\n"


def _of_another_time(lines: Lines) -> None:
    dash, name, blob = lines[0][1].split(" ")
    data = bytearray(base64.b64decode(blob))
    data[11] ^= 1
    lines[0][1] = f"{dash} {name} {base64.b64encode(bytes(data)).decode()}\n"


def _longer(lines: Lines) -> None:
    dash, name, blob = lines[0][1].split(" ")
    lines[0][1] = f"{dash} {name} {base64.b64encode(base64.b64decode(blob) + bytes(3)).decode()}\n"


def _without_its_dash(lines: Lines) -> None:
    lines[0][1] = lines[0][1].replace("\N{EM DASH}", "-")


def _of_one_word(lines: Lines) -> None:
    lines[0][1] = "nothing\n"


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (_of_another, f"the cosignature of {ORIGIN}/node-1 is one of {ORIGIN}/node-2"),
        (_by_another_key, "the cosignature of node-1 names another key"),
        (_of_another_time, "node-1 did not cosign this"),
        (_longer, "node-1 did not cosign this"),
        (_without_its_dash, "is not a cosignature"),
        (_of_one_word, "'nothing\\n' is not a cosignature"),
    ],
)
def test_a_cosignature_that_is_none_is_found(change: Callable[[Lines], None], what: str) -> None:
    forger = forge()
    change(checkpoint_of(forger)["cosignatures"])
    audit = forger.judge(*ROWS)
    (finding,) = audit.findings.contradictions
    assert (finding.where, finding.what.endswith(what)) == ("checkpoint 2", True)


@pytest.mark.parametrize("twice", [True, False])
def test_cosignatures_stand_in_order_and_once(twice: bool) -> None:
    forger = forge()
    lines = checkpoint_of(forger)["cosignatures"]
    lines[:] = [*lines, lines[-1]] if twice else lines[::-1]
    audit = forger.judge(*ROWS)
    assert audit.findings.invalid == "line 4: its cosignatures are not in order, or one stands twice"


def test_a_checkpoint_of_a_size_at_which_no_block_ends_is_found() -> None:
    forger, longer = forge(cosigning=[]), forge()
    longer.seal()
    forger.lines[-1] = longer.lines[-1]
    audit = forger.judge(*ROWS)
    assert found(audit)[0] == "checkpoint 3: there is no block that ends there"
    assert audit.code == verify.CONTRADICTION


def test_a_checkpoint_of_another_tree_is_found() -> None:
    forger, other = forge(), Forger()
    other.seal({"node-2": [begun()]})
    forger.lines[-1] = other.lines[-1]
    assert found(forger.judge(*ROWS))[0] == "checkpoint 2: its root is not the one the leaves make"


def test_a_checkpoint_says_nothing_but_its_three_lines() -> None:
    forger = forge()
    checkpoint_of(forger)["note"] += "\nmore\n"
    assert found(forger.judge(*ROWS)) == ["checkpoint 2: says more than a checkpoint does"]


@pytest.mark.parametrize(
    "note", ["", "a\n1\n", "a\nb\nAAAA\n", "a\n01\n" + "A" * 43 + "=\n", "a\n1\nAAAA\n"]
)
def test_what_is_no_checkpoint_is_refused(note: str) -> None:
    with pytest.raises(verify.RecordError, match="this is not a checkpoint"):
        verify.parse_note(note)


def judge_with(forger: Forger, known: str) -> verify.Audit:
    record = io.BytesIO(forger.close(*ROWS))
    return verify.verify(record, known=[verify.parse_note(known)])


def test_a_checkpoint_from_an_earlier_visit_is_one_of_the_record() -> None:
    forger = forge()
    known = checkpoint_of(forger)["note"]
    assert judge_with(forger, known).code == verify.VERIFIED
    forger.seal()
    assert judge_with(forger, known).code == verify.VERIFIED


def test_a_record_that_was_cut_back_or_is_another_one_contradicts_an_earlier_visit() -> None:
    longer, other = forge(), Forger()
    longer.seal()
    other.seal({"node-2": [begun()]})
    audit = judge_with(forge(), checkpoint_of(longer)["note"])
    where, what = "checkpoint 3", "you brought it, and no block ends there (the record ends at 2)"
    assert found(audit) == [f"{where}: {what}: cut back, or another log"]
    audit = judge_with(forge(), checkpoint_of(other)["note"])
    assert found(audit) == ["block 1: contradicts the checkpoint you brought: another tree of this size"]


def test_a_founding_that_is_not_the_one_named_is_found() -> None:
    record = forge().close(*ROWS)
    founding = Forger().hash.hex()
    assert verify.verify(io.BytesIO(record), founding).code == verify.VERIFIED
    audit = verify.verify(io.BytesIO(record), "00" * 32)
    assert found(audit) == [f"the founding (block 0): is {founding}, not the one you named"]
