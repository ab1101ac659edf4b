"""Three references: each shows what the others hide."""

from __future__ import annotations

import numpy as np
import pytest

from ccn.core.character import references

STILL = np.full(16, 0.6)


def test_a_distance_is_over_the_axes_that_both_show() -> None:
    here, there = STILL.copy(), STILL.copy()
    here[0], there[1] = np.nan, np.nan
    there[2:] += 0.1
    assert references.measure_distance(here, there) == pytest.approx(0.1)
    assert references.measure_distance(np.full(16, np.nan), there) is None


def test_an_instance_that_changed_is_far_from_its_past_and_one_that_did_not_is_not() -> None:
    draw = np.random.default_rng(1)
    same = 0.6 + 0.02 * draw.normal(size=(60, 16))
    changed = same.copy()
    changed[-references.RECENT :] -= 0.2
    assert references.distance_from_past(same) == pytest.approx(0, abs=0.02)
    assert references.distance_from_past(changed) == pytest.approx(0.2, abs=0.02)


def test_the_past_of_few_messages_is_not_estimable() -> None:
    assert references.distance_from_past(np.tile(STILL, (2 * references.LEAST - 1, 1))) is None
    assert references.distance_from_past(np.tile(STILL, (2 * references.LEAST, 1))) == 0


def test_a_mean_leaves_out_what_was_not_shown() -> None:
    rows = np.array([[0.2, np.nan], [0.4, np.nan]])
    assert references.mean_axes(rows)[0] == pytest.approx(0.3)
    assert np.isnan(references.mean_axes(rows)[1])
