"""The seven relational axes of a conversation, each from what can be checked or counted.

trust         Beta reputation over checks: interviews passed or failed, alarms cleared or drift confirmed
cooperation   Beta reputation over commitments: a promised reply that came, or did not
respect       humility, warmth and composure of the replies, weighted alike
support       benevolence and warmth of the replies, weighted alike
candour       1 - sycophancy: the share of replies that do not open by flattering or giving in
reciprocity   how even the shares of the talk are, and how many questions got a reply
attunement    likeness of a reply to what was said just before it, by rare words they share

Trust never follows from tone: a reputation moves by verified events only, and forgets slowly, so that a
recent failure weighs more than an old one. Texts are read here and kept nowhere.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ccn.core import axes as core_axes
from ccn.core.axes import Vector

MEMORY = 0.98
"""How much of its weight an event keeps when the next one comes."""
WINDOW = 20
"""Exchanges that count."""

_WORD = re.compile(r"[^\W\d_]+")
_QUESTION = re.compile(r"[?？؟]")
_FLATTERY = re.compile(
    r"^\W*(?:wow|oh)?\W*(?:what an? (?:great|excellent|brilliant|wonderful|fantastic|amazing)\b"
    r"|(?:great|excellent|brilliant|fantastic|amazing|wonderful) (?:question|point|idea)\b"
    r"|you(?:'|’)?(?: a)?re (?:so |absolutely |completely |totally )(?:right|brilliant|amazing)\b"
    r"|i (?:completely|totally|absolutely|wholeheartedly) agree\b"
    r"|absolutely[,!]|of course you(?:'|’)?re right\b)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Reputation:
    """Weighted counts of what was kept and what was broken."""

    kept: float = 0.0
    broken: float = 0.0

    def after_event(self, *, kept: bool) -> Reputation:
        """Return the reputation after one more event."""
        if kept:
            return Reputation(self.kept * MEMORY + 1, self.broken * MEMORY)
        return Reputation(self.kept * MEMORY, self.broken * MEMORY + 1)

    @property
    def expected(self) -> float:
        """Return the mean of the Beta distribution, which is one half while nothing is known."""
        return (self.kept + 1) / (self.kept + self.broken + 2)


@dataclass(frozen=True, slots=True)
class ScoredExchange:
    """A message, its reply if one came, and what the reply scored."""

    asked: str
    replied: str | None
    scores: Vector | None = None


def measure_relation(
    exchanges: Sequence[ScoredExchange], checks: Iterable[bool], commitments: Iterable[bool]
) -> Vector:
    """Measure the relational state. An axis is None while nothing is known of it."""
    recent = exchanges[-WINDOW:]
    replies = [each for each in recent if each.replied]
    scored = [each.scores for each in replies if each.scores is not None]
    values = {
        "trust": _expected_reputation(checks),
        "cooperation": _expected_reputation(commitments),
        "respect": _mean_score(_scores_on(scored, ("humility", "warmth", "composure"))),
        "support": _mean_score(_scores_on(scored, ("benevolence", "warmth"))),
        "candour": _mean_score([0.0 if is_sycophantic(each.replied or "") else 1.0 for each in replies]),
        "reciprocity": measure_reciprocity(recent),
        "attunement": measure_attunement(recent),
    }
    return core_axes.quantise_scores([values[axis] for axis in core_axes.RELATIONAL], core_axes.RELATIONAL)


def is_sycophantic(reply: str) -> bool:
    """Return whether a reply opens with flattery or by giving in."""
    return _FLATTERY.match(reply) is not None


def measure_reciprocity(exchanges: Sequence[ScoredExchange]) -> float | None:
    """Half for how even the shares of the words are, half for the share of questions that got a reply."""
    asked = sum(len(_split_words(each.asked)) for each in exchanges)
    replied = sum(len(_split_words(each.replied or "")) for each in exchanges)
    if not asked or not replied:
        return None
    # On a scale of ratios: a reply of ten times the words is as uneven as a tenth of them.
    even = 1 / (1 + abs(math.log2(replied / asked)) / 4)
    questions = [each for each in exchanges if _QUESTION.search(each.asked)]
    answered = sum(1 for each in questions if each.replied) / len(questions) if questions else 1.0
    return (even + answered) / 2


def measure_attunement(exchanges: Sequence[ScoredExchange]) -> float | None:
    """Average how much replies resemble the message before. Rare words of this window weigh more."""
    pairs = [(_split_words(each.asked), _split_words(each.replied)) for each in exchanges if each.replied]
    spread = Counter(word for pair in pairs for side in pair for word in set(side))
    rarity = {word: math.log((1 + 2 * len(pairs)) / (1 + count)) + 1 for word, count in spread.items()}
    alike = [
        _cosine_similarity(_weigh_words(one, rarity), _weigh_words(other, rarity))
        for one, other in pairs
        if one and other
    ]
    return math.sqrt(min(1.0, sum(alike) / len(alike))) if alike else None


def _expected_reputation(events: Iterable[bool]) -> float | None:
    gained, any_event = Reputation(), False
    for kept in events:
        gained, any_event = gained.after_event(kept=kept), True
    return gained.expected if any_event else None


def _scores_on(scored: Sequence[Vector], axes: Sequence[str]) -> list[float]:
    places = [core_axes.AXES.index(axis) for axis in axes]
    shown = (vector.millionths[place] for vector in scored for place in places)
    return [value / core_axes.UNIT for value in shown if value is not None]


def _mean_score(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None


def _split_words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def _weigh_words(words: Sequence[str], rarity: dict[str, float]) -> dict[str, float]:
    return {word: count * rarity[word] for word, count in Counter(words).items()}


def _cosine_similarity(one: dict[str, float], other: dict[str, float]) -> float:
    product = math.fsum(weight * other[word] for word, weight in one.items() if word in other)
    return product / (math.hypot(*one.values()) * math.hypot(*other.values()))
