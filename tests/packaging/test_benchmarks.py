"""Benchmarks are fair to both sides, and honest about a machine that would not hold still."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from itertools import chain, repeat
from pathlib import Path

import pytest

from scripts.benchmarks import harness
from scripts.benchmarks.harness import Figure


def machine(*seconds: float) -> Callable[[], float]:
    """A calibration that takes these seconds, two a round; afterwards the last of them for ever."""
    return chain(seconds, repeat(seconds[-1])).__next__


async def test_rivals_take_turns_at_going_first() -> None:
    order = []

    def rival(name: str) -> harness.Contender:
        async def run() -> float:
            order.append(name)
            return 1.0

        return run

    await harness.measure(3, {name: rival(name) for name in "abc"}, machine(1.0))
    assert "".join(order) == "abcbcacab"


async def test_a_round_on_a_throttled_machine_does_not_count() -> None:
    results = iter([10.0, 99.0, 20.0, 30.0])

    async def rival() -> float:
        return next(results)

    got = await harness.measure(3, {"rival": rival}, machine(1.0, 1.0, 1.0, 1.5, 1.0))
    assert (got.of["rival"], got.kept, got.dropped) == (20.0, 3, 1)


async def test_a_machine_that_never_holds_still_ends_the_measuring_all_the_same() -> None:
    async def rival() -> float:
        return 1.0

    got = await harness.measure(5, {"rival": rival}, machine(*(1.2**power for power in range(100))))
    assert got.kept >= 1
    assert got.kept + got.dropped == 5 * harness.PATIENCE


@pytest.mark.parametrize(
    ("figure", "ratio", "met"),
    [
        (Figure("rate", "1/s", ours=40, floor=10, goal=4.0), 4.0, True),
        (Figure("rate", "1/s", ours=39, floor=10, goal=4.0), 3.9, False),
        (Figure("latency", "ms", ours=30, floor=10, goal=3.0, better="less"), 3.0, True),
        (Figure("latency", "ms", ours=51, goal=50, better="less"), None, False),
        (Figure("lost", "rows", ours=0, goal=0, better="less", trials=100), None, True),
        (Figure("no goal", "ms", ours=1), None, None),
    ],
)
def test_a_goal_is_for_the_ratio_where_there_is_a_floor(
    figure: Figure, ratio: float | None, met: bool | None
) -> None:
    assert (figure.ratio, figure.met) == (ratio, met)


def test_a_percentile_is_a_value_that_was_measured() -> None:
    values = [float(n) for n in range(1, 101)]
    assert [harness.percentile(values, p) for p in (50, 95, 100)] == [50.0, 95.0, 100.0]
    assert harness.percentile([7.0], 95) == 7.0


def test_a_benchmark_prints_one_json_object_for_machines(root: Path) -> None:
    command = [sys.executable, "-m", "scripts.benchmarks", "machine", "--json", "--rounds", "1"]
    told = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=200, check=True)
    assert [f["unit"] for f in json.loads(told.stdout)["figures"]] == ["MiB/s", "ms", "ms"]
