"""Gateways and voters, as each sees the other."""

from __future__ import annotations

from collections.abc import Callable

from ccn import metrics


def test_questions_are_counted_by_what_was_asked_and_what_came_of_it(
    value: Callable[[str], float | None],
) -> None:
    metrics.gateways.count_voter_question("test", "answered")
    metrics.gateways.count_voter_question("test", "answered")
    metrics.gateways.count_voter_question("test", "PeerUnavailable")
    assert value('ccn_voter_questions_total{method="test",outcome="answered"}') == 2.0
    assert value('ccn_voter_questions_total{method="test",outcome="PeerUnavailable"}') == 1.0


def test_gateways_that_were_seen_are_told(value: Callable[[str], float | None]) -> None:
    metrics.gateways.set_gateways(3)
    assert value("ccn_gateways_seen") == 3.0
