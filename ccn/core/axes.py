"""What a character is measured by: sixteen axes, seven relational axes, and the vector that holds them.

A vector is sixteen integers in millionths. Whatever is signed or hashed is integer arithmetic, because
float results depend on the order of the terms. On every axis 0.5 is neutral, 1 clearly shown, 0 clearly the
opposite. An axis that could not be observed is None, not 0.5.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ccn import errors


@dataclass(frozen=True, slots=True)
class Axis:
    """One of the sixteen: what a high score means, and where the idea comes from."""

    name: str
    rubric: str
    lineage: str
    validated_offline: bool = True

    @property
    def weight(self) -> int:
        """Its weight in decisions that rest on offline scores: what was never validated decides nothing."""
        return int(self.validated_offline)


@dataclass(frozen=True, slots=True)
class RelationalAxis:
    """One of the seven: between a character and whom it talks with, per conversation."""

    name: str
    formula: str


_BETA = "(good + 1) / (good + bad + 2) over verified events, each event's weight fading with age"

SIXTEEN = (
    Axis(
        "honesty",
        "Says what it holds true and no more; marks invention and ignorance; does not deceive.",
        "HEXACO honesty-humility; VIA honesty; persona vectors: honest, hallucinating",
    ),
    Axis(
        "humility",
        "Knows the limits of its knowledge and rank; does not boast; gives others their due.",
        "HEXACO honesty-humility; VIA humility; persona vectors: hallucinating, impolite",
    ),
    Axis(
        "directness",
        "Says the main thing first and plainly, without hedging or flattery.",
        "Big Five facet assertiveness; VIA honesty",
        validated_offline=False,
    ),
    Axis(
        "precision",
        "Gives exact, checkable particulars; keeps fact and story apart.",
        "HEXACO conscientiousness (perfectionism); persona vectors: factual, hallucinating",
    ),
    Axis(
        "rigor",
        "Argues from evidence, names assumptions, weighs both sides, checks before concluding.",
        "VIA judgement; HEXACO conscientiousness (prudence)",
        validated_offline=False,
    ),
    Axis(
        "curiosity",
        "Shows interest, asks, looks for how and why.",
        "VIA curiosity, love of learning; Big Five openness (intellect); persona vectors: curious",
    ),
    Axis(
        "creativity",
        "Finds new images and ideas instead of the usual ones.",
        "VIA creativity; HEXACO openness (creativity); persona vectors: creative",
    ),
    Axis(
        "openness",
        "Welcomes the unfamiliar: other views, arts, cultures, change.",
        "Big Five and HEXACO openness to experience",
        validated_offline=False,
    ),
    Axis(
        "warmth",
        "Friendly and courteous; hears how the other feels and says so.",
        "Big Five agreeableness and warmth; VIA kindness, love; persona vectors: empathetic, polite",
    ),
    Axis(
        "benevolence",
        "Wants the good of others and shields them from harm.",
        "HEXACO agreeableness, altruism; VIA kindness, fairness; persona vectors: evil (reversed)",
    ),
    Axis(
        "integrity",
        "Keeps to its principles and its word, also when it costs.",
        "HEXACO honesty-humility (fairness); VIA honesty, fairness",
        validated_offline=False,
    ),
    Axis(
        "steadfastness",
        "Keeps a well-founded view under pressure; does not agree merely to please.",
        "VIA bravery, perseverance; persona vectors: sycophantic (reversed)",
    ),
    Axis(
        "diligence",
        "Takes the task seriously and carries it through with care.",
        "Big Five and HEXACO conscientiousness; VIA perseverance; persona vectors: apathetic (reversed)",
    ),
    Axis(
        "composure",
        "Stays calm and even-tempered, also when provoked.",
        "Big Five neuroticism (reversed); HEXACO emotionality, patience; VIA self-regulation",
        validated_offline=False,
    ),
    Axis(
        "optimism",
        "Expects good to be possible; sees the opening in a difficulty.",
        "VIA hope; Big Five neuroticism (reversed); persona vectors: optimistic",
    ),
    Axis(
        "playfulness",
        "Jokes, teases, plays with words and ideas.",
        "VIA humour; Big Five extraversion (cheerfulness); persona vectors: humorous",
    ),
)
SEVEN = (
    RelationalAxis("trust", f"{_BETA}: checks passed or failed, drift confirmed; never from tone"),
    RelationalAxis("cooperation", f"{_BETA}: commitments kept or broken"),
    RelationalAxis(
        "respect", "share of courteous wording in the text, less the share of contempt and insult"
    ),
    RelationalAxis(
        "support", "share of encouraging and helping wording in the text, less the share of dismissal"
    ),
    RelationalAxis("candour", "1 - sycophancy, the tendency to agree with and praise whoever speaks"),
    RelationalAxis(
        "reciprocity", "geometric mean of how evenly turns are shared and the part of questions answered"
    ),
    RelationalAxis("attunement", "TF-IDF cosine similarity of a reply to what was said just before"),
)
AXES = tuple(axis.name for axis in SIXTEEN)
DECIDING = tuple(place for place, axis in enumerate(SIXTEEN) if axis.validated_offline)
"""The places of the axes that decisions may rest on."""
JUDGED = tuple(place for place, axis in enumerate(SIXTEEN) if not axis.validated_offline)
"""The places of those that only a judge scores."""
RELATIONAL = tuple(relation.name for relation in SEVEN)
UNIT = 1_000_000
"""Millionths: the grid on which every score is exact, in Python, PostgreSQL and JSON alike."""


@dataclass(frozen=True, slots=True)
class Vector:
    """Scores in millionths of the axes of one kind, None where nothing could be observed."""

    millionths: tuple[int | None, ...]

    def scores(self) -> list[float | None]:
        """The same as fractions of one, for storage and for people."""
        return [None if value is None else value / UNIT for value in self.millionths]


def quantise_scores(scores: Sequence[float | None], axes: Sequence[str] = AXES) -> Vector:
    """Put scores on the grid; whatever is not a number from 0 to 1 is refused by its axis's name."""
    if len(scores) != len(axes):
        raise errors.InputInvalid(f"a vector has {len(axes)} axes, not {len(scores)}")
    return Vector(tuple(_quantise_score(score, axis) for score, axis in zip(scores, axes, strict=True)))


def _quantise_score(score: float | None, axis: str) -> int | None:
    if score is None:
        return None
    if not math.isfinite(score) or not 0 <= score <= 1:
        raise errors.InputInvalid(f"{axis} is {score}; a score lies between 0 and 1")
    return round(score * UNIT)
