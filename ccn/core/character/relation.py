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

    def after(self, *, kept: bool) -> Reputation:
        """One event later."""
        return Reputation(self.kept * MEMORY + kept, self.broken * MEMORY + (not kept))

    @property
    def expected(self) -> float:
        """The mean of the Beta distribution; one half while nothing is known."""
        return (self.kept + 1) / (self.kept + self.broken + 2)


@dataclass(frozen=True, slots=True)
class Exchange:
    """A message, its reply if one came, and what the reply scored."""

    asked: str
    replied: str | None
    scores: Vector | None = None


def measure(exchanges: Sequence[Exchange], checks: Iterable[bool], commitments: Iterable[bool]) -> Vector:
    """The relational state; an axis of which nothing is known yet is None."""
    recent = exchanges[-WINDOW:]
    replies = [each for each in recent if each.replied]
    scored = [each.scores for each in replies if each.scores is not None]
    values = {
        "trust": _reputation(checks),
        "cooperation": _reputation(commitments),
        "respect": _mean(_shown(scored, ("humility", "warmth", "composure"))),
        "support": _mean(_shown(scored, ("benevolence", "warmth"))),
        "candour": _mean([0.0 if sycophantic(each.replied or "") else 1.0 for each in replies]),
        "reciprocity": reciprocity(recent),
        "attunement": attunement(recent),
    }
    return core_axes.quantise([values[axis] for axis in core_axes.RELATIONAL], core_axes.RELATIONAL)


def sycophantic(reply: str) -> bool:
    """Whether a reply opens by flattering or by giving in."""
    return _FLATTERY.match(reply) is not None


def reciprocity(exchanges: Sequence[Exchange]) -> float | None:
    """Half for how even the shares of the words are, half for the share of questions that got a reply."""
    asked = sum(len(_words(each.asked)) for each in exchanges)
    replied = sum(len(_words(each.replied or "")) for each in exchanges)
    if not asked or not replied:
        return None
    # On a scale of ratios: a reply of ten times the words is as uneven as a tenth of them.
    even = 1 / (1 + abs(math.log2(replied / asked)) / 4)
    questions = [each for each in exchanges if _QUESTION.search(each.asked)]
    answered = sum(1 for each in questions if each.replied) / len(questions) if questions else 1.0
    return (even + answered) / 2


def attunement(exchanges: Sequence[Exchange]) -> float | None:
    """The mean likeness of replies to what came just before, each word by how rare it is in this window."""
    pairs = [(_words(each.asked), _words(each.replied)) for each in exchanges if each.replied]
    spread = Counter(word for pair in pairs for side in pair for word in set(side))
    rarity = {word: math.log((1 + 2 * len(pairs)) / (1 + count)) + 1 for word, count in spread.items()}
    alike = [
        _cosine(_weighed(one, rarity), _weighed(other, rarity)) for one, other in pairs if one and other
    ]
    return math.sqrt(min(1.0, sum(alike) / len(alike))) if alike else None


def _reputation(events: Iterable[bool]) -> float | None:
    gained, any_event = Reputation(), False
    for kept in events:
        gained, any_event = gained.after(kept=kept), True
    return gained.expected if any_event else None


def _shown(scored: Sequence[Vector], axes: Sequence[str]) -> list[float]:
    places = [core_axes.AXES.index(axis) for axis in axes]
    shown = (vector.millionths[place] for vector in scored for place in places)
    return [value / core_axes.UNIT for value in shown if value is not None]


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def _weighed(words: Sequence[str], rarity: dict[str, float]) -> dict[str, float]:
    return {word: count * rarity[word] for word, count in Counter(words).items()}


def _cosine(one: dict[str, float], other: dict[str, float]) -> float:
    product = math.fsum(weight * other[word] for word, weight in one.items() if word in other)
    return product / (math.hypot(*one.values()) * math.hypot(*other.values()))
