"""Gaussian estimates for the character's measures: a well-conditioned covariance, and information in nats.

Separate because drift, integration and emergence all use these two, and each has analytic cases of its
own. A sample covariance of few observations is nearly singular, so it is shrunk towards a multiple of
the identity with the weight of Ledoit and Wolf (2004), which needs no tuning.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float64]
"""One row an observation, one column a variable."""


def shrink_covariance(samples: Samples) -> Samples:
    """Estimate the covariance of the columns, shrunk as far as the data require. A stack gives a stack."""
    count, size = samples.shape[-2:]
    centred = samples - samples.mean(axis=-2, keepdims=True)
    sample = centred.swapaxes(-1, -2) @ centred / count
    target = np.trace(sample, axis1=-2, axis2=-1)[..., None, None] / size * np.eye(size)
    distance = ((sample - target) ** 2).sum(axis=(-1, -2))
    # How much the single observations scatter around their mean covariance.
    scattered = centred**2
    scatter = (scattered.swapaxes(-1, -2) @ scattered / count - sample**2).sum(axis=(-1, -2)) / count
    # One that is a multiple of the identity already, or constant, stays as it is.
    weight = np.clip(scatter / np.where(distance > 0, distance, np.inf), 0.0, 1.0)[..., None, None]
    return np.asarray((1 - weight) * sample + weight * target)


def invert_covariance(covariance: Samples) -> Samples:
    """Return the precision, which weighs a deviation by how unusual it is."""
    return np.asarray(np.linalg.inv(covariance), dtype=np.float64)


def mutual_information(covariance: Samples, first: list[int], second: list[int]) -> float:
    """Measure the mutual information in nats between two groups of jointly Gaussian variables."""
    return 0.5 * (
        _log_determinant(covariance, first)
        + _log_determinant(covariance, second)
        - _log_determinant(covariance, [*first, *second])
    )


def pair_with_past(series: Samples) -> Samples:
    """Pair each moment with the one before it: columns of the past, then columns of the present."""
    return np.hstack([series[:-1], series[1:]])


def standardise_columns(series: Samples) -> Samples:
    """Give each column mean 0 and variance 1. A column that never changes stays 0."""
    spread = series.std(axis=0)
    return np.asarray((series - series.mean(axis=0)) / np.where(spread > 0, spread, 1.0))


def _log_determinant(covariance: Samples, chosen: list[int]) -> float:
    return float(np.linalg.slogdet(covariance[np.ix_(chosen, chosen)])[1])
