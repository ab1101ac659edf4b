"""The lower weighted median of each axis, over integer vectors in which values may be missing.

It is the smallest value that at least half of the weight lies at or below: always a value that somebody
reported, and the same for every order of the rows. Under the crash model each row weighs one. Under the
byzantine model each node weighs one on every axis, split over those of its rows that show the axis, so that
a node cannot own the median by hosting most instances. Weights are compared as whole numbers; nothing here
is a float.
"""

from __future__ import annotations

import bisect
import math

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.int32]
"""One row an instance, one column an axis; values from 0 to a million, or MISSING."""

MISSING = -1

_OWNER_BITS = 16


def by_row(matrix: Matrix) -> tuple[int | None, ...]:
    """The median with every row of the same weight; None for an axis that nobody shows."""
    columns = _columns(matrix)
    missing = (columns < 0).sum(axis=1).tolist()
    return tuple(_lower(column, absent) for column, absent in zip(columns, missing, strict=True))


def by_owner(matrix: Matrix, owners: npt.NDArray[np.int64]) -> tuple[int | None, ...]:
    """The median with every owner of the same weight; `owners` numbers each row's owner, below 65 536."""
    # Owner and value in one integer: a single sort keeps them together.
    keyed = np.sort(_columns(matrix).astype(np.int64) << _OWNER_BITS | owners, axis=1)
    return tuple(map(_middle, keyed))


def _lower(column: npt.NDArray[np.int32], missing: int) -> int | None:
    if missing == len(column):
        return None
    middle = missing + (len(column) - missing - 1) // 2  # whatever is missing sorts first
    return int(np.partition(column, middle)[middle])


def _middle(keyed: npt.NDArray[np.int64]) -> int | None:
    shown = keyed[np.searchsorted(keyed, 0) :]
    if not len(shown):
        return None
    owners = shown & ((1 << _OWNER_BITS) - 1)
    counts: list[int] = np.bincount(owners).tolist()
    whole = math.lcm(*filter(None, counts))  # the weight of one owner, so that each share is an integer
    shares = [whole // count if count else 0 for count in counts]
    total = whole * sum(count > 0 for count in counts)

    def twice_the_weight_up_to(row: int) -> int:
        below: list[int] = np.bincount(owners[: row + 1], minlength=len(shares)).tolist()
        return 2 * sum(count * share for count, share in zip(below, shares, strict=True))

    row = bisect.bisect_left(range(len(shown)), total, key=twice_the_weight_up_to)
    return int(shown[row] >> _OWNER_BITS)


def _columns(matrix: Matrix) -> Matrix:
    return np.ascontiguousarray(matrix.T)
