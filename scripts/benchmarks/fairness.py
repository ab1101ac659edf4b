"""How far one hostile owner, or a lying node, moves a median, under the rule in force and under others.

Honest instances scatter about 0.5 as measured states do: 0.04 from owner to owner and 0.06 from instance to
instance of one owner. The hostile owner has nine instances for each honest one, on every node, and puts all
of them at the end of the axis that moves the median further; under a lying node each of its 500 instances
has an owner of its own, who does not exist. What is told is the mean over axes and trials of how far the
median went from where it is without them, beside `by instance` or `by node`, which were in force first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ccn.core.axes import AXES, UNIT
from ccn.core.chain import drift, median
from scripts.benchmarks.harness import Figure, Report

Numbers = npt.NDArray[np.int64]

OWNERS = (3, 10, 100)
MORE_OWNERS = (2, 4, 5, 7, 20, 50)
"""For these only what is in force is told."""
OF_OWNERS, OF_INSTANCES = 0.04, 0.06
TIMES = 9
"""Hostile instances for each honest one: nine tenths of all."""
MADE_UP = 500
NODES, LIARS = 4, 1
TOLERANCE = 100_000


@dataclass(frozen=True, slots=True)
class Fleet:
    """Instances: what they are like, whose they are, and where."""

    rows: median.Matrix
    owners: Numbers
    nodes: Numbers

    def __add__(self, other: Fleet) -> Fleet:
        """Both together."""
        return Fleet(
            np.concatenate([self.rows, other.rows]),
            np.concatenate([self.owners, other.owners]),
            np.concatenate([self.nodes, other.nodes]),
        )

    def on(self, which: npt.NDArray[np.bool_]) -> Fleet:
        """Some of them."""
        return Fleet(self.rows[which], self.owners[which], self.nodes[which])


Rule = Callable[[Fleet], npt.NDArray[np.float64]]


async def run(rounds: int) -> Report:
    """The same trials for every rule."""
    figures = list[Figure]()
    for owners in MORE_OWNERS:
        rules = {name: CRASH[name] for name in ("by instance", IN_FORCE)}
        moved = _moved(rules, owners, COUNTS["1 to 5 each"], 8 * rounds, _mass)
        figures += _told(f"{owners} owners, 1 to 5 each", moved, "by instance")
    for owners in OWNERS:
        trials = max(2, rounds * (8 if owners < 100 else 2))
        for name, counts in COUNTS.items():
            moved = _moved(CRASH, owners, counts, trials, _mass)
            figures += _told(f"{owners} owners, {name}", moved, "by instance")
        figures += _flagged(owners, trials)
        for name, attack in (("one hostile", _mass), ("a lying node", _lies)):
            moved = _moved(BYZANTINE, owners, COUNTS["1 to 5 each"], trials, attack)
            figures += _told(f"{owners} owners, {NODES} nodes, {name}", moved, "by node")
    return Report(figures)


def _moved(
    rules: Mapping[str, Rule],
    owners: int,
    counts: Callable[[np.random.Generator, int], Numbers],
    trials: int,
    attack: Callable[[Fleet, int, int], tuple[Fleet, Fleet]],
) -> dict[str, float]:
    """How far the median goes under each rule, by whichever end of the axis moves it further."""
    draw, total = np.random.default_rng(owners), dict.fromkeys(rules, 0.0)
    for _ in range(trials):
        fleet = _honest(draw, counts(draw, owners - 1))
        for name, rule in rules.items():
            ways = (attack(fleet, owners, end) for end in (0, UNIT))
            total[name] += max(
                float(np.abs(rule(with_them) - rule(without)).mean()) for without, with_them in ways
            )
    return {name: moved / trials / UNIT for name, moved in total.items()}


def _honest(draw: np.random.Generator, counts: Numbers) -> Fleet:
    owners = np.repeat(np.arange(len(counts)), counts)
    scores = 0.5 + draw.normal(scale=OF_OWNERS, size=(len(counts), len(AXES)))[owners]
    scores += draw.normal(scale=OF_INSTANCES, size=(len(owners), len(AXES)))
    return Fleet(_rows(scores), owners, draw.permutation(len(owners)) % NODES)


def _rows(scores: npt.NDArray[np.float64]) -> median.Matrix:
    return np.clip(np.rint(scores * UNIT), 0, UNIT).astype(np.int32)


def _mass(fleet: Fleet, owners: int, end: int) -> tuple[Fleet, Fleet]:
    """One more owner with nine tenths of all instances."""
    count = TIMES * len(fleet.rows)
    hostile = np.full(count, owners - 1), np.arange(count) % NODES
    return fleet, fleet + Fleet(np.full((count, len(AXES)), end, np.int32), *hostile)


def _lies(fleet: Fleet, owners: int, end: int) -> tuple[Fleet, Fleet]:
    """What the last node reports is made up, and so is whose it is."""
    honest = fleet.on(fleet.nodes < NODES - 1)
    made_up = np.arange(owners, owners + MADE_UP), np.full(MADE_UP, NODES - 1)
    return honest, honest + Fleet(np.full((MADE_UP, len(AXES)), end, np.int32), *made_up)


def _flagged(owners: int, trials: int) -> list[Figure]:
    """Of a hundred honest instances, how many are beyond the tolerance while somebody hostile is there."""
    draw, seen = np.random.default_rng(owners), {"by instance": 0.0, IN_FORCE: 0.0, "nobody hostile": 0.0}
    for _ in range(trials):
        fleet = _honest(draw, COUNTS["1 to 5 each"](draw, owners - 1))
        _, attacked = _mass(fleet, owners, 0)
        for name in seen:
            rule, shown = (CRASH[IN_FORCE], fleet) if name == "nobody hostile" else (CRASH[name], attacked)
            far = drift.measure_distances(fleet.rows, rule(shown).astype(np.int64).tolist())
            seen[name] += 100 * float((far > TOLERANCE).mean()) / trials
    what = f"{owners} owners, honest beyond 0.10"
    return [
        Figure(f"{what}: {name}", "of 100", seen[name], seen["by instance"], better="less")
        for name in (IN_FORCE, "nobody hostile")
    ]


def _told(what: str, moved: Mapping[str, float], before: str) -> list[Figure]:
    return [
        Figure(f"{what}: {name}", "moved", far, moved[before], better="less")
        for name, far in moved.items()
        if name != before
    ]


def _by_row(fleet: Fleet) -> npt.NDArray[np.float64]:
    return np.array(median.by_row(fleet.rows), np.float64)


def _by_node(fleet: Fleet) -> npt.NDArray[np.float64]:
    return np.array(median.by_group(fleet.rows, fleet.nodes), np.float64)


def _by_owner(fleet: Fleet) -> npt.NDArray[np.float64]:
    return np.array(median.by_group(fleet.rows, fleet.owners), np.float64)


def _by_both(fleet: Fleet) -> npt.NDArray[np.float64]:
    return np.array(median.by_both(fleet.rows, fleet.owners, fleet.nodes, LIARS), np.float64)


def _of_medians(fleet: Fleet) -> npt.NDArray[np.float64]:
    """The median of the owners' medians."""
    each = [median.by_row(fleet.rows[fleet.owners == owner]) for owner in np.unique(fleet.owners)]
    return np.array(median.by_row(np.array(each, np.int32)), np.float64)


