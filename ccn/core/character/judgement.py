"""The judgement: what a judge's scores of a suspect say about the axes that no scorer of texts can score.

One judgement covers the answers to all probes, so the topic cancels as it does for single answers. A
suspect's judgement is compared with those made when the character was known to be well. Its distance from
their mean counts in units of the scatter between them, against a threshold that a healthy instance rarely
passes. Judgements are few, because each costs tokens. So one scatter serves all axes, and it is never taken
for less than `LEAST_SCATTER`. Otherwise a judge that always says the same would find drift in a hundredth.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ccn import errors
from ccn.core import axes
from ccn.core.character.gaussian import Samples

FALSE_ALARMS = 0.005
LEAST_SCATTER = 0.05
LEAST_AXES = 3
"""Axes that must have been observed, both of the suspect and before; the judge says nothing otherwise."""
_TRIALS = 20_000


@dataclass(frozen=True, slots=True)
class JudgeVerdict:
    """How far a suspect is from the character, by the judge."""

    distance: float
    threshold: float

    @property
    def drifted(self) -> bool:
        """Return whether the instance is out of character."""
        return self.distance > self.threshold


def compare_judgements(usual: Samples, suspect: Samples, draw: np.random.Generator) -> JudgeVerdict | None:
    """Compare a judgement with the usual ones, shaped judgement x axis; None if too little was observed."""
    judged = list(axes.JUDGED)
    before, now = usual[:, judged], suspect[judged]
    if len(before) < 2:
        raise errors.InputInvalid("a scatter needs at least two judgements of the character")
    count = (~np.isnan(before)).sum(axis=0)
    known = count > 1
    compared = known & ~np.isnan(now)
    if compared.sum() < LEAST_AXES:
        return None
    means = np.nanmean(before[:, known], axis=0)
    freedom = int((count[known] - 1).sum())
    variance = float(np.nansum((before[:, known] - means) ** 2)) / freedom
    scatter = max(LEAST_SCATTER, float(np.sqrt(variance)))
    away = now[compared] - means[compared[known]]
    squares = away**2 / (1 + 1 / count[compared])  # the error of the mean counts as well
    limit = _draw_limit(int(compared.sum()), freedom, draw)
    return JudgeVerdict(float(np.sqrt(squares.mean())) / scatter, limit)


def _draw_limit(compared: int, freedom: int, draw: np.random.Generator) -> float:
    """Draw the distance that one healthy judgement in two hundred exceeds, from an F distribution."""
    above = draw.chisquare(compared, _TRIALS) / compared
    below = draw.chisquare(freedom, _TRIALS) / freedom
    return float(np.sqrt(np.quantile(above / below, 1 - FALSE_ALARMS)))
