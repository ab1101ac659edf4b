"""Tier 0: how often a text uses the words that speak for an axis, less how often those against it.

Needs no training data and knows what it found, so it is also a part of tier 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ccn.core.axes import AXES
from ccn.core.character.scoring.lexicons import FOR_AND_AGAINST
from ccn.core.character.scoring.words import NEGATED, split_words

DOUBT = 4
"""Words that count as undecided, so that a single one found moves a score from 0.5 to 0.6 and not to 1."""


@dataclass(frozen=True, slots=True)
class LexiconHit:
    """Words of the text that stand in the lexicon: on which axis, and for (1) or against it (-1)."""

    words: str
    axis: int
    sign: int


def sum_hits(words: Sequence[str]) -> list[float]:
    """Per axis the weight of what was found, by the square root of the length; 0 where nothing was."""
    sums = [0] * len(AXES)
    for hit in find_hits(words):
        sums[hit.axis] += hit.sign
    return [total / math.sqrt(max(len(words), 1)) for total in sums]


def score_words(words: Sequence[str]) -> list[float | None]:
    """Score each axis from 0 to 1: the share of its hits, as if DOUBT more of them were undecided.

    An axis is None if no word of its lexicon occurs. The number of hits says only how long a text is, so
    the share is used.
    """
    speak, against = [0] * len(AXES), [0] * len(AXES)
    for hit in find_hits(words):
        (speak if hit.sign > 0 else against)[hit.axis] += 1
    return [
        0.5 + 0.5 * (yes - no) / (yes + no + DOUBT) if yes or no else None
        for yes, no in zip(speak, against, strict=True)
    ]


def find_hits(words: Sequence[str]) -> Iterator[LexiconHit]:
    """Find the hits in marked words. A negation counts a word for the other side."""
    for at, word in enumerate(words):
        plain = word.removeprefix(NEGATED)
        turned = 1 if word == plain else -1
        for axis, sign in _SINGLE.get(plain, ()):
            yield LexiconHit(word, axis, sign * turned)
        for length in _STEM_LENGTHS:
            if length > len(plain):
                break
            for axis, sign in _STEMS.get(plain[:length], ()):
                yield LexiconHit(word, axis, sign * turned)
        for phrase, axis, sign in _PHRASES.get(plain, ()):
            if _phrase_continues(words, at, phrase):
                yield LexiconHit(" ".join(phrase), axis, sign * turned)


def _phrase_continues(words: Sequence[str], at: int, phrase: tuple[str, ...]) -> bool:
    return all(
        at + step < len(words) and words[at + step].removeprefix(NEGATED) == word
        for step, word in enumerate(phrase)
    )


_Words = dict[str, list[tuple[int, int]]]
_Phrases = dict[str, list[tuple[tuple[str, ...], int, int]]]


def _compile_lexicons() -> tuple[_Words, _Words, _Phrases]:
    """Whole words, beginnings of words, and phrases by their first word."""
    single: _Words = {}
    stems: _Words = {}
    phrases: _Phrases = {}
    for axis, name in enumerate(AXES):
        for sign, entries in zip((1, -1), FOR_AND_AGAINST[name], strict=True):
            for entry in entries.split():
                parts = tuple(split_words(entry.replace("_", " ")))
                if entry.endswith("*"):
                    stems.setdefault(entry[:-1], []).append((axis, sign))
                elif len(parts) == 1:
                    single.setdefault(entry, []).append((axis, sign))
                else:
                    phrases.setdefault(parts[0], []).append((parts, axis, sign))
    return single, stems, phrases


_SINGLE, _STEMS, _PHRASES = _compile_lexicons()
_STEM_LENGTHS = sorted({len(stem) for stem in _STEMS})
