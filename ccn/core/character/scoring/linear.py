"""Tier 1: one linear head per axis over the table of features and the lexicon, in small integers.

The weights are a file that was trained elsewhere and is handed in as bytes; its name and its hash say
which. The score is a logistic of how far the sum lies from the middle of a reference corpus.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ccn import errors
from ccn.core.axes import AXES
from ccn.core.character.scoring import features, lexicon
from ccn.core.character.scoring.words import mark_negated

MAGIC = b"ccn scorer\n"
_STEEP = 1.0  # of the logistic: one robust standard deviation from the middle is 0.73
_FAR = 30.0


@dataclass(frozen=True, slots=True)
class Weights:
    """What training left behind."""

    version: str
    sha256: str
    table: npt.NDArray[np.int8]  # a row for each place, a column for each axis
    unit: npt.NDArray[np.float64]  # of one step in the table, by axis
    lexicon: npt.NDArray[np.float64]  # the weight of each axis's own lexicon, in statements
    middle: npt.NDArray[
        np.float64
    ]  # median of the sums over the reference corpus: of statements, of messages
    spread: npt.NDArray[np.float64]  # their median absolute deviations, as standard deviations
    about: Mapping[str, object]


def sum_weights(weights: Weights, words: Sequence[str]) -> npt.NDArray[np.float64]:
    """Sum the weights by axis. Every text has the same norm, whatever its length."""
    places = features.find_places(words)
    sums = weights.table[places].sum(axis=0, dtype=np.int64) * weights.unit / math.sqrt(max(len(places), 1))
    if features.is_statement(words):
        sums = sums + weights.lexicon * np.array(lexicon.sum_hits(mark_negated(words)))
    return np.asarray(sums)


def score_words(weights: Weights, words: Sequence[str]) -> list[float]:
    """Score each axis from 0 to 1."""
    kind = 0 if features.is_statement(words) else 1
    distance = (sum_weights(weights, words) - weights.middle[kind]) / weights.spread[kind]
    return [1 / (1 + math.exp(-_STEEP * value)) for value in distance.clip(-_FAR, _FAR)]


def parse_weights(content: bytes) -> Weights:
    """Read the weights from a file. Any other content is refused."""
    try:
        magic, header, body = content[: len(MAGIC)], *content[len(MAGIC) :].split(b"\n", 1)
        told = json.loads(header)
        places, axes = int(told["places"]), len(AXES)
        if magic != MAGIC or tuple(told["axes"]) != AXES or places != features.TABLE:
            raise ValueError("made for another scorer")
        table = np.frombuffer(body, dtype=np.int8).reshape(places, axes)
        by_axis = {name: np.array(told[name], dtype=np.float64) for name in _BY_AXIS}
        if any(by_axis[name].shape != (*shape, axes) for name, shape in _BY_AXIS.items()):
            raise ValueError("a number for each axis is missing, or one is too many")
        if not all(np.isfinite(numbers).all() for numbers in by_axis.values()):
            raise ValueError("not every number is one")
        if not (by_axis["spread"] > 0).all():
            raise ValueError("a spread is not above 0")
        return Weights(
            version=str(told["version"]),
            sha256=hashlib.sha256(content).hexdigest(),
            table=table,
            **by_axis,
            about=told["about"],
        )
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as broken:
        raise errors.InputInvalid(f"this is no file of scorer weights: {broken}") from broken


def dump_weights(
    version: str,
    table: npt.NDArray[np.int8],
    by_axis: Mapping[str, Sequence[object]],
    about: Mapping[str, object],
) -> bytes:
    """Return the canonical bytes of weights."""
    told = {
        "version": version,
        "places": len(table),
        "axes": list(AXES),
        **{name: list(by_axis[name]) for name in _BY_AXIS},
        "about": about,
    }
    header = json.dumps(told, sort_keys=True, ensure_ascii=False).encode()
    return MAGIC + header + b"\n" + table.astype(np.int8).tobytes()


_BY_AXIS: Mapping[str, tuple[int, ...]] = {"unit": (), "lexicon": (), "middle": (2,), "spread": (2,)}
"""What stands in the header by axis, and how many rows of it there are, where there are several."""
