"""CCC: how much alike the instances of a character are, compared with unrelated personas.

CCC = 1 - Do / De. Do is the mean squared distance between the instances, each averaged over a window of
its messages. De is the same between unrelated personas. It is a constant of the scorer, stored with its
version. 1 means identical, 0 as different as unrelated personas, below 0 more different than those. Over
windows of twenty messages of eight instances, a value below 0.87 tells a fleet with one flipped instance
from a healthy one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ccn.core.character import references
from ccn.core.character.gaussian import Samples

LEAST = 10
"""Messages of an instance below which it does not count."""
WINDOW = 20
ALARM = 0.87


@dataclass(frozen=True, slots=True)
class ConsistencyEstimate:
    """CCC of a fleet: over how many instances, and who is furthest from the others."""

    ccc: float
    instances: int
    furthest: int

    @property
    def score(self) -> float:
        """Map the estimate to the range from 0 to 1 for dashboards. Worse than strangers is 0."""
        return min(1.0, max(0.0, self.ccc))


def estimate_ccc(windows: list[Samples], strangers: float) -> ConsistencyEstimate | None:
    """CCC over the last messages of each instance, one row a message; None for fewer than two instances.

    `strangers` is De. An axis that two instances do not both show takes no part in their distance.
    """
    centres = [
        (place, references.mean_axes(window[-WINDOW:]))
        for place, window in enumerate(windows)
        if len(window) >= LEAST
    ]
    distances = np.full((len(centres), len(centres)), np.nan)
    for one, (_, one_mean) in enumerate(centres):
        for other, (_, other_mean) in enumerate(centres[:one]):
            shared = ~np.isnan(one_mean) & ~np.isnan(other_mean)
            if shared.any():
                squared = float(((one_mean - other_mean)[shared] ** 2).mean())
                distances[one, other] = distances[other, one] = squared
    if np.isnan(distances).all() or strangers <= 0:
        return None
    alone = np.isnan(distances).all(axis=1, keepdims=True)
    # An instance that shares no axis with any other is far from nobody, so it is never the furthest.
    mean_distances = np.nanmean(np.where(alone, -1.0, distances), axis=1)
    furthest = int(np.nanargmax(mean_distances))
    return ConsistencyEstimate(
        1 - float(np.nanmean(distances)) / strangers, len(centres), centres[furthest][0]
    )
