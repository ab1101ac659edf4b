"""A leaf that no block has sealed yet proves nothing, contradicts nothing, and fills no gap but its own."""

from __future__ import annotations

import io

import pytest

from ccn.cli import verify
from tests.support.cli.verify.forger import Forger, Leaf
from tests.support.cli.verify.leaves import (
    CONVERSATION,
    ELSEWHERE,
    INSTANCE,
    OWNER,
    asked,
    begun,
    ended,
    lived,
    plate,
    redacted,
    replied,
    requested,
    said,
    snapshot,
    standing,
    standing_instance,
    vector,
    version_row,
)
from tests.support.cli.verify.records import RECORDS, cut_back, join

HEIGHTS = [(which, height) for which, most in ((0, 7), (1, 5)) for height in range(most)]


@pytest.mark.parametrize(("which", "height"), HEIGHTS)
def test_a_record_verifies_at_every_height_while_the_rest_of_it_waits(which: int, height: int) -> None:
    audit = verify.verify(io.BytesIO(join(cut_back(RECORDS[which], height))))
    assert (audit.findings.contradictions, audit.findings.invalid) == ([], "")
    assert audit.code == (verify.VERIFIED if height else verify.UNSIGNED)
    assert audit.chain.height == height


def wait(*leaves: Leaf, node: str = "node-2", first: int = 1, **place: int) -> list[dict[str, object]]:
    """Lines of leaves that wait."""
    bodies = [
        body | {"node": node, "number": number} | place for number, (body, _) in enumerate(leaves, first)
    ]
    return [
        {"waiting": [node, number, dict(sorted(body.items()))]} for number, body in enumerate(bodies, first)
    ]


def judge(sealed: list[Leaf], *lines: dict[str, object], head: int) -> verify.Audit:
    forger = Forger()
    forger.seal({"node-1": [begun(), *sealed]})
    return forger.judge(*lines, version_row(), standing(head), standing_instance())


def found(audit: verify.Audit) -> list[str]:
    return [f"{where}: {what}" for _, where, what in audit.findings.ordered]


def test_what_waits_completes_what_is_sealed() -> None:
    audit = judge([asked(1)], *wait(lived(), replied(2), ended(1, 2)), head=2)
    assert (audit.code, found(audit)) == (verify.VERIFIED, [])
    counts = audit.findings.counts
    assert (counts["waiting"], counts["messages"], counts.get("turns", 0)) == (3, 1, 0)
    assert "3 leaves are not sealed yet and prove nothing" in verify.render_text(audit, "x")


def test_what_waits_cannot_contradict_what_is_sealed() -> None:
    sealed = [asked(1), lived(), replied(2), ended(1, 2), plate()]
    again = wait(
        begun(status="closed"), asked(1), replied(2), ended(1, None), lived(status="failed"), plate(),
        ended(1, 2, status="failed"), lived(conversation=ELSEWHERE), requested(error="other"),
        snapshot(head=9), vector(7),
        asked(2, speaker=f"instance:{INSTANCE}"), replied(1, speaker=f"account:{OWNER}"),
    )  # fmt: skip
    audit = judge(sealed, *again, head=2)
    assert (audit.code, found(audit)) == (verify.VERIFIED, [])


def test_a_redaction_that_waits_allows_what_it_takes_away() -> None:
    audit = judge([lived(), said(1, None)], *wait(redacted(1, 1)), head=1)
    assert (audit.code, found(audit), audit.findings.counts["redacted"]) == (verify.VERIFIED, [], 1)


def test_a_message_that_waits_shows_nothing_that_a_redaction_could_have_taken_away() -> None:
    audit = judge([lived(), redacted(1, 1)], *wait(said(1)), head=1)
    assert (audit.code, found(audit)) == (verify.VERIFIED, [])


def test_a_gap_among_the_leaves_that_wait_is_found() -> None:
    audit = judge([lived()], *wait(said(1), first=2), head=1)
    assert found(audit) == ["leaf 1 of node-2: is missing, though not sealed"]
    audit = judge([lived()], *wait(said(1), node="node-1", first=4), head=1)
    assert found(audit) == ["leaf 3 of node-1: is missing, though not sealed"]


def test_a_leaf_that_waits_is_the_one_that_its_table_names() -> None:
    audit = judge([lived()], *wait(said(1), number=7), head=0)
    assert found(audit) == ["leaf 1 of node-2, not sealed: its body names itself leaf 7 of node-2"]


def test_a_leaf_that_waits_looks_like_one_of_its_kind() -> None:
    audit = judge([lived()], *wait(said(1, role=1)), head=0)
    assert found(audit) == ["leaf 1 of node-2, not sealed: its role is not what a message has"]
    audit = judge([lived()], {"waiting": ["node-2", 1, "AAAA"]}, head=0)
    assert found(audit) == ["leaf 1 of node-2, not sealed: its body is not canonical JSON"]


def test_a_conversation_that_only_waits_still_needs_its_rows() -> None:
    audit = judge([lived()], *wait(begun(conversation=ELSEWHERE)), head=0)
    assert CONVERSATION != ELSEWHERE
    assert found(audit) == [
        f"conversation {ELSEWHERE} version 1: its row is missing",
        f"conversation {ELSEWHERE}: is not shown as it stands now",
    ]
