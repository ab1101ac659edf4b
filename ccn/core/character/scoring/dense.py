"""Tier 2: linear heads over the embedding that a sentence encoder makes of a text, per axis one for
statements and one for messages: as in tier 1, a sentence about oneself is other evidence than an answer.

The encoder is somebody else's and is handed in as something that embeds; the heads were trained for that
very one, which they name by the hash of its files. Both hashes are in the scorer's version, so what was
measured by another encoder or other heads is never compared with this. As in tier 1, a score is a logistic
of how far a sum lies from the middle of a reference corpus, statements and messages each by their own.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ccn import errors
from ccn.core.axes import AXES
from ccn.core.character.scoring import features, words
from ccn.core.character.scoring.scorer import (
    SHOWN,
    FeatureEffect,
    TextScores,
    order_by_strength,
    scores_of_nothing,
)

MAGIC = b"ccn heads by kind\n"
TIER = "tier-2"
Floats = npt.NDArray[np.float64]

_FAR = 30.0
_PARTS = 24  # of a text that are left out in turn to explain it: each costs an embedding
_LABEL = 32


class TextEncoder(Protocol):
    """What makes embeddings."""

    @property
    def sha256(self) -> str:
        """Return the hash of the files of the encoder."""
        ...

    def embed_text(self, text: str) -> Floats:
        """Embed a text as a vector of norm one."""
        ...


@dataclass(frozen=True, slots=True)
class EmbeddingHeads:
    """What training left behind."""

    sha256: str
    encoder: str
    """The hash of the one they were trained for."""
    weights: Floats  # of statements, of messages: a row for each dimension, a column for each axis
    middle: Floats  # median of the sums over the reference corpus: of statements, of messages
    spread: Floats  # their median absolute deviations, as standard deviations
    strangers: float  # De of `core.consistency`, for these heads
    about: Mapping[str, object]

    @property
    def version(self) -> str:
        """Return the name of this scorer, which names its encoder and heads."""
        return f"{TIER}/{self.encoder[:SHOWN]}+{self.sha256[:SHOWN]}"


class EmbeddingScorer:
    """The scorer."""

    def __init__(self, heads: EmbeddingHeads, encoder: TextEncoder) -> None:
        if encoder.sha256 != heads.encoder:
            raise errors.ScorerUnusable(
                f"these heads were trained for the model {heads.encoder[:SHOWN]}, and this one is"
                f" {encoder.sha256[:SHOWN]}: train them again with scripts/train-scorer --tier 2"
            )
        width = len(encoder.embed_text("how wide is this"))
        if width != heads.weights.shape[1]:
            raise errors.ScorerUnusable(
                f"these heads are for embeddings of {heads.weights.shape[1]} dimensions, not {width}"
            )
        self._heads, self._encoder = heads, encoder
        self.version, self.strangers = heads.version, heads.strangers

    def score(self, text: str) -> TextScores:
        """Score all axes, or none if there are too few words."""
        read = words.split_words(text)
        if not words.are_enough(read):
            return scores_of_nothing(text)
        distances = self._distances_from_middle(read).clip(-_FAR, _FAR)
        return TextScores(tuple(1 / (1 + math.exp(-far)) for far in distances), {})

    def explain(self, text: str) -> list[FeatureEffect]:
        """Explain how far each sentence moved the axes, or each word of a single one, by leaving it out."""
        read = words.split_words(text)
        if not words.are_enough(read):
            return []
        whole, kind = self._distances_from_middle(read), features.is_statement(read)
        moved = []
        for first, last in itertools.islice(_split_parts(read), _PARTS):
            rest = [*read[:first], *read[last:]]
            if not rest:
                continue
            by = whole - self._distances_from_middle(rest, statement=kind)
            said = " ".join(read[first:last])
            label = said if len(said) <= _LABEL else said[: _LABEL - 1] + "…"
            moved += [FeatureEffect(axis, label, float(each)) for axis, each in zip(AXES, by, strict=True)]
        return order_by_strength(moved)

    def _distances_from_middle(self, read: Sequence[str], *, statement: bool | None = None) -> Floats:
        """Return the distance from the middle for each axis, in spreads."""
        if statement is None:
            statement = features.is_statement(read)
        kind = 0 if statement else 1
        heads = self._heads
        sums = self._encoder.embed_text(join_words(read)) @ heads.weights[kind]
        return np.asarray((sums - heads.middle[kind]) / heads.spread[kind])


def join_words(read: Sequence[str]) -> str:
    """Join the words that all tiers read into the text for the encoder."""
    return " ".join(read)


def parse_heads(content: bytes) -> EmbeddingHeads:
    """Read the heads from a file. Any other content is refused."""
    try:
        magic, header, body = content[: len(MAGIC)], *content[len(MAGIC) :].split(b"\n", 1)
        told = json.loads(header)
        if magic != MAGIC or tuple(told["axes"]) != AXES:
            raise ValueError("made for another scorer")
        weights = np.frombuffer(body, dtype="<f4").reshape(2, int(told["width"]), len(AXES))
        middle, spread = (
            np.array(told[name], dtype=np.float64).reshape(2, -1) for name in ("middle", "spread")
        )
        if not (np.isfinite(weights).all() and np.isfinite(middle).all() and (spread > 0).all()):
            raise ValueError("numbers that are none")
        sha256 = hashlib.sha256(content).hexdigest()
        encoder, strangers = str(told["encoder"]), float(told["strangers"])
        return EmbeddingHeads(
            sha256, encoder, weights.astype(np.float64), middle, spread, strangers, told["about"]
        )
    except (ValueError, KeyError, TypeError) as broken:
        raise errors.InputInvalid(f"this is no file of scorer heads: {broken}") from broken


def dump_heads(
    *,
    encoder: str,
    weights: Floats,
    middle: Floats,
    spread: Floats,
    strangers: float,
    about: Mapping[str, object],
) -> bytes:
    """Return the canonical bytes of heads."""
    told = {
        "about": about,
        "axes": list(AXES),
        "encoder": encoder,
        "middle": middle.tolist(),
        "spread": spread.tolist(),
        "strangers": strangers,
        "width": weights.shape[1],
    }
    header = json.dumps(told, sort_keys=True, ensure_ascii=False).encode()
    return MAGIC + header + b"\n" + weights.astype("<f4").tobytes()


def _split_parts(read: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Return where each sentence begins and ends, or each word if there is only one sentence."""
    ends = [at + 1 for at, word in enumerate(read) if word[0] in ".!?…"]
    bounds = sorted({0, *ends, len(read)})
    if len(bounds) > 2:
        return itertools.pairwise(bounds)
    return ((at, at + 1) for at, word in enumerate(read) if word[0].isalnum())
