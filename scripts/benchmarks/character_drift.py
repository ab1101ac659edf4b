"""How soon drift is seen, and how rarely where there is none: simulated with messages held out.

Somebody is a trait at one of its poles, answering under that trait's prompts; out of character is the other
pole of the same trait. A baseline never holds a message of the run. Separate from `character`, which asks
what single messages and windows show.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ccn.core import axes
from ccn.core.axes import UNIT, Vector
from ccn.core.chain import drift
from ccn.core.character import alarm, state
from ccn.core.character.alarm import AlarmBaseline, Watch
from scripts.benchmarks.harness import Figure
from scripts.scorer.corpus import EVIDENCE, Sample

Floats = npt.NDArray[np.float64]
Booleans = npt.NDArray[np.bool_]

FEWEST = 300  # messages of a persona: a baseline, and enough besides for runs
FEWEST_OFF = 80
CUTS = 2  # of each persona into a baseline and the rest
RUNS = 5  # of each cut and setting
WARM = 30  # usual messages before a run counts, so that nothing hangs on the first one
LONGEST = 100  # messages that a run waits for an alarm
BLOCK = 20  # messages about one topic before the next
BREADTHS = 100, 12  # topics of a baseline that knows none of the run's
TOPIC_RUNS = 20
TOLERANCE = 0.10
SHARES = ((1.0, 3, 7), (0.5, 7, 18), (0.25, 14, 68))
"""Of messages that are off, and the delays to beat: those of the design's alarm and of its plain rule."""


@dataclass(frozen=True, slots=True)
class Heard:
    """A message and its scores."""

    sample: Sample
    scores: Floats


@dataclass(frozen=True, slots=True)
class Persona:
    """The messages of a trait's pole, and those of the other pole."""

    own: Floats
    off: Floats


@dataclass(frozen=True, slots=True)
class Usual:
    """What the rules hold a persona to: the alarm's baseline, and the mean around which states gather."""

    scores: Floats
    baseline: AlarmBaseline
    middle: Vector


@dataclass(frozen=True, slots=True)
class Run:
    """Which messages of a run the alarm and the plain rule find too far."""

    alarmed: Booleans
    beyond: Booleans


def figures(heard: Sequence[Heard]) -> list[Figure]:
    """Delays and false alarms of the alarm, beside those of a plain tolerance on the drift."""
    draw = np.random.default_rng(1)
    cuts = [cut for persona in personas(heard) for cut in _cuts(persona, draw)]
    healthy = [_run(usual, draw.permutation(rest), draw) for usual, rest, _ in cuts for _ in range(RUNS)]
    rule, thresholds = f"plain {TOLERANCE:.2f} rule", [usual.baseline.threshold for usual, _, _ in cuts]
    found = [
        Figure("alarm, threshold", "T squared", float(np.median(thresholds))),
        _false("alarm", [run.alarmed for run in healthy], alarm.FALSE_ALARMS),
        _false(rule, [run.beyond for run in healthy], 0.047),
    ]
    for share, goal, plain in SHARES:
        runs = [_run(cut[0], _mixed(*cut[1:], share, draw), draw) for cut in cuts for _ in range(RUNS)]
        off = f"{share:.0%} of messages off: median delay"
        found.append(_delay(f"alarm, {off}", [run.alarmed for run in runs], goal))
        found.append(_delay(f"{rule}, {off}", [run.beyond for run in runs], plain))
    return [*found, *_topics(heard, draw)]


def personas(heard: Sequence[Heard]) -> list[Persona]:
    """Everybody of whom there are messages enough, and of the opposite too."""
    poles: dict[tuple[str, bool], list[Heard]] = {}
    for each in heard:
        poles.setdefault((each.sample.task, each.sample.shown), []).append(each)
    found = []
    for (task, shown), own in poles.items():
        off = poles.get((task, not shown), [])
        if len(own) >= FEWEST and len(off) >= FEWEST_OFF:
            rows = [np.array([each.scores for each in side]) for side in (own, off)]
            found.append(Persona(*rows))
    return found


