"""The measures of conversations: a series each, and no more of them than can be shown."""

from __future__ import annotations

from collections.abc import Callable

from ccn import metrics


def test_of_many_conversations_the_most_recently_active_hundred_are_shown(page: Callable[[], str]) -> None:
    for nth in range(150):
        metrics.measures.set_measures(f"many-{nth}", {"phi": 0.5, "ccc": None, "trust": 0.5})
    metrics.measures.set_measures("many-60", {"phi": 0.75})
    metrics.measures.set_measures("many-150", {"phi": 0.5})
    shown = [line for line in page().splitlines() if line.startswith("consciousness_phi_score{")]
    assert len(shown) == 100
    assert 'consciousness_phi_score{conversation="many-60"} 0.75' in shown
    assert 'consciousness_phi_score{conversation="many-50"} 0.5' not in shown
    assert 'consciousness_ccc_score{conversation="many' not in page(), "not estimable has no series"
    metrics.measures.retain_measures({"many-60"})
    assert page().count('{conversation="many-') == 1, "the trust of it was not estimable the last time"
