"""Psi: whether the consensus predicts itself better than single instances predict it. An estimate.

Psi = I(V; V') - sum over j of I(Xj; V'), for the consensus V and the instances Xj (Rosas, Mediano et al.
2020). Above zero is a sufficient sign that the whole carries something that no single instance does.
Agreement lowers it: of instances that copy each other, each predicts the consensus and each is counted. So
a healthy fleet of one character may lie below zero, which is said wherever the figure is shown.

Sixteen axes are too many for a Gaussian estimate over one window. So all series are projected on the
direction in which the consensus moves most. Separate from `integrated_information`, which is about one
instance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ccn.core.character import gaussian
from ccn.core.character.gaussian import Samples

LEAST = 100
"""Observations below which nothing is said."""
SURROGATES = 20


@dataclass(frozen=True, slots=True)
class EmergenceEstimate:
    """Psi of a window, and the mean of what chance alone gives."""

    psi: float
    by_chance: float

    @property
    def score(self) -> float:
        """Map the estimate to the range from 0 to 1 with the logistic function; 0.5 is psi by chance."""
        return 1 / (1 + math.exp(-max(-50.0, min(50.0, self.psi - self.by_chance))))


def estimate_psi(
    consensus: Samples, instances: list[Samples], draw: np.random.Generator
) -> EmergenceEstimate | None:
    """Psi of series that share their moments, one row a round; None where it is not estimable.

    `draw` shifts the surrogates: the instances against the consensus, each by its own number of rounds.
    """
    known = ~np.isnan(consensus).any(axis=1)
    for series in instances:
        known &= ~np.isnan(series).any(axis=1)
    if len(instances) < 2 or known.sum() < LEAST or not consensus[known].var(axis=0).any():
        return None
    direction = _principal_direction(consensus[known])
    whole = consensus[known] @ direction
    parts = [series[known] @ direction for series in instances]
    return EmergenceEstimate(
        compute_psi(whole, parts),
        float(np.mean([_psi_by_chance(whole, parts, draw) for _ in range(SURROGATES)])),
    )


def compute_psi(whole: Samples, parts: list[Samples]) -> float:
    """Psi in nats of one macroscopic and several microscopic series, each a single variable."""
    return _lagged_information(whole, whole) - sum(_lagged_information(part, whole) for part in parts)


def _lagged_information(source: Samples, target: Samples) -> float:
    """Measure what the past of one series says about the present of another, in nats."""
    pair = np.column_stack([source[:-1], target[1:]])
    if not pair.var(axis=0).all():
        return 0.0
    return gaussian.mutual_information(
        gaussian.shrink_covariance(gaussian.standardise_columns(pair)), [0], [1]
    )


def _psi_by_chance(whole: Samples, parts: list[Samples], draw: np.random.Generator) -> float:
    moved = [np.roll(part, int(draw.integers(1, len(part)))) for part in parts]
    return compute_psi(np.roll(whole, int(draw.integers(1, len(whole)))), moved)


def _principal_direction(consensus: Samples) -> Samples:
    """Return the first principal component, with the sign that makes its largest entry positive."""
    _, vectors = np.linalg.eigh(gaussian.shrink_covariance(consensus))
    first = vectors[:, -1]
    return np.asarray(first * np.sign(first[np.argmax(np.abs(first))]))
