"""One head per axis, then its weights in small integers and its place on the scale from 0 to 1.

A task is a trait or a behaviour. Each has an intercept of its own, which is thrown away afterwards. So no
head learns the topics of a task, only what tells the shown from the not shown within it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ccn.core.axes import AXES
from ccn.core.character.scoring import features, lexicon, linear
from ccn.core.character.scoring.words import are_enough, mark_negated, split_words
from scripts.scorer import parts
from scripts.scorer.corpus import EVIDENCE, Sample
from scripts.scorer.fit import Floats, Integers, Rows, logistic

PENALTY = 0.1
PIECE = 0.3  # how much a piece of a message counts
LEXICON_PENALTY = 1.0
INTERCEPT_PENALTY = 0.01
_TASKS = tuple(EVIDENCE)
_MAD = 1.4826  # makes a median absolute deviation a standard deviation


@dataclass(frozen=True, slots=True)
class Seen:
    """A sample and its features."""

    sample: Sample
    places: Integers
    lexicon: Floats
    is_statement: bool
    weight: float


@dataclass(frozen=True, slots=True)
class Heads:
    """What the fit of each axis found, before rounding."""

    table: Floats  # a row for each place, a column for each axis
    lexicon: Floats  # by axis


def see(samples: Sequence[Sample]) -> list[Seen]:
    """Find the features of all samples that have words enough, and of pieces of the messages."""
    whole = _seen(samples, 1.0)
    return whole + _seen((piece for sample in samples for piece in parts.pieces(sample)), PIECE)


def _seen(samples: Iterable[Sample], weight: float) -> list[Seen]:
    seen = []
    for sample in samples:
        words = split_words(sample.text)
        if are_enough(words):
            from_lexicon = np.array(lexicon.sum_hits(mark_negated(words)))
            kind = features.is_statement(words)
            seen.append(Seen(sample, features.find_places(words), from_lexicon, kind, weight))
    return seen


def fit(seen: Sequence[Seen], axes: Sequence[str] = AXES) -> Heads:
    """Fit all heads. Those of axes not asked for stay zero."""
    table, from_lexicon = np.zeros((features.TABLE, len(AXES))), np.zeros(len(AXES))
    for axis in axes:
        at = AXES.index(axis)
        table[:, at], from_lexicon[at] = _head(axis, seen)
    return Heads(table, from_lexicon)


def pack(version: str, heads: Heads, seen: Sequence[Seen], about: Mapping[str, object]) -> bytes:
    """Write the weights file: rounded, and calibrated with messages that are no evidence for an axis."""
    unit = np.array([rounded(max(float(column.max()), 1e-12) / 127) for column in np.abs(heads.table).T])
    table = np.floor(heads.table / unit + 0.5).astype(np.int8)
    lexicon_weights = [round(float(weight), 4) for weight in heads.lexicon]
    middles, spreads = _calibration(table, unit, lexicon_weights, seen)
    by_axis = {"unit": unit.tolist(), "lexicon": lexicon_weights, "middle": middles, "spread": spreads}
    return linear.dump_weights(version, table, by_axis, about)


def evidence(
    axis: str, samples: Sequence[Sample], weights: Sequence[float]
) -> tuple[npt.NDArray[np.bool_], Floats, Floats]:
    """Return, of samples that speak about an axis, which show it, how surely, and each one's task."""
    speaks = np.array([EVIDENCE[sample.task][axis] for sample in samples])
    shown = np.array([sample.shown for sample in samples]) == (speaks > 0)
    of_task = np.zeros((len(samples), len(_TASKS)))
    of_task[np.arange(len(samples)), [_TASKS.index(sample.task) for sample in samples]] = 1
    return shown, np.abs(speaks) * np.array(weights), of_task


def _head(axis: str, seen: Sequence[Seen]) -> tuple[Floats, float]:
    used = [each for each in seen if axis in EVIDENCE[each.sample.task]]
    shown, sure, of_task = evidence(axis, [each.sample for each in used], [each.weight for each in used])
    from_lexicon = [each.is_statement * each.lexicon[AXES.index(axis)] for each in used]
    dense = np.column_stack([from_lexicon, of_task])
    rows = Rows.of([each.places for each in used], dense, features.TABLE)
    penalty = np.full(features.TABLE + dense.shape[1], PENALTY)
    penalty[features.TABLE] = LEXICON_PENALTY
    penalty[features.TABLE + 1 :] = INTERCEPT_PENALTY
    weights = logistic(rows, shown, sure, penalty)
    return weights[: features.TABLE], max(0.0, float(weights[features.TABLE]))


def _calibration(
    table: npt.NDArray[np.int8], unit: Floats, from_lexicon: Sequence[float], seen: Sequence[Seen]
) -> tuple[list[list[float]], list[list[float]]]:
    """Find the median and spread of each axis, once for statements and once for messages."""
    whole = [each for each in seen if each.weight == 1]
    sums = np.array([
        table[each.places].sum(axis=0, dtype=np.int64) * unit / math.sqrt(len(each.places))
        + each.is_statement * each.lexicon * np.array(from_lexicon)
        for each in whole
    ])  # fmt: skip
    return calibration([each.sample for each in whole], sums)


def calibration(samples: Sequence[Sample], sums: Floats) -> tuple[list[list[float]], list[list[float]]]:
    """Find the same from sums of whole samples. What is no evidence for an axis shows where neutral is."""
    middles: list[list[float]] = []
    spreads: list[list[float]] = []
    for statements in (True, False):
        middle, spread = [], []
        for at, axis in enumerate(AXES):
            chosen = [
                sample.is_message is not statements and axis not in EVIDENCE[sample.task]
                for sample in samples
            ]
            median = float(np.median(sums[chosen, at]))
            middle.append(rounded(median))
            spread.append(rounded(_MAD * float(np.median(np.abs(sums[chosen, at] - median)))))
        middles.append(middle)
        spreads.append(spread)
    return middles, spreads


def rounded(value: float) -> float:
    """Round to six digits, so that the last bits of a sum do not show."""
    return float(f"{value:.6g}")
