"""The lower weighted median of each axis, over integer vectors in which values may be missing.

The median is the smallest value for which at least half of the weight lies at or below it. So it is always
a value that was reported, and the order of the rows does not matter. Each row weighs 1/k for a whole number
k. Weights are compared as whole numbers, so no float decides anything. There are three ways to weigh:

    by_row      Every row weighs one.
    by_group    Every group weighs one, split evenly over its rows that show the axis. So an owner, or a
                node, cannot own the median by having most rows.
    by_both     No owner and no node weighs more than one, for a cluster in which nodes may lie.

In `by_both` the rows of one owner on one node weigh 1/k together. Here k is the number of owners on that
node or the number of nodes with rows of that owner, whichever is larger. So the rows of one owner together
weigh at most one, and so do the rows of one node. A node gains nothing by inventing owners.

Where there are few owners, though, a lying node weighs as much as an owner. So the median is also kept
within bounds that `liars` nodes cannot move. If each node weighed one, the bounds would be the values at
which the weight from either end first exceeds `liars`.

`scripts/bench fairness` shows how far an owner or a node with most of the rows can move each median.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.int32]
"""One row for each instance, one column for each axis. Values are 0 to a million, or MISSING."""
Values = npt.NDArray[np.int32]
Numbers = npt.NDArray[np.int64]
Shown = npt.NDArray[np.bool_] | slice

MISSING = -1

_SPARE_BITS = 11
"""Bits that a 32-bit integer has left beside its sign and a value of up to a million."""
_SMALL = 1 << 16


def by_row(matrix: Matrix) -> tuple[int | None, ...]:
    """Return the median when every row weighs the same. An axis that no row shows has None."""
    columns = np.ascontiguousarray(matrix.T)
    missing = (columns < 0).sum(axis=1).tolist()
    return tuple(_lower_median(column, absent) for column, absent in zip(columns, missing, strict=True))


def by_group(matrix: Matrix, groups: Numbers) -> tuple[int | None, ...]:
    """Return the median when every group weighs the same. `groups` has each row's group, from 0 on."""
    return tuple(
        _median_of_groups(column[shown], groups[shown]) for column, shown in _split_columns(matrix)
    )


def by_both(matrix: Matrix, owners: Numbers, nodes: Numbers, liars: int) -> tuple[int | None, ...]:
    """Return the median that no owner can move far, and no `liars` nodes together.

    `owners` and `nodes` have the number of each row's owner and node, from 0 on.
    """
    width = int(nodes.max(initial=0)) + 1
    cells, cell_of_row = np.unique(owners * width + nodes, return_inverse=True)
    owner_of_cell, node_of_cell = cells // width, cells % width
    return tuple(
        _median_of_cells(column[shown], cell_of_row[shown], owner_of_cell, node_of_cell, liars)
        for column, shown in _split_columns(matrix)
    )


def _lower_median(column: Values, missing: int) -> int | None:
    if missing == len(column):
        return None
    middle = missing + (len(column) - missing - 1) // 2  # missing values are -1, so they sort first
    return int(np.partition(column, middle)[middle])


def _median_of_groups(values: Values, groups: Numbers) -> int | None:
    if not len(values):
        return None
    return _WeighedValues.from_parts(values, np.bincount(groups)[groups]).median()


def _median_of_cells(
    values: Values, cells: Numbers, owner_of_cell: Numbers, node_of_cell: Numbers, liars: int
) -> int | None:
    """Return the median of one axis. A cell is the rows of one owner on one node."""
    if not len(values):
        return None
    rows_of_cell = np.bincount(cells, minlength=len(owner_of_cell))
    shown = rows_of_cell > 0
    owners_on_node, nodes_of_owner = np.bincount(node_of_cell[shown]), np.bincount(owner_of_cell[shown])
    owners, nodes = owners_on_node[node_of_cell[cells]], nodes_of_owner[owner_of_cell[cells]]
    by_node = _WeighedValues.from_parts(values, owners * rows_of_cell[cells])  # each node weighs one
    node_count = int((owners_on_node > 0).sum())
    if node_count <= 2 * liars:  # so few nodes show the axis that liars may outweigh the others
        return by_node.median()
    least = by_node.value_at(liars * by_node.whole + 1)
    most = by_node.value_at((node_count - liars) * by_node.whole)
    by_cell = _WeighedValues.from_parts(values, np.maximum(owners, nodes) * rows_of_cell[cells])
    return min(max(by_cell.median(), least), most)


@dataclass(frozen=True, slots=True)
class _WeighedValues:
    """The values of one axis in ascending order, and what each weighs."""

    values: Numbers
    kinds: Numbers
    """For each value, the place of its weight in `weights`."""
    weights: list[int]
    whole: int
    """A weight of one, in the units of `weights`."""

    @classmethod
    def from_parts(cls, values: Values, parts: Numbers) -> _WeighedValues:
        """Weigh each value 1/k, where k is its number in `parts`."""
        distinct, kinds = _distinct_parts(parts)
        counts: list[int] = distinct.tolist()
        whole = math.lcm(*counts)  # so that each weight is an integer
        # Value and weight share one number, so that one sort keeps them together. 32 bits sort faster.
        bits = len(counts).bit_length()
        integer: Any = np.int32 if bits <= _SPARE_BITS else np.int64
        keyed = np.sort(values.astype(integer) << integer(bits) | kinds.astype(integer))
        ordered, kinds = keyed >> integer(bits), keyed & integer((1 << bits) - 1)
        return cls(ordered, kinds, [whole // count for count in counts], whole)

    def median(self) -> int:
        return self.value_at(-(-self._weight_up_to(len(self.values) - 1) // 2))

    def value_at(self, weight: int) -> int:
        """Return the smallest value for which at least this much weight lies at or below it.

        Floats find the row to within one. Comparing integers then decides.
        """
        shares = np.array([one / self.whole for one in self.weights])
        row = int(np.searchsorted(np.cumsum(shares[self.kinds]), weight / self.whole))
        row = min(row, len(self.values) - 1)
        while row and self._weight_up_to(row - 1) >= weight:
            row -= 1
        while self._weight_up_to(row) < weight:
            row += 1
        return int(self.values[row])

    def _weight_up_to(self, row: int) -> int:
        """Add up the weights of all rows up to and with this one."""
        below: list[int] = np.bincount(self.kinds[: row + 1], minlength=len(self.weights)).tolist()
        return sum(count * weight for count, weight in zip(below, self.weights, strict=True))


def _distinct_parts(parts: Numbers) -> tuple[Numbers, Numbers]:
    """Return what `np.unique` returns with the inverse, but faster for small numbers."""
    largest = int(parts.max())
    if largest > _SMALL:
        return np.unique(parts, return_inverse=True)
    occurs = np.bincount(parts) > 0
    return np.flatnonzero(occurs), (np.cumsum(occurs) - 1)[parts]


def _split_columns(matrix: Matrix) -> Iterator[tuple[Values, Shown]]:
    """Yield for each axis its values, and which rows show it."""
    columns = np.ascontiguousarray(matrix.T)
    all_rows = slice(None)  # the usual case, and a slice makes a view instead of a copy
    return ((column, all_rows if column.min(initial=0) >= 0 else column >= 0) for column in columns)
