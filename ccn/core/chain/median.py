"""The lower weighted median of each axis, over integer vectors in which values may be missing.

It is the smallest value that at least half of the weight lies at or below: always a value that somebody
reported, and the same for every order of the rows. A row weighs one part of a whole number of parts, so
weights are compared as whole numbers; nothing that decides is a float. There are three ways to weigh:

    by_row      every row one
    by_group    every group one, split over those of its rows that show the axis: an owner, or a node,
                cannot own the median by having most rows
    by_both     no owner and no node more than one, for a cluster in which nodes may lie

In `by_both` the rows of one owner on one node weigh together one part of so many parts as there are owners
on that node, or nodes that have rows of that owner, whichever is more. So neither all parts of an owner nor
all parts of a node make more than one. A node that makes owners up gains nothing; but where few owners are,
it weighs as much as one of them. The median is therefore held within what no `liars` nodes can have made:
between the rows that are beyond the reach of so many nodes from either end, each node weighing one.

`scripts/bench fairness` shows how far somebody who has most rows can move each of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.int32]
"""One row an instance, one column an axis; values from 0 to a million, or MISSING."""
Values = npt.NDArray[np.int32]
Numbers = npt.NDArray[np.int64]
Shown = npt.NDArray[np.bool_] | slice

MISSING = -1

_SPARE_BITS = 11
"""What 31 bits leave beside a value."""
_SMALL = 1 << 16


def by_row(matrix: Matrix) -> tuple[int | None, ...]:
    """The median with every row of the same weight; None for an axis that nobody shows."""
    columns = np.ascontiguousarray(matrix.T)
    missing = (columns < 0).sum(axis=1).tolist()
    return tuple(_lower_median(column, absent) for column, absent in zip(columns, missing, strict=True))


def by_group(matrix: Matrix, groups: Numbers) -> tuple[int | None, ...]:
    """The median with every group of the same weight; `groups` numbers each row's group from 0 on."""
    return tuple(
        _median_of_groups(column[shown], groups[shown]) for column, shown in _split_columns(matrix)
    )


def by_both(matrix: Matrix, owners: Numbers, nodes: Numbers, liars: int) -> tuple[int | None, ...]:
    """The median that no owner, and no node of which so many may lie, can move far; both are numbered."""
    width = int(nodes.max(initial=0)) + 1
    cells, where = np.unique(owners * width + nodes, return_inverse=True)
    whose, hosts = cells // width, cells % width
    return tuple(
        _median_of_cells(column[shown], where[shown], whose, hosts, liars)
        for column, shown in _split_columns(matrix)
    )


def _lower_median(column: Values, missing: int) -> int | None:
    if missing == len(column):
        return None
    middle = missing + (len(column) - missing - 1) // 2  # whatever is missing sorts first
    return int(np.partition(column, middle)[middle])


def _median_of_groups(values: Values, groups: Numbers) -> int | None:
    if not len(values):
        return None
    return _Scale.from_parts(values, np.bincount(groups)[groups]).median()


def _median_of_cells(
    values: Values, cells: Numbers, whose: Numbers, hosts: Numbers, liars: int
) -> int | None:
    if not len(values):
        return None
    rows = np.bincount(cells, minlength=len(whose))
    shown = rows > 0
    owners_of, nodes_of = np.bincount(hosts[shown]), np.bincount(whose[shown])
    alone, shared = owners_of[hosts[cells]], nodes_of[whose[cells]]
    even, nodes = _Scale.from_parts(values, alone * rows[cells]), int((owners_of > 0).sum())
    if nodes <= 2 * liars:  # nobody can tell who lies
        return even.median()
    least = even.value_at(liars * even.whole + 1)
    most = even.value_at((nodes - liars) * even.whole)
    return min(
        max(_Scale.from_parts(values, np.maximum(alone, shared) * rows[cells]).median(), least), most
    )


@dataclass(frozen=True, slots=True)
class _Scale:
    """The rows that show an axis, in the order of their values, and what each weighs."""

    values: Numbers
    kinds: Numbers
    """Which weight each row has."""
    weights: list[int]
    whole: int
    """What a weight of one is, in the same units."""

    @classmethod
    def from_parts(cls, values: Values, parts: Numbers) -> _Scale:
        """Each row weighs one part of so many."""
        distinct, kinds = _distinct_parts(parts)
        counts: list[int] = distinct.tolist()
        whole = math.lcm(*counts)  # so that each weight is an integer
        # Value and weight in one number: a single sort keeps them together, and a small one is sooner done.
        bits = len(counts).bit_length()
        small: Any = np.int32 if bits <= _SPARE_BITS else np.int64
        keyed = np.sort(values.astype(small) << small(bits) | kinds.astype(small))
        ordered, kinds = keyed >> small(bits), keyed & small((1 << bits) - 1)
        return cls(ordered, kinds, [whole // count for count in counts], whole)

    def median(self) -> int:
        return self.value_at(-(-self._weight_up_to(len(self.values) - 1) // 2))

    def value_at(self, weight: int) -> int:
        """The smallest value that this much weight lies at or below.

        Floats say where to look, off by a row at most; integers decide.
        """
        each = np.array([one / self.whole for one in self.weights])
        row = int(np.searchsorted(np.cumsum(each[self.kinds]), weight / self.whole))
        row = min(row, len(self.values) - 1)
        while row and self._weight_up_to(row - 1) >= weight:
            row -= 1
        while self._weight_up_to(row) < weight:
            row += 1
        return int(self.values[row])

    def _weight_up_to(self, row: int) -> int:
        """The weight of all rows up to one."""
        below: list[int] = np.bincount(self.kinds[: row + 1], minlength=len(self.weights)).tolist()
        return sum(count * weight for count, weight in zip(below, self.weights, strict=True))


def _distinct_parts(parts: Numbers) -> tuple[Numbers, Numbers]:
    """What `np.unique` says of them, sooner where they are small, as they nearly always are."""
    largest = int(parts.max())
    if largest > _SMALL:
        return np.unique(parts, return_inverse=True)
    there = np.bincount(parts) > 0
    return np.flatnonzero(there), (np.cumsum(there) - 1)[parts]


def _split_columns(matrix: Matrix) -> Iterator[tuple[Values, Shown]]:
    """Of each axis the values, and which rows show it."""
    columns = np.ascontiguousarray(matrix.T)
    whole = slice(None)  # nearly always, and a view is sooner made than a copy
    return ((column, whole if column.min(initial=0) >= 0 else column >= 0) for column in columns)
