"""Drift: how far an instance is from the median, as one number in millionths.

It is the root mean square difference over the axes that both show. It is rounded up, so the number exceeds
the tolerance exactly when the true root does. An instance that shares no axis with the median has the
largest drift there is. Only integers are used, because the result is hashed and signed.

All sixteen axes count here, also those that weigh nothing in decisions, because the tolerance is defined
over sixteen. A round only notes who is beyond it. A confirmation over the other axes decides what is done.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ccn.core.axes import UNIT
from ccn.core.chain.median import MISSING, Matrix

Distances = npt.NDArray[np.int64]


def measure_distances(matrix: Matrix, centre: Sequence[int | None]) -> Distances:
    """Return the drift of each row from the centre."""
    middle = np.array([MISSING if value is None else value for value in centre], dtype=np.int64)
    differences = matrix - middle
    axes = np.full(len(matrix), len(middle))
    if (middle < 0).any() or (matrix < 0).any():
        shared = (matrix >= 0) & (middle >= 0)
        differences[~shared] = 0
        axes = shared.sum(axis=1)
    squares = np.einsum("ij,ij->i", differences, differences)
    mean = -(-squares // np.maximum(axes, 1))  # rounded up: r * r >= squares / axes for the same integers r
    return np.where(axes > 0, root_up(mean), UNIT)


def find_outliers(drift: Distances, tolerance: int) -> Distances:
    """Return the numbers of the rows beyond the tolerance, in ascending order."""
    return np.flatnonzero(drift > tolerance)


def root_up(numbers: Distances) -> Distances:
    """Return the smallest integers whose squares reach the numbers.

    The floating point root is a first guess that is off by less than one. Comparing integers decides.
    No number exceeds 10^12.
    """
    roots = np.sqrt(numbers.astype(np.float64)).astype(np.int64)
    return roots + (roots * roots < numbers)
