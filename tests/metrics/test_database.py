"""The replicas that this process reads from."""

from __future__ import annotations

from collections.abc import Callable

from ccn import metrics


def test_a_replica_that_does_not_answer_has_no_lag(value: Callable[[str], float | None]) -> None:
    """The last figure of one that is silent would look like a healthy replica."""
    metrics.database.set_replica(7, used=True, lag_s=0.25)
    assert value('ccn_replica_lag_seconds{replica="7"}') == 0.25
    for _ in range(2):
        metrics.database.set_replica(7, used=False, lag_s=None)
        assert value('ccn_replica_lag_seconds{replica="7"}') is None
    assert value('ccn_replica_used{replica="7"}') == 0.0


def test_reads_are_counted_by_who_answered_or_why_no_replica_did(
    value: Callable[[str], float | None],
) -> None:
    before = value('ccn_replica_reads_total{outcome="late"}') or 0.0
    metrics.database.count_replica_read("late")
    assert value('ccn_replica_reads_total{outcome="late"}') == before + 1
