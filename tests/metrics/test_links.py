"""How long the certificate of each link lasts, and whether a newer one was refused."""

from __future__ import annotations

from collections.abc import Callable

from ccn import metrics


def test_a_refused_pair_is_told_until_a_good_one_comes(value: Callable[[str], float | None]) -> None:
    metrics.links.set_certificate_refused("test", refused=True)
    assert value('ccn_certificate_refused{link="test"}') == 1.0
    metrics.links.set_certificate_refused("test", refused=False)
    assert value('ccn_certificate_refused{link="test"}') == 0.0


def test_days_are_told_for_each_link_also_when_they_are_over(value: Callable[[str], float | None]) -> None:
    metrics.links.set_certificate_days_left("test", -1.5)
    metrics.links.set_certificate_days_left("test-2", 89.0)
    assert value('ccn_certificate_days_left{link="test"}') == -1.5
    assert value('ccn_certificate_days_left{link="test-2"}') == 89.0
