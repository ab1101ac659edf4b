"""How instances speak, and what was done about it."""

from __future__ import annotations

from collections.abc import Callable

from ccn import metrics


def test_a_character_without_instances_here_has_no_drift_any_more(
    value: Callable[[str], float | None],
) -> None:
    metrics.character.set_drifts({"wren": 0.02, "test": 0.3})
    assert value('ccn_character_drift{character="test"}') == 0.3
    metrics.character.set_drifts({"wren": 0.04})
    assert value('ccn_character_drift{character="test"}') is None
    assert value('ccn_character_drift{character="wren"}') == 0.04
    metrics.character.set_drifts({})


def test_a_distance_that_is_not_estimable_has_no_series(value: Callable[[str], float | None]) -> None:
    metrics.character.set_charter_distance("test", 0.125)
    assert value('ccn_character_charter_distance{character="test"}') == 0.125
    for _ in range(2):
        metrics.character.set_charter_distance("test", None)
        assert value('ccn_character_charter_distance{character="test"}') is None


def test_steps_and_replies_without_a_score_are_counted(value: Callable[[str], float | None]) -> None:
    unscored = value("ccn_unscored_replies_total") or 0.0
    metrics.character.count_unscored()
    metrics.character.count_restoration("test")
    assert value("ccn_unscored_replies_total") == unscored + 1
    assert value('ccn_restorations_total{step="test"}') == 1.0
