"""Drift against a slow definition in unbounded integers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccn.core.axes import AXES, UNIT
from ccn.core.chain import drift

value = st.none() | st.integers(0, UNIT)
vectors = st.lists(value, min_size=16, max_size=16)


def defined(row: Sequence[int | None], centre: Sequence[int | None]) -> int:
    """The smallest integer whose square, times the shared axes, reaches the sum of the squares."""
    pairs = [(a, b) for a, b in zip(row, centre, strict=True) if a is not None and b is not None]
    squares = sum((a - b) ** 2 for a, b in pairs)
    if not pairs:
        return UNIT
    low = math.isqrt(squares // len(pairs))
    return low if low * low * len(pairs) >= squares else low + 1


def measured(rows: Sequence[Sequence[int | None]], centre: Sequence[int | None]) -> list[int]:
    matrix = np.array([[-1 if v is None else v for v in row] for row in rows], dtype=np.int32)
    found: list[int] = drift.measure_distances(matrix, centre).tolist()
    return found


@given(rows=st.lists(vectors, min_size=1, max_size=12), centre=vectors)
def test_it_is_the_root_mean_square_over_shared_axes_rounded_up(
    rows: list[list[int | None]], centre: list[int | None]
) -> None:
    assert measured(rows, centre) == [defined(row, centre) for row in rows]


@given(row=vectors, centre=vectors, tolerance=st.integers(0, UNIT - 1))
def test_an_instance_is_an_outlier_exactly_when_the_true_root_exceeds_the_tolerance(
    row: list[int | None], centre: list[int | None], tolerance: int
) -> None:
    pairs = [(a, b) for a, b in zip(row, centre, strict=True) if a is not None and b is not None]
    beyond = sum((a - b) ** 2 for a, b in pairs) > tolerance * tolerance * len(pairs) or not pairs
    found = drift.find_outliers(np.array(measured([row], centre)), tolerance)
    assert found.tolist() == ([0] if beyond else [])


def test_all_axes_off_by_the_tolerance_or_one_by_four_times_is_the_edge() -> None:
    centre = [500_000] * len(AXES)
    all_off = [600_000] * len(AXES)
    one_off = [900_000] + [500_000] * (len(AXES) - 1)
    assert measured([all_off, one_off], centre) == [100_000, 100_000]
    assert drift.find_outliers(np.array([100_000, 100_001]), 100_000).tolist() == [1]
    beyond = [600_001] + [600_000] * (len(AXES) - 1)
    assert measured([beyond], centre) == [100_001]


def test_the_smallest_difference_there_is_shows() -> None:
    centre: list[int | None] = [500_000] * 16
    assert measured([[500_001, *centre[1:]]], centre) == [1]
    assert measured([[500_017, *centre[1:]]], centre) == [5]


def test_without_a_shared_axis_the_drift_is_the_largest() -> None:
    nothing = [None] * 16
    half: list[int | None] = [0] * 8 + [None] * 8
    other: list[int | None] = [None] * 8 + [0] * 8
    assert measured([nothing, half], other) == [UNIT, UNIT]
    assert measured([half], nothing) == [UNIT]


def test_the_extremes_do_not_overflow() -> None:
    assert measured([[0] * 16, [UNIT] * 16], [UNIT] * 16) == [UNIT, 0]


@pytest.mark.parametrize("root", [0, 1, 2, 99_999, 100_000, UNIT, 2**26, 3_037_000_498])
def test_roots_are_exact_at_and_around_squares(root: int) -> None:
    square = root * root
    around = [max(square - 1, 0), square, square + 1]
    exact = [math.isqrt(n - 1) + 1 if n else 0 for n in around]
    assert drift.root_up(np.array(around)).tolist() == exact


@given(numbers=st.lists(st.integers(0, 2**62), min_size=1, max_size=20))
def test_roots_are_exact_everywhere(numbers: list[int]) -> None:
    exact = [math.isqrt(n - 1) + 1 if n else 0 for n in numbers]
    assert drift.root_up(np.array(numbers)).tolist() == exact


def test_no_rows_have_no_drift() -> None:
    assert drift.measure_distances(np.empty((0, 16), dtype=np.int32), [0] * 16).tolist() == []
