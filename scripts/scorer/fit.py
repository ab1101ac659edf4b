"""A logistic regression over sparse features in plain numpy, solved to the end.

The objective is strictly convex, so it has one minimum; Newton's method runs until the gradient is a
millionth of what rounding to small integers would notice. The weights therefore do not depend on how a
machine adds up floating-point numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

_NEWTON_STEPS = 40
_CONJUGATE_STEPS = 400
_GRADIENT = 1e-10
_NEARLY = 1e-7
_CARE = 1e-3


@dataclass(frozen=True, slots=True)
class Rows:
    """Texts as the columns they occupy, each row of norm one, and a few dense columns beside them."""

    columns: Integers
    starts: Integers
    norms: Floats
    dense: Floats
    width: int

    @classmethod
    def of(cls, places: Sequence[Integers], dense: Floats, width: int) -> Rows:
        """Make rows from the places of each text. Each text has at least one."""
        counts = np.array([len(each) for each in places])
        starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
        return cls(np.concatenate(places), starts, 1 / np.sqrt(counts), dense, width)

    def times(self, weights: Floats) -> Floats:
        """Return the weighted sum of each row."""
        sums = np.add.reduceat(weights[: self.width][self.columns], self.starts) * self.norms
        return np.asarray(sums + np.einsum("ij,j->i", self.dense, weights[self.width :]))

    def transposed(self, values: Floats) -> Floats:
        """Return the sum of each column, after its rows are multiplied by these values."""
        counts = np.diff(np.append(self.starts, len(self.columns)))
        spread = np.repeat(values * self.norms, counts)
        sparse = np.bincount(self.columns, weights=spread, minlength=self.width)
        return np.concatenate([sparse, np.einsum("ij,i->j", self.dense, values)])


def logistic(rows: Rows, shown: npt.NDArray[np.bool_], sure: Floats, penalty: Floats) -> Floats:
    """Fit weights that tell the shown from the others. `sure` weighs the rows, `penalty` the weights."""
    signs = np.where(shown, 1.0, -1.0)
    weights = np.zeros(rows.width + rows.dense.shape[1])
    loss, slope, curve = _at(rows, signs, sure, penalty, weights)
    size, before = float(np.abs(slope).max()), np.inf
    for _ in range(_NEWTON_STEPS):
        if size <= _GRADIENT or (size <= _NEARLY and size > before / 2):
            break  # at the minimum, or as near as the last bits allow
        step = _solve(rows, curve, penalty, -slope, max(_CARE, min(0.1, size)))
        length = 1.0
        while True:
            tried = _at(rows, signs, sure, penalty, weights + length * step)
            if tried[0] <= loss or length < 1e-4:
                break
            length /= 2
        weights = weights + length * step
        loss, slope, curve = tried
        size, before = float(np.abs(slope).max()), size
    return weights


def dense(rows: Floats, shown: npt.NDArray[np.bool_], sure: Floats, penalty: Floats) -> Floats:
    """Fit the same for rows of few columns, none of them sparse: whole Newton steps, solved directly."""
    signs = np.where(shown, 1.0, -1.0)
    weights = np.zeros(rows.shape[1])

    def loss(tried: Floats) -> float:
        return float(
            (sure * np.logaddexp(0, -signs * (rows @ tried))).sum() + 0.5 * (penalty * tried**2).sum()
        )

    for _ in range(_NEWTON_STEPS):
        wrong = 1 / (1 + np.exp(np.clip(signs * (rows @ weights), -500, 500)))
        slope = rows.T @ (-sure * signs * wrong) + penalty * weights
        if np.abs(slope).max() <= _NEARLY:
            break
        curve = (rows.T * (sure * wrong * (1 - wrong))) @ rows + np.diag(penalty)
        step, length = np.linalg.solve(curve, -slope), 1.0
        while loss(weights + length * step) > loss(weights) and length >= 1e-4:
            length /= 2
        weights = weights + length * step
    return weights


def _at(
    rows: Rows, signs: Floats, sure: Floats, penalty: Floats, weights: Floats
) -> tuple[float, Floats, Floats]:
    """Return the loss, the gradient, and the curvature of each row."""
    margins = signs * rows.times(weights)
    loss = float((sure * np.logaddexp(0, -margins)).sum() + 0.5 * (penalty * weights * weights).sum())
    wrong = 1 / (1 + np.exp(np.clip(margins, -500, 500)))
    slope = rows.transposed(-sure * signs * wrong) + penalty * weights
    return loss, slope, sure * wrong * (1 - wrong)


def _solve(rows: Rows, curve: Floats, penalty: Floats, goal: Floats, forcing: float) -> Floats:
    """Solve for the Newton step by conjugate gradients, as exactly as the step needs."""
    found = np.zeros_like(goal)
    rest = goal.copy()
    towards = rest / penalty
    inner = float(rest @ towards)
    enough = forcing * forcing * inner
    for _ in range(_CONJUGATE_STEPS):
        if inner <= enough:
            break
        bent = rows.transposed(curve * rows.times(towards)) + penalty * towards
        length = inner / float(towards @ bent)
        found += length * towards
        rest -= length * bent
        eased = rest / penalty
        before, inner = inner, float(rest @ eased)
        towards = eased + inner / before * towards
    return found
