"""The interface of all tiers: a text in; sixteen scores, and why any of them is missing, out.

`LexiconScorer` (tier 0) needs nothing, `LinearScorer` (tier 1) needs trained weights; tier 2 is in `dense`.
All can say which words and features moved which axis.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ccn.core.axes import AXES
from ccn.core.character.scoring import features, lexicon, linear, words
from ccn.core.character.scoring.linear import Weights

SHOWN = 12
"""Digits of a hash that are enough in the name of a scorer."""


@dataclass(frozen=True, slots=True)
class TextScores:
    """Scores from 0 to 1 in the order of the axes; None, and in `unobserved` why, where there is none."""

    scores: tuple[float | None, ...]
    unobserved: dict[str, str]


@dataclass(frozen=True, slots=True)
class FeatureEffect:
    """One feature of a text, and how far it moved an axis: in spreads of the reference corpus, or, of tier
    0, its share.
    """

    axis: str
    feature: str
    by: float


class Scorer(Protocol):
    """What every tier can do."""

    @property
    def version(self) -> str:
        """Its name in records, with the hash of its numbers if it has any."""
        ...

    def score(self, text: str) -> TextScores:
        """Score a text."""
        ...

    def explain(self, text: str) -> list[FeatureEffect]:
        """Explain what moved the scores, the strongest first."""
        ...


class LexiconScorer:
    """Tier 0: hand-written lexicons."""

    version = "tier-0/v1"

    def score(self, text: str) -> TextScores:
        """Score a text. An axis of which no word occurs is not observed."""
        read = words.split_words(text)
        if not words.are_enough(read):
            return scores_of_nothing(text)
        scores = tuple(lexicon.score_words(words.mark_negated(read)))
        missing = [axis for axis, score in zip(AXES, scores, strict=True) if score is None]
        return TextScores(scores, dict.fromkeys(missing, "none of its words occurs"))

    def explain(self, text: str) -> list[FeatureEffect]:
        """List the words that were found."""
        read = words.split_words(text)
        if not words.are_enough(read):
            return []
        found = Counter(
            (hit.axis, hit.words, hit.sign) for hit in lexicon.find_hits(words.mark_negated(read))
        )
        of_axis = Counter(hit.axis for hit in lexicon.find_hits(words.mark_negated(read)))
        return order_by_strength(
            FeatureEffect(AXES[at], said, sign * count / (of_axis[at] + lexicon.DOUBT))
            for (at, said, sign), count in found.items()
        )


class LinearScorer:
    """Tier 1: trained weights over the features of a text."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights
        self.version = f"{weights.version}+{weights.sha256[:SHOWN]}"

    def score(self, text: str) -> TextScores:
        """Score all axes, or none if there are too few words."""
        read = words.split_words(text)
        if not words.are_enough(read):
            return scores_of_nothing(text)
        return TextScores(tuple(linear.score_words(self._weights, read)), {})

    def explain(self, text: str) -> list[FeatureEffect]:
        """List the share of every word, pair, beginning and surface mark. Those in one place share it."""
        read = words.split_words(text)
        if not words.are_enough(read):
            return []
        weights, kind = self._weights, 0 if features.is_statement(read) else 1
        keyed = {key: set(features.places_of(key, read)) for key in features.name_features(read)}
        sharing = Counter(place for places in keyed.values() for place in places)
        scale = weights.unit / (len(sharing) ** 0.5 * weights.spread[kind])
        moved = []
        for key, places in keyed.items():
            shares = sum(weights.table[place] / sharing[place] for place in places) * scale
            moved += [
                FeatureEffect(axis, key, float(by)) for axis, by in zip(AXES, shares, strict=True) if by
            ]
        if kind == 0:
            marked = words.mark_negated(read)
            by_axis = np.array(lexicon.sum_hits(marked)) * weights.lexicon / weights.spread[kind]
            moved += [
                FeatureEffect(a, "<lexicon>", float(by)) for a, by in zip(AXES, by_axis, strict=True) if by
            ]
        return order_by_strength(moved)


def order_by_strength(moved: Iterable[FeatureEffect]) -> list[FeatureEffect]:
    """Order features by how far they moved an axis, the strongest first."""
    return sorted(moved, key=lambda each: (-abs(each.by), each.axis, each.feature))


def scores_of_nothing(text: str) -> TextScores:
    """Return scores without a value, and why there is nothing to measure in a text."""
    why = "only code" if len(text.split()) >= words.FEWEST else f"fewer than {words.FEWEST} words"
    return TextScores((None,) * len(AXES), dict.fromkeys(AXES, why))
