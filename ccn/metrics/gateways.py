"""Gateways and voters, as each sees the other."""

from __future__ import annotations

from ccn.metrics import series

_voter_questions = series.counter(
    "ccn_voter_questions_total",
    "Questions of this gateway to voters. Alarming: many with an outcome that tells of no answer.",
    ("method", "outcome"),
)
_gateways = series.gauge(
    "ccn_gateways_seen",
    "Gateways that asked this node something lately. Alarming: fewer than there should be.",
)


def count_voter_question(method: str, outcome: str) -> None:
    """Count a question of this gateway that a voter answered, or did not."""
    _voter_questions.labels(method, outcome).inc()


def set_gateways(count: int) -> None:
    """Show how many gateways this node has heard of lately."""
    _gateways.set(count)
