"""The median against a slow definition in fractions, and against what a float would get wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from ccn.core.chain import median

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
    assert median.by_group(matrix(rows), np.array(owners)) == defined(rows, owners)


@given(rows=tables, data=st.data())
def test_the_order_of_the_rows_changes_nothing(rows: list[list[int | None]], data: st.DataObject) -> None:
    owners = data.draw(st.lists(st.integers(0, 3), min_size=len(rows), max_size=len(rows)))
    order = data.draw(st.permutations(range(len(rows))))
    one, shuffled = matrix(rows), matrix([rows[i] for i in order])
    assert median.by_row(one) == median.by_row(shuffled)
    assert median.by_row(one) == median.by_row(np.asfortranarray(one))
    turned = np.array([owners[i] for i in order])
    assert median.by_group(one, np.array(owners)) == median.by_group(shuffled, turned)


@given(rows=tables)
def test_the_median_is_a_value_that_somebody_reported(rows: list[list[int | None]]) -> None:
    for middle, column in zip(median.by_row(matrix(rows)), zip(*rows, strict=True), strict=True):
        assert middle in column or (middle is None and set(column) == {None})


def test_of_two_values_the_lower_is_taken_and_no_mean_is_made() -> None:
    assert median.by_row(matrix([[1], [2]])) == (1,)
    assert median.by_row(matrix([[999_999], [1_000_000]])) == (999_999,)
    assert median.by_group(matrix([[1], [2]]), np.array([0, 1])) == (1,)


def test_an_exact_half_is_enough_where_a_float_sum_falls_short() -> None:
    # Ten rows of a tenth: summed as floats, the first owner's weight is 0.9999999999999999.
    rows = [[1]] * 10 + [[2]]
    assert sum([0.1] * 10) < 1
    assert median.by_group(matrix(rows), np.array([0] * 10 + [1])) == (1,)


@given(counts=st.lists(st.integers(9_000, 10_000), min_size=5, max_size=7, unique=True))
def test_shares_whose_common_multiple_fits_no_machine_word_stay_exact(counts: list[int]) -> None:
    owners = np.repeat(np.arange(len(counts)), counts)
    ordered = np.arange(len(owners), dtype=np.int32).reshape(-1, 1)
    starts = np.cumsum([0, *counts])
    half, odd = divmod(len(counts), 2)
    expected = starts[half] + (counts[half] - 1) // 2 if odd else starts[half] - 1
    assert median.by_group(ordered, owners) == (expected,)


def test_a_node_with_most_instances_does_not_own_the_median() -> None:
    rows = [[900_000]] * 97 + [[500_000], [500_001], [500_002]]
    assert median.by_row(matrix(rows)) == (900_000,)
    assert median.by_group(matrix(rows), np.array([0] * 97 + [1, 2, 3])) == (500_001,)


@given(
    honest=st.lists(st.integers(400_000, 600_000), min_size=3, max_size=3), lies=st.lists(value, max_size=9)
)
def test_one_liar_of_four_cannot_move_the_median_out_of_the_honest_range(
    honest: list[int], lies: list[int | None]
) -> None:
    rows = [[v] for v in honest] + [[lie] for lie in lies]
    middle = median.by_group(matrix(rows), np.array([0, 1, 2] + [3] * len(lies)))[0]
    assert middle is not None
    assert min(honest) <= middle <= max(honest)


def cells(rows: Rows, owners: Sequence[int], nodes: Sequence[int], liars: int) -> tuple[int | None, ...]:
    """What `by_both` says of itself, in fractions."""
    return tuple(
        _held(
            sorted((v, o, n) for v, o, n in zip(column, owners, nodes, strict=True) if v is not None), liars
        )
        for column in zip(*rows, strict=True)
    )


def _held(shown: list[tuple[int, int, int]], liars: int) -> int | None:
    if not shown:
        return None
    rows = Counter((owner, node) for _, owner, node in shown)
    hosts, whose = Counter(node for _, node in rows), Counter(owner for owner, _ in rows)
    fair = [Fraction(1, max(hosts[n], whose[o]) * rows[o, n]) for _, o, n in shown]
    even = [Fraction(1, hosts[n] * rows[o, n]) for _, o, n in shown]
    assert all(
        sum(w for w, row in zip(fair, shown, strict=True) if row[which] == one) <= 1
        for which in (1, 2)
        for one in {row[which] for row in shown}
    ), "no owner and no node weighs more than one"

    def least(weights: list[Fraction], enough: Callable[[Fraction], bool]) -> int:
        return next(row[0] for at, row in enumerate(shown) if enough(sum(weights[: at + 1], Fraction(0))))

    nodes = len(hosts)
    if nodes <= 2 * liars:
        return least(even, lambda weight: 2 * weight >= nodes)
    middle = least(fair, lambda weight: 2 * weight >= sum(fair))
    low, high = (
        least(even, lambda weight: weight > liars),
        least(even, lambda weight: weight >= nodes - liars),
    )
    return min(max(middle, low), high)


@given(rows=tables, data=st.data(), liars=st.integers(0, 2))
def test_with_owners_and_nodes_it_is_what_the_slow_way_says(
    rows: list[list[int | None]], data: st.DataObject, liars: int
) -> None:
    owners, nodes = (
        data.draw(st.lists(st.integers(0, most), min_size=len(rows), max_size=len(rows))) for most in (5, 3)
    )
    found = median.by_both(matrix(rows), np.array(owners), np.array(nodes), liars)
    assert found == cells(rows, owners, nodes, liars)
    order = data.draw(st.permutations(range(len(rows))))
    whose, hosts = (np.array([of[i] for i in order]) for of in (owners, nodes))
    assert median.by_both(matrix([rows[i] for i in order]), whose, hosts, liars) == found


honest = st.lists(
    st.tuples(st.integers(400_000, 600_000), st.integers(0, 5), st.integers(0, 2)), min_size=1, max_size=20
)


@given(
    honest=honest,
    lies=st.lists(st.tuples(value, st.integers(0, 99)), max_size=20),
)
def test_no_liar_of_four_nodes_moves_the_median_out_of_the_honest_range_whatever_owners_it_makes_up(
    honest: list[tuple[int, int, int]], lies: list[tuple[int | None, int]]
) -> None:
    nodes = [node for _, _, node in honest] + [3] * len(lies)
    owners = [owner for _, owner, _ in honest] + [owner for _, owner in lies]
    rows = [[v] for v, _, _ in honest] + [[v] for v, _ in lies]
    assume(len({node for _, _, node in honest}) > 1)  # else nobody can tell who lies
    [middle] = median.by_both(matrix(rows), np.array(owners), np.array(nodes), 1)
    assert middle is not None
    assert min(v for v, _, _ in honest) <= middle <= max(v for v, _, _ in honest)


@given(
    others=st.lists(
        st.lists(st.integers(400_000, 600_000), min_size=1, max_size=9), min_size=2, max_size=9
    ),
    mass=st.lists(value, max_size=99),
)
def test_one_owner_of_three_or_more_cannot_move_the_median_out_of_the_range_of_the_others(
    others: list[list[int]], mass: list[int | None]
) -> None:
    rows = [[v] for owner in others for v in owner] + [[v] for v in mass]
    owners = np.repeat(np.arange(len(others) + 1), [*map(len, others), len(mass)])
    [middle] = median.by_group(matrix(rows), owners)
    assert middle is not None
    assert min(map(min, others)) <= middle <= max(map(max, others))


def test_an_owner_alone_on_most_nodes_does_not_own_the_median_either() -> None:
    """By nodes alone it would: nobody else has an instance there."""
    rows = [[500_000]] * 5 + [[0]] * 40
    owners, nodes = np.array([0, 1, 2, 3, 4, *[5] * 40]), np.array([0, 1, 0, 1, 0, *[0, 1, 2, 3] * 10])
    assert median.by_group(matrix(rows), nodes) == (0,)
    assert median.by_both(matrix(rows), owners, nodes, 1) == (500_000,)


def test_an_axis_that_nobody_shows_has_no_median() -> None:
    rows: Rows = [[None, 1], [None, 2]]
    assert median.by_row(matrix(rows)) == (None, 1)
    assert median.by_group(matrix(rows), np.array([0, 1])) == (None, 1)
    assert median.by_both(matrix(rows), np.array([0, 1]), np.array([0, 1]), 0) == (None, 1)


def test_without_rows_there_is_no_median() -> None:
    empty = np.empty((0, 3), dtype=np.int32)
    assert median.by_row(empty) == (None, None, None)
    nothing = np.empty(0, dtype=np.int64)
    assert median.by_group(empty, nothing) == (None, None, None)
    assert median.by_both(empty, nothing, nothing, 1) == (None, None, None)
