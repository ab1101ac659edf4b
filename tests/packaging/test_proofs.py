"""The proofs of `scripts/prove`, once. CI tries them as often as `CCN_FAILOVERS` says."""

from __future__ import annotations

import os

import pytest

from scripts.proofs import failover, losses, restored
from scripts.proofs.outcome import ProofOutcome

TIMES = int(os.environ.get("CCN_FAILOVERS", "0"))
pytestmark = pytest.mark.timeout(1_800 if TIMES else 180)


def _check_kept(outcome: ProofOutcome, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print("\n" + outcome.table(name))  # noqa: T201 - people want to see it
    assert outcome.kept


async def test_what_was_acknowledged_is_there_after_each_failover(
    capsys: pytest.CaptureFixture[str],
) -> None:
    _check_kept(await failover.prove_failovers(TIMES or 1, "suite"), "failover", capsys)


async def test_each_node_notices_what_a_standby_that_was_behind_has_lost(
    capsys: pytest.CaptureFixture[str],
) -> None:
    _check_kept(await losses.prove_losses(max(TIMES // 4, 1), "suite"), "losses", capsys)


async def test_no_door_answers_from_an_older_copy_of_the_database(
    capsys: pytest.CaptureFixture[str],
) -> None:
    _check_kept(await restored.prove_restored(max(TIMES // 4, 1), "suite"), "restored", capsys)


def test_one_broken_promise_breaks_the_proof() -> None:
    outcome = ProofOutcome({"tried": 2}, {"lost": 1, "doubled": 0})
    assert not outcome.kept
    assert outcome.table("failover").splitlines() == [
        "failover: BROKEN",
        "  tried        2",
        "  lost (0)     1",
        "  doubled (0)  0",
    ]
    assert ProofOutcome({}, {"lost": 0}).kept
