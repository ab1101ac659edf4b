"""The drift alarm: whether an instance has left its usual scatter, checked after each message.

A multivariate exponentially weighted mean (MEWMA) of the scores is compared with the character's baseline.
A plain tolerance on the drift notices small changes late and raises an alarm at changes of topic; this rule
knows how the axes usually move together. Its threshold is bootstrapped from the baseline's own messages, so
that a healthy instance raises an alarm in about one of twenty runs of two hundred messages.

An alarm only asks for a confirmation (`confirmation`). Nothing is done to the instance yet.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ccn import errors
from ccn.core.character import gaussian
from ccn.core.character.gaussian import Samples

LAMBDA = 0.2
LEAST = 240
"""Messages that a baseline needs, over many topics: a narrow one alarms at every change of topic."""
RUN = 200
FALSE_ALARMS = 0.05
_TRIALS = 600

Row = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class AlarmBaseline:
    """How a character usually scores: its centre, the inverse of its covariance, and what is too far."""

    centre: Row
    precision: Samples
    threshold: float
    messages: int
    axes: tuple[int, ...]
    """The axes that count; the others have no offline validation or were never observed."""


@dataclass(frozen=True, slots=True)
class Watch:
    """What an instance's messages have added up to since it began or was restored."""

    mean: Row
    messages: int = 0

    @classmethod
    def start(cls, baseline: AlarmBaseline) -> Watch:
        """Start a watch that has seen nothing yet."""
        return cls(np.zeros(len(baseline.axes)))


def learn_baseline(scores: Samples, axes: tuple[int, ...], draw: np.random.Generator) -> AlarmBaseline:
    """Learn a baseline from raw scores, one row for each message, with NaN for axes not observed."""
    chosen = scores[:, list(axes)]
    chosen = chosen[~np.isnan(chosen).any(axis=1)]
    if len(chosen) < LEAST:
        raise errors.InputInvalid(f"a baseline needs {LEAST} scored messages, not {len(chosen)}")
    centre = chosen.mean(axis=0)
    precision = gaussian.invert_covariance(gaussian.shrink_covariance(chosen))
    return AlarmBaseline(centre, precision, _bootstrap_threshold(chosen, draw), len(chosen), axes)


def follow_message(watch: Watch, baseline: AlarmBaseline, scores: Row) -> Watch:
    """After one more message. What it does not show is no evidence either way, and counts as usual."""
    deviation = np.nan_to_num(scores[list(baseline.axes)] - baseline.centre)
    return Watch((1 - LAMBDA) * watch.mean + LAMBDA * deviation, watch.messages + 1)


def measure_distance(watch: Watch, baseline: AlarmBaseline) -> float:
    """T squared: how far that is from the baseline, in units of the usual scatter."""
    return float(watch.mean @ baseline.precision @ watch.mean) / _mean_variance(max(1, watch.messages))


def is_raised(watch: Watch, baseline: AlarmBaseline) -> bool:
    """Return whether the distance exceeds the threshold."""
    return watch.messages > 0 and measure_distance(watch, baseline) > baseline.threshold


def _mean_variance(messages: int) -> float:
    """Return the variance of the weighted mean of n messages, in units of one message's variance."""
    return float(LAMBDA / (2 - LAMBDA) * (1 - (1 - LAMBDA) ** (2 * messages)))


def _bootstrap_threshold(chosen: Samples, draw: np.random.Generator) -> float:
    """Find the value that the largest T squared of a healthy run exceeds in one run of twenty.

    The messages play the character itself: again and again a baseline is learnt from as many drawn from
    them, and a run of others drawn from them is held against it. So the error of a centre and a covariance
    learnt from few messages is in the threshold too; fitted and judged on the same ones, it came out too
    low, and healthy instances alarmed in one run of seven. The rows of a run have no order, so a series
    that remembers its past would be calmer than this says; messages of mixed topics have hardly any
    memory.
    """
    count, axes = chosen.shape
    centres, precisions = np.empty((_TRIALS, axes)), np.empty((_TRIALS, axes, axes))
    for trial in range(_TRIALS):
        learnt = chosen[draw.integers(0, count, size=count)]
        centres[trial] = learnt.mean(axis=0)
        precisions[trial] = gaussian.invert_covariance(gaussian.shrink_covariance(learnt))
    mean, largest = np.zeros((_TRIALS, axes)), np.zeros(_TRIALS)
    for message in range(1, RUN + 1):
        drawn = chosen[draw.integers(0, count, size=_TRIALS)] - centres
        mean = (1 - LAMBDA) * mean + LAMBDA * drawn
        reached = np.einsum("ij,ijk,ik->i", mean, precisions, mean) / _mean_variance(message)
        largest = np.maximum(largest, reached)
    return float(np.quantile(largest, 1 - FALSE_ALARMS))