def _within_nodes(fleet: Fleet) -> npt.NDArray[np.float64]:
    """Every node one, split over its owners, split over their instances there."""
    cells, where, rows = np.unique(
        fleet.owners * NODES + fleet.nodes, return_inverse=True, return_counts=True
    )
    return _weighted(fleet.rows, 1 / (rows * np.bincount(cells % NODES)[cells % NODES])[where])


def _roots(fleet: Fleet) -> npt.NDArray[np.float64]:
    """Every owner the square root of its instances."""
    return _weighted(fleet.rows, 1 / np.sqrt(np.bincount(fleet.owners)[fleet.owners]))


def _capped(fleet: Fleet) -> npt.NDArray[np.float64]:
    """Every instance one, but no owner more than a tenth of all, or its equal share if that is more."""
    counts = np.bincount(fleet.owners).astype(np.float64)
    weights, most = counts.copy(), max(0.1, 1 / len(counts))
    for _ in range(1_000):  # what is cut off makes the whole less, and so the tenth of it
        weights = np.minimum(weights, most * weights.sum() * (1 + 1e-12))
    return _weighted(fleet.rows, (weights / counts)[fleet.owners])


def _weighted(rows: median.Matrix, weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The lower weighted median, in floats: for rules that are only looked at."""
    order = np.argsort(rows, axis=0)
    upto = np.cumsum(weights[order], axis=0)
    middle = (upto < upto[-1] / 2 - 1e-9).sum(axis=0)
    ordered = np.take_along_axis(rows, order, axis=0).astype(np.float64)
    return np.asarray(ordered[middle, np.arange(rows.shape[1])])


IN_FORCE = "in force"
CRASH: Mapping[str, Rule] = {
    "by instance": _by_row,
    "square roots": _roots,
    "a tenth at most": _capped,
    "owners' medians": _of_medians,
    IN_FORCE: _by_owner,
}
BYZANTINE: Mapping[str, Rule] = {
    "by node": _by_node,
    "owners alone": _by_owner,
    "owners within nodes": _within_nodes,
    IN_FORCE: _by_both,
}
COUNTS: Mapping[str, Callable[[np.random.Generator, int], Numbers]] = {
    "1 each": lambda _, owners: np.ones(owners, np.int64),
    "1 to 5 each": lambda draw, owners: draw.integers(1, 6, owners),
    "few with many": lambda draw, owners: np.minimum(60, 1 + draw.pareto(1.0, owners).astype(np.int64)),
}
"""Instances of each honest owner."""
