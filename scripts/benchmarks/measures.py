"""What the character's measures cost: phi by its variables, CCC, psi, the alarm, and a score, one by one.

On series that are made up, since only their shape matters here; how well they tell a character is measured
by `scripts/bench character`. None of it stands in the way of a message.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from ccn.claude.stand_in import replies
from ccn.claude.stand_in.prompt_reading import ReadPrompt
from ccn.core import axes
from ccn.core.character import alarm, consistency, emergence, gaussian, integrated_information
from ccn.core.character.gaussian import Samples
from ccn.node.character import scorers
from scripts.benchmarks.harness import Figure, Report, percentile

FEW, MANY = 20, 400


async def run(rounds: int) -> Report:
    """Time each of them; the median of its runs."""
    draw = np.random.default_rng(1)
    long, baseline = _series(integrated_information.WINDOW, draw), _series(480, draw)
    six = gaussian.shrink_covariance(gaussian.pair_with_past(gaussian.standardise_columns(long[:, :6])))
    sixteen = gaussian.shrink_covariance(gaussian.pair_with_past(gaussian.standardise_columns(long)))
    fleet = [_series(consistency.WINDOW, draw) for _ in range(32)]
    parts = [_series(200, draw) for _ in range(16)]
    strangers = scorers.STRANGERS[scorers.DEFAULT]
    usual = alarm.learn_baseline(baseline, axes.DECIDING, draw)
    watch = alarm.Watch.start(usual)
    told: list[tuple[str, Callable[[], object]]] = [
        ("phi, all cuts of 6 variables", lambda: integrated_information.find_minimum_cut(six)),
        ("phi, all cuts of 16 variables", lambda: integrated_information.find_minimum_cut(sixteen)),
        ("phi of a window, with its surrogates", lambda: integrated_information.estimate_phi(long, draw)),
        ("CCC of 32 instances", lambda: consistency.estimate_ccc(fleet, strangers)),
        ("psi of 16 instances, 200 rounds", lambda: emergence.estimate_psi(long, parts, draw)),
        ("alarm, a baseline learnt of 480", lambda: alarm.learn_baseline(baseline, axes.DECIDING, draw)),
    ]
    figures = [_figure(name, _median(work, FEW * rounds // 5)) for name, work in told]
    figures.append(
        _figure(
            "alarm, one message",
            _median(lambda: alarm.follow_message(watch, usual, long[0]), MANY * rounds),
        )
    )
    return Report(figures + [_score(version) for version in ("tier-0/v1", scorers.DEFAULT)])


def _score(version: str) -> Figure:
    """Of what the stand-in says: two to five sentences."""
    scorer = scorers.load(version)
    texts = [
        replies.write_reply(ReadPrompt("# Ada", (("user", f"Tell me about {n}."),))) for n in range(MANY)
    ]
    scorer.score(texts[0])
    took = [_timed(lambda text=text: scorer.score(text)) for text in texts]  # type: ignore[misc]
    return _figure(f"{version}, one reply of the stand-in", percentile(took, 50))


def _series(count: int, draw: np.random.Generator) -> Samples:
    rows = np.zeros((count, len(axes.AXES)))
    for nth in range(1, count):
        rows[nth] = 0.4 * rows[nth - 1] + draw.normal(size=len(axes.AXES))
    return np.asarray(0.5 + 0.05 * rows)


def _median(work: Callable[[], object], times: int) -> float:
    work()
    return percentile([_timed(work) for _ in range(max(1, times))], 50)


def _timed(work: Callable[[], object]) -> float:
    since = time.perf_counter()
    work()
    return (time.perf_counter() - since) * 1000


def _figure(name: str, ms: float) -> Figure:
    return Figure(name, "ms", ms, better="less")