def _cuts(persona: Persona, draw: np.random.Generator) -> Iterator[tuple[Usual, Floats, Floats]]:
    """A baseline, the messages that are not in it, and those of the other pole."""
    for _ in range(CUTS):
        own = draw.permutation(persona.own)
        yield _usual(own[: alarm.LEAST], draw), own[alarm.LEAST :], persona.off


def _usual(scores: Floats, draw: np.random.Generator) -> Usual:
    middle = axes.quantise_scores(scores.mean(axis=0).tolist())
    return Usual(scores, alarm.learn_baseline(scores, axes.DECIDING, draw), middle)


def _mixed(rest: Floats, off: Floats, share: float, draw: np.random.Generator) -> Floats:
    """So many messages of the other pole among healthy ones."""
    is_off = draw.random(LONGEST) < share
    return np.where(is_off[:, None], draw.choice(off, LONGEST), draw.choice(rest, LONGEST))


def _run(usual: Usual, rows: Floats, draw: np.random.Generator) -> Run:
    """What the rules of `core` say, message by message; the plain one compares with the usual mean."""
    watch, now = Watch.start(usual.baseline), usual.middle
    alarmed, states = [], []
    for at, row in enumerate([*draw.choice(usual.scores, WARM), *rows]):
        watch = alarm.follow_message(watch, usual.baseline, row)
        now = state.follow_scores(now, axes.quantise_scores(row.tolist()))
        alarmed.append(alarm.is_raised(watch, usual.baseline))
        states.append(now.millionths)
        if at < WARM and alarmed[-1]:
            watch = Watch.start(usual.baseline)  # as after an alarm that was looked into
    far = drift.measure_distances(np.array(states[WARM:], dtype=np.int64), usual.middle.millionths)
    return Run(np.array(alarmed[WARM:]), far > TOLERANCE * UNIT)


def _topics(heard: Sequence[Heard], draw: np.random.Generator) -> list[Figure]:
    """Healthy runs about questions that the baseline does not know; the persona is everybody who is well
    behaved, because one trait alone has too few questions to be broad.

    An answer was written under the prompts of the trait that its question is for. To dwell on one is
    therefore more than a change of topic, and these shares are upper bounds.
    """
    good = [each for each in heard if each.sample.shown == (sum(EVIDENCE[each.sample.task].values()) > 0)]
    questions = sorted({each.sample.question for each in good})
    about = np.array([questions.index(each.sample.question) for each in good])
    scores = np.array([each.scores for each in good])
    found: dict[str, list[Booleans]] = {}
    for _ in range(TOPIC_RUNS):
        place = draw.permutation(len(questions))[about]
        usuals = [
            _usual(draw.permutation(scores[place < known])[: alarm.LEAST], draw) for known in BREADTHS
        ]
        changing = draw.permutation(scores[place >= max(BREADTHS)])[:LONGEST]
        blocks = [scores[place == max(BREADTHS) + block] for block in range(LONGEST // BLOCK)]
        dwelling = np.concatenate([draw.permutation(block)[:BLOCK] for block in blocks])
        for known, usual in zip(BREADTHS, usuals, strict=True):
            for kind, run in ((f"{BLOCK} messages on each", dwelling), ("mixed", changing)):
                name = f"alarm, new topics, {kind}, baseline of {known} topics"
                found.setdefault(name, []).append(_run(usual, run, draw).alarmed)
    return [_false(name, runs) for name, runs in found.items()]


def _false(name: str, runs: Sequence[Booleans], goal: float | None = None) -> Figure:
    """The share of runs of so many messages that raise it, from how often runs of other lengths do."""
    waited = sum(_first(run) for run in runs)
    rate = sum(bool(run.any()) for run in runs) / waited
    share = 1 - math.exp(-alarm.RUN * rate)
    full = f"{name}: false alarms per {alarm.RUN} messages"
    return Figure(full, "share", share, goal=goal, better="less", trials=waited)


def _delay(name: str, runs: Sequence[Booleans], goal: float) -> Figure:
    delays = [_first(run) for run in runs]
    return Figure(name, "messages", float(np.median(delays)), goal=goal, better="less")


def _first(raised: Booleans) -> int:
    """The message that raises it, counted from one; the last one if none does."""
    return int(raised.argmax()) + 1 if raised.any() else len(raised)
