"""Phi: how much more the axes of an instance predict together than apart. A statistical estimate.

The series of raw scores is taken as Gaussian. For a cut of the variables into two parts, the past of the
whole says `whole` nats about its present, and the parts say less about themselves; the difference is Phi_E
(Barrett and Seth 2011). It can be negative where the parts repeat each other, so what they share, the
least information of either part's past about either part's present, is added back: Phi_R (Mediano et al.).
The cut with the least information is taken, normalised by the entropy of the smaller part, so no cut is
chosen merely because one part is small. Two steps keep the figure honest. Covariances are shrunk. The mean
over circularly shifted copies, in which nothing is integrated, is subtracted.

Separate from `emergence`, which is about many instances. This is about one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ccn.core.character import gaussian
from ccn.core.character.gaussian import Samples

LEAST = 100
"""Observations below which nothing is said."""
WINDOW = 200
VARIABLES = 6
SURROGATES = 20

Logs = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Cut:
    """The minimum-information bipartition, and what it costs to make it."""

    part: tuple[int, ...]
    phi_e: float
    phi_r: float


@dataclass(frozen=True, slots=True)
class IntegrationEstimate:
    """Phi of a window: in excess of the surrogates, which variables it is about, and where the cut lies."""

    phi: float
    raw: float
    variables: tuple[int, ...]
    part: tuple[int, ...]

    @property
    def score(self) -> float:
        """Map the estimate to the range from 0 to 1 for dashboards: 1 - exp(-phi), and 0 below 0."""
        return -math.expm1(-max(0.0, self.phi))


def estimate_phi(series: Samples, draw: np.random.Generator) -> IntegrationEstimate | None:
    """Phi of the last window of raw scores, one row a message; None where it is not estimable.

    The axes that vary most are taken, at most six. `draw` shifts the surrogates.
    """
    window = series[-WINDOW:]
    window = window[~np.isnan(window).any(axis=1)]
    chosen = _most_varying(window) if len(window) >= LEAST else ()
    if len(chosen) < 2:
        return None
    taken = gaussian.standardise_columns(window[:, list(chosen)])
    found = find_minimum_cut(gaussian.shrink_covariance(gaussian.pair_with_past(taken)))
    by_chance = [
        find_minimum_cut(
            gaussian.shrink_covariance(gaussian.pair_with_past(_shift_columns(taken, draw)))
        ).phi_r
        for _ in range(SURROGATES)
    ]
    part = tuple(chosen[each] for each in found.part)
    return IntegrationEstimate(found.phi_r - float(np.mean(by_chance)), found.phi_r, chosen, part)


def find_minimum_cut(joint: Samples) -> Cut:
    """Find the cut of minimum information. `joint` is the covariance of all pasts, then all presents."""
    size = len(joint) // 2
    past, now = joint[:size, :size], joint[size:, size:]
    pairs = [(each, size + each) for each in range(size)]
    alone = [(each,) for each in range(size)]
    both = _log_minors(joint, pairs, within=(0, 1))
    mixed = _log_minors(joint, pairs, within=(0,), without=(1,))
    of_past = _log_minors(past, alone, within=(0,))
    of_now = _log_minors(now, alone, within=(0,))

    part = np.arange(1, 2 ** (size - 1))  # without the last variable: each cut once
    rest = 2**size - 1 - part
    own = 0.5 * (of_past + of_now - both)
    whole = own[-1]
    apart = own[part] + own[rest]
    cross_there = 0.5 * (of_past[part] + of_now[rest] - mixed[part])
    cross_back = 0.5 * (of_past[rest] + of_now[part] - mixed[rest])
    shared = np.minimum.reduce([own[part], own[rest], cross_there, cross_back])
    phi_e = whole - apart
    phi_r = phi_e + shared
    members = np.bitwise_count(np.arange(2**size))
    entropy = 0.5 * (of_now + members * math.log(2 * math.pi * math.e))
    scale = np.maximum(np.minimum(entropy[part], entropy[rest]), np.finfo(float).tiny)
    best = int(np.argmin(phi_r / scale))
    inside = tuple(each for each in range(size) if part[best] >> each & 1)
    return Cut(inside, float(phi_e[best]), float(phi_r[best]))


def _log_minors(
    matrix: Samples,
    blocks: Sequence[tuple[int, ...]],
    within: tuple[int, ...],
    without: tuple[int, ...] = (),
) -> Logs:
    """Compute the log determinant of a principal minor for every subset of variables at once.

    Of the rows of each variable in the subset those at the places `within` belong to the minor, of each
    other one those at `without`. Bit k of a result's place says whether variable k is in the subset. Each
    step conditions all minors so far on one variable more, by a Schur complement, so nothing is computed
    twice. Subsets are the last dimension: of small matrices there are many, and each entry is a long row.
    """
    order = [row for block in blocks for row in block]
    remaining = matrix[np.ix_(order, order)][:, :, None]
    logs = np.zeros(1)
    for block in blocks:
        out, log_out = _eliminate_rows(remaining, without, len(block))
        in_, log_in = _eliminate_rows(remaining, within, len(block))
        remaining = np.concatenate([out, in_], axis=2)
        logs = np.concatenate([logs + log_out, logs + log_in])
    return logs


def _eliminate_rows(remaining: Samples, rows: tuple[int, ...], width: int) -> tuple[Samples, Logs]:
    """Eliminate some of the first `width` rows from each matrix and drop the rest of those; the logarithm
    of what was divided by.
    """
    left, logs = remaining[width:, width:], np.zeros(remaining.shape[2])
    columns = [remaining[:, row] for row in rows]
    while columns:
        row, column, rows = rows[0], columns[0], rows[1:]
        pivot = np.maximum(column[row], np.finfo(float).tiny)
        scaled = column / pivot
        taken = scaled[width:, None] * column[None, width:]
        left = np.subtract(left, taken, out=taken)
        columns = [each - scaled * each[row] for each in columns[1:]]
        logs += np.log(pivot)
    return left, logs


def _most_varying(window: Samples) -> tuple[int, ...]:
    spread: list[float] = list(map(float, window.var(axis=0)))
    order = sorted(range(len(spread)), key=lambda axis: -spread[axis])[:VARIABLES]
    return tuple(sorted(axis for axis in order if spread[axis] > 0))


def _shift_columns(series: Samples, draw: np.random.Generator) -> Samples:
    return np.column_stack([np.roll(column, int(draw.integers(1, len(series)))) for column in series.T])
