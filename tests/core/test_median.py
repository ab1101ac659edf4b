"""The median against a slow definition in fractions, and against what a float would get wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ccn.core import median

Rows = Sequence[Sequence[int | None]]

value = st.none() | st.integers(0, 1_000_000) | st.integers(0, 3)
tables = st.integers(1, 4).flatmap(
    lambda axes: st.lists(st.lists(value, min_size=axes, max_size=axes), min_size=1, max_size=24)
)


def matrix(rows: Rows) -> median.Matrix:
    return np.array([[median.MISSING if v is None else v for v in row] for row in rows], dtype=np.int32)


def defined(rows: Rows, owners: Sequence[int]) -> tuple[int | None, ...]:
    """The smallest value with at least half of the weight at or below it, each owner weighing one."""
    return tuple(_of(list(zip(column, owners, strict=True))) for column in zip(*rows, strict=True))


def _of(column: list[tuple[int | None, int]]) -> int | None:
    shown = sorted((value, owner) for value, owner in column if value is not None)
    counts = Counter(owner for _, owner in shown)
    weight = Fraction(0)
    for value, owner in shown:
        weight += Fraction(1, counts[owner])
        if weight >= Fraction(len(counts), 2):
            return value
    return None


@given(rows=tables)
def test_with_equal_rows_it_is_the_lower_median(rows: list[list[int | None]]) -> None:
    assert median.by_row(matrix(rows)) == defined(rows, range(len(rows)))


@given(rows=tables, data=st.data())
def test_with_equal_owners_it_is_the_weighted_median(
    rows: list[list[int | None]], data: st.DataObject
) -> None:
    owners = data.draw(st.lists(st.integers(0, 5), min_size=len(rows), max_size=len(rows)))
    assert median.by_owner(matrix(rows), np.array(owners)) == defined(rows, owners)


@given(rows=tables, data=st.data())
def test_the_order_of_the_rows_changes_nothing(rows: list[list[int | None]], data: st.DataObject) -> None:
    owners = data.draw(st.lists(st.integers(0, 3), min_size=len(rows), max_size=len(rows)))
    order = data.draw(st.permutations(range(len(rows))))
    one, shuffled = matrix(rows), matrix([rows[i] for i in order])
    assert median.by_row(one) == median.by_row(shuffled)
    assert median.by_row(one) == median.by_row(np.asfortranarray(one))
    turned = np.array([owners[i] for i in order])
    assert median.by_owner(one, np.array(owners)) == median.by_owner(shuffled, turned)


@given(rows=tables)
def test_the_median_is_a_value_that_somebody_reported(rows: list[list[int | None]]) -> None:
    for middle, column in zip(median.by_row(matrix(rows)), zip(*rows, strict=True), strict=True):
        assert middle in column or (middle is None and set(column) == {None})


def test_of_two_values_the_lower_is_taken_and_no_mean_is_made() -> None:
    assert median.by_row(matrix([[1], [2]])) == (1,)
    assert median.by_row(matrix([[999_999], [1_000_000]])) == (999_999,)
    assert median.by_owner(matrix([[1], [2]]), np.array([0, 1])) == (1,)


def test_an_exact_half_is_enough_where_a_float_sum_falls_short() -> None:
    # Ten rows of a tenth: summed as floats, the first owner's weight is 0.9999999999999999.
    rows = [[1]] * 10 + [[2]]
    assert sum([0.1] * 10) < 1
    assert median.by_owner(matrix(rows), np.array([0] * 10 + [1])) == (1,)


@given(counts=st.lists(st.integers(9_000, 10_000), min_size=5, max_size=7, unique=True))
def test_shares_whose_common_multiple_fits_no_machine_word_stay_exact(counts: list[int]) -> None:
    owners = np.repeat(np.arange(len(counts)), counts)
    ordered = np.arange(len(owners), dtype=np.int32).reshape(-1, 1)
    starts = np.cumsum([0, *counts])
    half, odd = divmod(len(counts), 2)
    expected = starts[half] + (counts[half] - 1) // 2 if odd else starts[half] - 1
    assert median.by_owner(ordered, owners) == (expected,)


def test_a_node_with_most_instances_does_not_own_the_median() -> None:
    rows = [[900_000]] * 97 + [[500_000], [500_001], [500_002]]
    assert median.by_row(matrix(rows)) == (900_000,)
    assert median.by_owner(matrix(rows), np.array([0] * 97 + [1, 2, 3])) == (500_001,)


@given(
    honest=st.lists(st.integers(400_000, 600_000), min_size=3, max_size=3), lies=st.lists(value, max_size=9)
)
def test_one_liar_of_four_cannot_move_the_median_out_of_the_honest_range(
    honest: list[int], lies: list[int | None]
) -> None:
    rows = [[v] for v in honest] + [[lie] for lie in lies]
    middle = median.by_owner(matrix(rows), np.array([0, 1, 2] + [3] * len(lies)))[0]
    assert middle is not None
    assert min(honest) <= middle <= max(honest)


def test_an_axis_that_nobody_shows_has_no_median() -> None:
    rows: Rows = [[None, 1], [None, 2]]
    assert median.by_row(matrix(rows)) == (None, 1)
    assert median.by_owner(matrix(rows), np.array([0, 1])) == (None, 1)


def test_without_rows_there_is_no_median() -> None:
    empty = np.empty((0, 3), dtype=np.int32)
    assert median.by_row(empty) == (None, None, None)
    assert median.by_owner(empty, np.empty(0, dtype=np.int64)) == (None, None, None)
