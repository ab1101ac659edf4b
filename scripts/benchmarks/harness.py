"""Measures rivals side by side: interleaved rounds, medians, a calibration that exposes throttling.

A benchmark hands `measure` its contenders and makes figures of their medians:

    async def run(rounds: int) -> harness.Report:
        got = await harness.measure(rounds, {"bare": bare_commits, "ours": appends})
        append = harness.Figure("durable append", "rows/s", got.of["ours"], got.of["bare"], goal=4.0)
        return harness.Report([append], [got])

A contender is an async callable that works once and returns its own figure, a rate or a latency: what is
timed and what is merely set up is decided where it is known.
"""

from __future__ import annotations

import hashlib
import math
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Contender = Callable[[], Awaitable[float]]

TOLERANCE = 0.10  # a round whose calibration is further than this from the median one does not count
PATIENCE = 3  # rounds that are run at most, in multiples of those asked for


@dataclass(frozen=True, slots=True)
class Medians:
    """The median of each contender over the rounds that count, and how many did not."""

    of: Mapping[str, float]
    kept: int
    dropped: int
    calibration_ms: float


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of a report. The goal is for ours / floor where there is a floor, else for ours alone."""

    name: str
    unit: str
    ours: float
    floor: float | None = None
    goal: float | None = None
    better: Literal["more", "less"] = "more"
    trials: int | None = None

    @property
    def ratio(self) -> float | None:
        """Return ours in multiples of the floor."""
        return self.ours / self.floor if self.floor else None

    @property
    def met(self) -> bool | None:
        """Return whether the goal is reached, or None if there is none."""
        if self.goal is None:
            return None
        judged = self.ours if self.ratio is None else self.ratio
        return judged >= self.goal if self.better == "more" else judged <= self.goal


@dataclass(frozen=True, slots=True)
class Report:
    """What a benchmark found, and how steady the machine was meanwhile."""

    figures: Sequence[Figure]
    measured: Sequence[Medians] = ()


def calibrate() -> float:
    """Time a fixed piece of work in seconds, the best of three, so that an interrupt does not count."""
    return min(_work() for _ in range(3))


def _work() -> float:
    since = time.perf_counter()
    digest = b""
    for _ in range(20_000):
        digest = hashlib.sha256(digest).digest()
    return time.perf_counter() - since


async def measure(
    rounds: int, contenders: Mapping[str, Contender], calibration: Callable[[], float] = calibrate
) -> Medians:
    """Run every contender once a round until `rounds` rounds count, or patience ends.

    Each round starts with another contender, so that none always follows the same rival. A round's
    calibration is the slower of the two beside it: what throttled half of a round made its rivals unequal.
    """
    names = list(contenders)
    ran: list[tuple[float, dict[str, float]]] = []
    while len(_steady(ran)) < rounds and len(ran) < PATIENCE * rounds:
        first = len(ran) % len(names)
        before = calibration()
        found = {name: await contenders[name]() for name in names[first:] + names[:first]}
        ran.append((max(before, calibration()), found))
    kept = _steady(ran)
    return Medians(
        of={name: statistics.median(found[name] for _, found in kept) for name in names},
        kept=len(kept),
        dropped=len(ran) - len(kept),
        calibration_ms=statistics.median(took for took, _ in ran) * 1000,
    )


def _steady(ran: Sequence[tuple[float, dict[str, float]]]) -> list[tuple[float, dict[str, float]]]:
    if not ran:
        return []
    usual = statistics.median_low(took for took, _ in ran)
    return [(took, found) for took, found in ran if abs(took - usual) <= TOLERANCE * usual]


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the nearest-rank percentile, a value that was measured."""
    ranked = sorted(values)
    return ranked[max(1, math.ceil(percent / 100 * len(ranked))) - 1]
