"""Three references for an instance: the round's median, its own past, and the plate's charter.

The median moves when all instances drift together, as after an upgrade of the model. An instance's own past
moves slowly. The charter is how the plate alone makes the character answer, and never moves. So each shows
what the others hide. All three are root mean square differences over shared axes, as drift is. People read
them and nothing is decided by them, so they are floats.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ccn.core.character.gaussian import Samples

Row = npt.NDArray[np.float64]

RECENT = 20
"""Messages that are the present, where an instance is compared with its past."""
LEAST = 10
"""Messages below which neither is estimable."""


def measure_distance(here: Row, there: Row) -> float | None:
    """Measure how far apart two vectors are. Return None if they share no axis."""
    shared = ~np.isnan(here) & ~np.isnan(there)
    if not shared.any():
        return None
    return float(np.sqrt(((here - there)[shared] ** 2).mean()))


def distance_from_past(scores: Samples) -> float | None:
    """Measure how far the last messages are from all before. Return None if there are too few."""
    recent = min(RECENT, len(scores) // 2)
    if recent < LEAST:
        return None
    return measure_distance(mean_axes(scores[-recent:]), mean_axes(scores[:-recent]))


def mean_axes(scores: Samples) -> Row:
    """Average each axis over the rows that show it. An axis that no row shows is NaN."""
    shown = ~np.isnan(scores)
    counts = shown.sum(axis=0)
    total = np.where(shown, scores, 0).sum(axis=0)
    return np.asarray(np.where(counts > 0, total / np.maximum(counts, 1), np.nan))
