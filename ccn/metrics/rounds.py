"""Rounds that this node led."""

from __future__ import annotations

from ccn.metrics import series

_rounds = series.counter(
    "ccn_consensus_rounds_total",
    "Rounds this node led, by outcome: committed or failed. Alarming: more than one in ten failed.",
    ("outcome",),
)
_round_latency = series.histogram(
    "ccn_consensus_latency_seconds",
    "Time of a round this node led, to its outcome. Alarming: 95 % above half of the round's limit.",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
_outliers = series.counter(
    "ccn_outlier_instances_total",
    "Instances beyond the tolerance, counted in each block this node committed. Alarming: a steady rise.",
)


def observe_round(seconds: float, outliers: int | None) -> None:
    """Time a round of this leader and count its outliers; `outliers` is None if it failed."""
    _rounds.labels("failed" if outliers is None else "committed").inc()
    _round_latency.observe(seconds)
    _outliers.inc(outliers or 0)
