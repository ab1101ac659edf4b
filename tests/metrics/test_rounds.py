"""Rounds of this leader."""

from __future__ import annotations

from collections.abc import Callable

from ccn import metrics


def test_rounds_are_counted_by_outcome_with_their_outliers(value: Callable[[str], float | None]) -> None:
    names = (
        "ccn_outlier_instances_total",
        'ccn_consensus_rounds_total{outcome="failed"}',
        'ccn_consensus_rounds_total{outcome="committed"}',
        "ccn_consensus_latency_seconds_count",
    )
    before = [value(name) or 0.0 for name in names]
    metrics.rounds.observe_round(0.02, 3)
    metrics.rounds.observe_round(5.0, None)
    assert [value(name) for name in names] == [
        told + more for told, more in zip(before, (3, 1, 1, 2), strict=True)
    ]
