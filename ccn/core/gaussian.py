"""Gaussian estimates that the character's measures share: a well-conditioned covariance, and information
in nats.

Separate because drift, integration and emergence all stand on these two, and each has analytic cases of
its own. A sample covariance of few observations is nearly singular, so it is shrunk towards a multiple of
the identity with the weight of Ledoit and Wolf (2004), which needs no tuning.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float64]
"""One row an observation, one column a variable."""


def shrunk(samples: Samples) -> Samples:
    """The covariance of the columns, shrunk as far as the data ask for."""
    count, size = samples.shape
    centred = samples - samples.mean(axis=0)
    sample = centred.T @ centred / count
    target = np.trace(sample) / size
    distance = ((sample - target * np.eye(size)) ** 2).sum()
    if distance <= 0:
        return np.asarray(sample)  # already a multiple of the identity, or constant
    # How much the single observations scatter around their mean covariance.
    scatter = ((centred**2).T @ (centred**2) / count - sample**2).sum() / count
    weight = min(1.0, max(0.0, scatter / distance))
    return np.asarray((1 - weight) * sample + weight * target * np.eye(size))


def inverse(covariance: Samples) -> Samples:
    """The precision: what makes a deviation count by how unusual it is."""
    return np.asarray(np.linalg.inv(covariance), dtype=np.float64)


def information(covariance: Samples, first: list[int], second: list[int]) -> float:
    """The mutual information in nats between two groups of jointly Gaussian variables."""
    return 0.5 * (
        _logdet(covariance, first) + _logdet(covariance, second) - _logdet(covariance, [*first, *second])
    )


def lagged(series: Samples) -> Samples:
    """Each moment beside the one before it: columns of the past, then columns of the present."""
    return np.hstack([series[:-1], series[1:]])


def standard(series: Samples) -> Samples:
    """Each column with mean 0 and variance 1; a column that never moves stays 0."""
    spread = series.std(axis=0)
    return np.asarray((series - series.mean(axis=0)) / np.where(spread > 0, spread, 1.0))


def _logdet(covariance: Samples, chosen: list[int]) -> float:
    return float(np.linalg.slogdet(covariance[np.ix_(chosen, chosen)])[1])
