"""What a character is measured by: sixteen axes, seven relational axes, and the vector that holds them.

A vector is sixteen integers in millionths. Whatever is signed or hashed is integer arithmetic, because
float results depend on the order of the terms. An axis that could not be observed is None, not 0.5.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ccn import errors

AXES = (
    "honesty",
    "humility",
    "directness",
    "precision",
    "rigor",
    "curiosity",
    "creativity",
    "openness",
    "warmth",
    "benevolence",
    "integrity",
    "steadfastness",
    "diligence",
    "composure",
    "optimism",
    "playfulness",
)
DECIDING = tuple(
    place
    for place, axis in enumerate(AXES)
    if axis not in {"directness", "rigor", "openness", "integrity", "composure"}
)
"""The places of the axes that decisions may rest on: the others have no ground truth to be validated on."""
RELATIONAL = ("trust", "cooperation", "respect", "support", "candour", "reciprocity", "attunement")
UNIT = 1_000_000
"""Millionths: the grid on which every score is exact, in Python, PostgreSQL and JSON alike."""


@dataclass(frozen=True, slots=True)
class Vector:
    """Scores in millionths of the axes of one kind, None where nothing could be observed."""

    millionths: tuple[int | None, ...]

    def scores(self) -> list[float | None]:
        """The same as fractions of one, for storage and for people."""
        return [None if value is None else value / UNIT for value in self.millionths]


def quantise(scores: Sequence[float | None], axes: Sequence[str] = AXES) -> Vector:
    """Put scores on the grid; whatever is not a number from 0 to 1 is refused by its axis's name."""
    if len(scores) != len(axes):
        raise errors.InputInvalid(f"a vector has {len(axes)} axes, not {len(scores)}")
    return Vector(tuple(_millionths(score, axis) for score, axis in zip(scores, axes, strict=True)))


def _millionths(score: float | None, axis: str) -> int | None:
    if score is None:
        return None
    if not math.isfinite(score) or not 0 <= score <= 1:
        raise errors.InputInvalid(f"{axis} is {score}; a score lies between 0 and 1")
    return round(score * UNIT)
