"""Tier 2: heads over the embeddings of one sentence encoder, trained on the same evidence as tier 1.

Separate from `training`, whose features are counted here and are the same bits on every machine. An
embedding comes from another library's floating-point arithmetic, so heads are trained where they are used.
The heads of statements and of messages are solved together: what they share, and what is each one's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ccn.core.axes import AXES, DECIDING
from ccn.core.character import consistency
from ccn.core.character.scoring import dense, features, words
from ccn.core.character.scoring.dense import TextEncoder
from scripts.scorer import fit, judging, parts, training
from scripts.scorer.corpus import EVIDENCE, Sample
from scripts.scorer.fit import Floats

COMMON, STATEMENTS, MESSAGES = 6.0, 0.3, 6.0
"""Penalties of what heads share and of each kind's own part. Messages that answer other prompts than those
of the training are told best by heads held tightly, other statements by heads that are free."""
_DIGITS = 5  # so that the last bits of a solution do not show
_FAR = 30.0


@dataclass(frozen=True, slots=True)
class Embedding:
    """A sample and what the encoder makes of it."""

    sample: Sample
    vector: Floats
    kind: int
    """0 for a statement, 1 for a message."""
    weight: float


def see(samples: Sequence[Sample], encoder: TextEncoder) -> list[Embedding]:
    """Embed all samples that have words enough, and pieces of the messages."""
    pieces = (piece for sample in samples for piece in parts.pieces(sample))
    return [*_seen(samples, encoder, 1.0), *_seen(pieces, encoder, training.PIECE)]


def pack(seen: Sequence[Embedding], encoder: TextEncoder, about: Mapping[str, object]) -> bytes:
    """Write the heads file: two heads per axis, their place on the scale, how far strangers are apart."""
    heads = np.stack([_heads(axis, seen) for axis in AXES], axis=-1).round(_DIGITS)
    heads = heads.astype(np.float32).astype(np.float64)
    whole = [each for each in seen if each.weight == 1]
    sums = np.array([each.vector @ heads[each.kind] for each in whole])
    middle, spread = map(np.array, training.calibration([each.sample for each in whole], sums))
    spread = np.maximum(spread, 1e-6)
    by_source: dict[tuple[str, bool], list[Floats]] = {}
    for each, row in zip(whole, sums, strict=True):
        if each.sample.is_message:
            scores = 1 / (1 + np.exp(-((row - middle[1]) / spread[1]).clip(-_FAR, _FAR)))
            source = (each.sample.task, each.sample.shown)
            by_source.setdefault(source, []).append(scores[list(DECIDING)])
    return dense.dump_heads(
        encoder=encoder.sha256,
        weights=heads,
        middle=middle,
        spread=spread,
        strangers=training.rounded(judging.strangers_of(by_source, consistency.WINDOW)),
        about=about,
    )


def _seen(samples: Iterable[Sample], encoder: TextEncoder, weight: float) -> list[Embedding]:
    seen = []
    for sample in samples:
        read = words.split_words(sample.text)
        if words.are_enough(read):
            kind = 0 if features.is_statement(read) else 1
            seen.append(Embedding(sample, encoder.embed_text(dense.join_words(read)), kind, weight))
    return seen


def _heads(axis: str, seen: Sequence[Embedding]) -> Floats:
    """Fit the head of statements and that of messages."""
    used = [each for each in seen if axis in EVIDENCE[each.sample.task]]
    weights = [each.weight for each in used]
    shown, sure, of_task = training.evidence(axis, [each.sample for each in used], weights)
    vectors = np.array([each.vector for each in used])
    is_message = np.array([[each.kind] for each in used])
    blocks = (vectors, vectors * (1 - is_message), vectors * is_message, of_task)
    strengths = (COMMON, STATEMENTS, MESSAGES, training.INTERCEPT_PENALTY)
    penalty = np.repeat(strengths, [block.shape[1] for block in blocks])
    found = fit.dense(np.hstack(blocks), shown, sure, penalty)[: 3 * vectors.shape[1]]
    common, *own = found.reshape(3, -1)
    return common + np.array(own)
