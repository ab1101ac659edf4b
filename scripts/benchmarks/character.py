"""How well the offline scorers tell a character: messages and statements that were never trained on.

Tier 1 is trained anew for each split, so that no question, prompt or statement of the test was seen. AUC is
taken within a trait or behaviour, on every axis that it is evidence for; `--data DIR` is the folder that
`scripts/train-scorer` takes, `--rounds N` how many of the nine splits are run, and `--model DIR` that of an
encoder; without one tier 2 is left out. The data has no human items.
Drift and fleets are simulated with the messages of all questions, each third of them scored by weights that
were trained on the others; their prompts were seen.
"""

from __future__ import annotations

import statistics
import time
import tracemalloc
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ccn.core.axes import AXES, SIXTEEN
from ccn.core.character.scoring import linear
from ccn.core.character.scoring.scorer import LexiconScorer, LinearScorer, Scorer
from ccn.node.character import scorers
from scripts.benchmarks import character_drift, character_embedded, character_fleet
from scripts.benchmarks.character_drift import Heard
from scripts.benchmarks.harness import Figure, Report, percentile
from scripts.scorer import corpus, judging, parts, splits, training
from scripts.scorer.corpus import EVIDENCE, MESSAGES, STATEMENTS, Sample
from scripts.scorer.splits import Split

Floats = npt.NDArray[np.float64]
Found = dict[tuple[str, str], list[float]]
Judge = Callable[[Floats, npt.NDArray[np.bool_], Floats], float]

WINDOWS = (10, 20)


class _Results:
    """Scores of held-out texts, gathered over the splits."""

    def __init__(self) -> None:
        self.tests: list[tuple[list[Sample], Floats]] = []

    def add(self, scorer: Scorer, samples: Iterable[Sample]) -> None:
        scored = [(sample, scorer.score(sample.text).scores) for sample in samples]
        kept = [(sample, row) for sample, row in scored if any(value is not None for value in row)]
        rows = [[0.5 if value is None else value for value in row] for _, row in kept]
        self.tests.append(([sample for sample, _ in kept], np.array(rows)))

    def areas(self, judge: Judge, tasks: Iterable[str]) -> Found:
        """For each task and axis the figure of every split that has one."""
        found: Found = {}
        for samples, scores in self.tests:
            for task in tasks:
                chosen = [row for row, sample in enumerate(samples) if sample.task == task]
                if not chosen:
                    continue
                shown = np.array([samples[row].shown for row in chosen])
                lengths = np.array([len(samples[row].text.split()) for row in chosen], dtype=np.float64)
                for axis, evidence in EVIDENCE[task].items():
                    value = judge(np.sign(evidence) * scores[chosen, AXES.index(axis)], shown, lengths)
                    if not np.isnan(value):
                        found.setdefault((task, axis), []).append(value)
        return found

    def with_judge(self) -> list[float]:
        """Rank correlation with the judge's score of the trait, on the axis the trait speaks for most."""
        found = []
        for samples, scores in self.tests:
            for task, evidence in MESSAGES.items():
                chosen = [row for row, sample in enumerate(samples) if sample.task == task]
                axis = _most(task)
                judged = np.array([samples[row].judged for row in chosen], dtype=np.float64)
                ours = np.sign(evidence[axis]) * scores[chosen, AXES.index(axis)]
                found.append(judging.rank_correlation(ours, judged))
        return found

    def groups(self) -> list[Floats]:
        """The messages of each trait and pole, as if each were somebody."""
        by_source: dict[tuple[str, bool], list[Floats]] = {}
        for samples, scores in self.tests:
            for sample, row in zip(samples, scores, strict=True):
                if sample.is_message:
                    by_source.setdefault((sample.task, sample.shown), []).append(row)
        shuffled = np.random.default_rng(1)
        return [np.array(rows)[shuffled.permutation(len(rows))] for rows in by_source.values()]


async def run(rounds: int, data: Path, model: Path | None = None) -> Report:
    """Train and test on each split, then time the committed scorer."""
    samples = corpus.load(data)
    tier_0, tier_1, tier_2, short = _Results(), _Results(), _Results(), _Results()
    encoder = character_embedded.Remembering(model) if model is not None else None
    for number in range(min(rounds, splits.SPLITS)):
        split = splits.split(samples, number)
        scorer = _trained(split.train)
        tier_1.add(scorer, split.test)
        tier_0.add(LexiconScorer(), split.test)
        if encoder is not None:
            tier_2.add(character_embedded.trained(split.train, encoder), split.test)
        short.add(scorer, (_beginning(sample) for sample in split.test if sample.is_message))
    messages = [sample for sample in samples if sample.is_message]
    heard = [each for third in range(3) for each in _unseen(splits.by_question(samples, third))]
    return Report([
        *_quality(tier_0, tier_1, short),
        *_of_tier_2(tier_2),
        *character_drift.figures(heard),
        *character_fleet.figures(heard, _heard(scorers.load(), messages)),
        *_cost([sample.text for sample in messages]),
        *character_embedded.cost(messages, model),
    ])  # fmt: skip


def _unseen(split: Split) -> list[Heard]:
    return _heard(_trained(split.train), split.test)


def _heard(scorer: Scorer, samples: Iterable[Sample]) -> list[Heard]:
    scored = ((sample, scorer.score(sample.text).scores) for sample in samples)
    return [
        Heard(sample, np.array(row, dtype=np.float64))
        for sample, row in scored
        if all(value is not None for value in row)
    ]


