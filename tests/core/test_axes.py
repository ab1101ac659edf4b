"""Vectors on the grid of millionths, and what cannot be put there."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccn import errors
from ccn.core import axes
from ccn.core.axes import AXES, RELATIONAL, UNIT, Vector

scores = st.none() | st.floats(0, 1)


def test_there_are_sixteen_axes_and_seven_relational_ones() -> None:
    assert (len(set(AXES)), len(set(RELATIONAL))) == (16, 7)


@given(given_scores=st.lists(scores, min_size=16, max_size=16))
def test_scores_come_back_within_half_a_millionth(given_scores: list[float | None]) -> None:
    back = axes.quantise_scores(given_scores).scores()
    for before, after in zip(given_scores, back, strict=True):
        if before is None or after is None:
            assert before is after
        else:
            assert math.isclose(before, after, rel_tol=0, abs_tol=0.500_001 / UNIT)
            assert 0 <= after <= 1


@given(millionths=st.lists(st.none() | st.integers(0, UNIT), min_size=16, max_size=16))
def test_what_is_on_the_grid_stays_where_it_is(millionths: list[int | None]) -> None:
    vector = Vector(tuple(millionths))
    assert axes.quantise_scores(vector.scores()) == vector


@pytest.mark.parametrize("score", [float("nan"), float("inf"), -float("inf"), -1e-9, 1.000001, 2])
def test_a_score_outside_zero_to_one_is_refused_by_its_axis(score: float) -> None:
    with pytest.raises(errors.InputInvalid, match="precision"):
        axes.quantise_scores([0.5, 0.5, 0.5, score, *[0.5] * 12])


@pytest.mark.parametrize("count", [0, 7, 15, 17])
def test_a_vector_of_another_length_is_refused(count: int) -> None:
    with pytest.raises(errors.InputInvalid, match="16 axes"):
        axes.quantise_scores([0.5] * count)


def test_relational_scores_have_seven_axes() -> None:
    vector = axes.quantise_scores([0, 1, 0.5, None, 0.25, 0.000001, 0.9999999], RELATIONAL)
    assert vector.millionths == (0, UNIT, 500_000, None, 250_000, 1, UNIT)


def test_scores_of_any_number_type_become_plain_integers() -> None:
    vector = axes.quantise_scores([*np.full(15, 0.25, dtype=np.float32), 1])
    assert set(map(type, vector.millionths)) == {int}