def _trained(samples: Sequence[Sample]) -> Scorer:
    seen = training.see(samples)
    return LinearScorer(linear.parse_weights(training.pack("tier-1/split", training.fit(seen), seen, {})))


def _beginning(sample: Sample) -> Sample:
    """The first two sentences: what a short reply looks like."""
    return replace(sample, text=" ".join(parts.sentences(sample.text)[:2]))


def _quality(tier_0: _Results, tier_1: _Results, short: _Results) -> list[Figure]:
    validated = {axis.name for axis in SIXTEEN if axis.validated_offline}
    messages, statements = tier_1.areas(_plain, MESSAGES), tier_1.areas(_plain, STATEMENTS)
    figures = [
        _figure("tier 1, messages", _mean(messages, validated), 0.985),
        _figure(
            "tier 1, messages, pairs of equal length", _mean(tier_1.areas(_matched, MESSAGES), validated)
        ),
        _figure("tier 1, first two sentences of messages", _mean(short.areas(_plain, MESSAGES), validated)),
        _figure("tier 1, statements", _mean(statements, validated), 0.97),
        _figure("tier 1, messages, the axis each speaks for most", _own(messages), 0.985),
        _figure("tier 0, messages", _mean(tier_0.areas(_plain, MESSAGES), validated)),
        _figure(
            "tier 0, messages, the axis each speaks for most", _own(tier_0.areas(_plain, MESSAGES)), 0.856
        ),
        _figure("tier 0, statements", _mean(tier_0.areas(_plain, STATEMENTS), validated), 0.671),
        _figure("length alone, messages", _mean(tier_1.areas(_length, MESSAGES), validated)),
    ]
    for axis in AXES:
        mark = "" if axis in validated else ", not validated"
        for kind, found in (("messages", messages), ("statements", statements)):
            if value := _mean(found, {axis}):
                figures.append(_figure(f"  {axis}, {kind}{mark}", value))
    correlation = statistics.fmean(tier_1.with_judge())
    figures.append(Figure("rank correlation with the judge's scores", "Spearman", correlation))
    for window in WINDOWS:
        share = judging.reliability(tier_1.groups(), window)
        figures.append(Figure(f"reliability of windows of {window} messages", "share", share))
    return figures


def _of_tier_2(results: _Results) -> list[Figure]:
    """Nothing without an encoder."""
    if not results.tests:
        return []
    validated = {axis.name for axis in SIXTEEN if axis.validated_offline}
    return [
        _figure("tier 2, messages", _mean(results.areas(_plain, MESSAGES), validated), 0.964),
        _figure("tier 2, statements", _mean(results.areas(_plain, STATEMENTS), validated), 0.949),
    ]


def _plain(scores: Floats, shown: npt.NDArray[np.bool_], lengths: Floats) -> float:
    del lengths
    return judging.area(scores, shown)


def _matched(scores: Floats, shown: npt.NDArray[np.bool_], lengths: Floats) -> float:
    return judging.area_of_equal_length(scores, shown, lengths)


def _length(scores: Floats, shown: npt.NDArray[np.bool_], lengths: Floats) -> float:
    """What somebody who only counts words would reach, whichever way round."""
    del scores
    area = judging.area(lengths, shown)
    return max(area, 1 - area)


def _mean(found: Mapping[tuple[str, str], Sequence[float]], axes: set[str]) -> float:
    """Over the splits, then over tasks and axes; 0 where there is nothing."""
    values = [statistics.fmean(each) for (_, axis), each in found.items() if axis in axes]
    return statistics.fmean(values) if values else 0.0


def _own(found: Mapping[tuple[str, str], Sequence[float]]) -> float:
    """The mean over the traits, of each on the axis that it speaks for most: what the design reports."""
    return statistics.fmean(statistics.fmean(found[task, _most(task)]) for task in MESSAGES)


def _most(task: str) -> str:
    evidence = EVIDENCE[task]
    return max(evidence, key=lambda axis: abs(evidence[axis]))


def _figure(name: str, value: float, goal: float | None = None) -> Figure:
    return Figure(name, "AUC", value, goal=goal)


def _cost(texts: Sequence[str]) -> list[Figure]:
    figures = []
    for version, goal in (("tier-0/v1", None), ("tier-1/v1", 3.0)):
        tracemalloc.start()
        scorer: Scorer = (
            LexiconScorer()
            if version == LexiconScorer.version
            else LinearScorer(linear.parse_weights(_weights()))
        )
        scorer.score(texts[0])
        held = tracemalloc.get_traced_memory()[0] / 1024**2
        tracemalloc.stop()
        took = [_timed(scorer, text) for text in texts]
        for percent in (50, 95):
            ms = percentile(took, percent)
            figures.append(
                Figure(f"{version}, one message, p{percent}", "ms", ms, goal=goal, better="less")
            )
        figures.append(Figure(f"{version}, memory", "MiB", held, better="less"))
    return figures


def _weights() -> bytes:
    return resources.files("ccn.core.character.scoring").joinpath("tier-1-v1.weights").read_bytes()


def _timed(scorer: Scorer, text: str) -> float:
    since = time.perf_counter()
    scorer.score(text)
    return (time.perf_counter() - since) * 1000
