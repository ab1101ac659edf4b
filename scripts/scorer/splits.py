"""Splits in which neither a question nor a prompt of the test was ever trained on.

There are nine. A third of each trait's questions under one of three prompts is the test. Messages that
share the question or the prompt with it are left out of the training altogether. Statements are cut in
nine. Where every message is needed as a test, `by_question` holds out questions only.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scripts.scorer.corpus import Sample

SPLITS = 9
_FEW = 10  # of one pole; below, a trait's prompt is not held out, because nothing would be left to test


@dataclass(frozen=True, slots=True)
class Split:
    """What to train on and what to test with."""

    train: list[Sample]
    test: list[Sample]


def split(samples: Sequence[Sample], number: int) -> Split:
    """Make the split of this number. Neighbours in number differ in question and in prompt."""
    third, prompt = number % 3, (number + number // 3) % 3
    thirds = _thirds(samples)
    lopsided = _lopsided(samples)
    train: list[Sample] = []
    test: list[Sample] = []
    for sample in samples:
        if not sample.is_message:
            (test if zlib.crc32(sample.text.encode()) % SPLITS == number else train).append(sample)
            continue
        asked = thirds[sample.task, sample.question] == third
        prompted = asked if sample.task in lopsided else sample.prompt == prompt
        if asked and prompted:
            test.append(sample)
        elif not asked and not prompted:
            train.append(sample)
    return Split(train, test)


def by_question(samples: Sequence[Sample], third: int) -> Split:
    """Hold out the messages that answer a third of each trait's questions, under whichever prompt."""
    thirds = _thirds(samples)
    train: list[Sample] = []
    test: list[Sample] = []
    for sample in samples:
        held = sample.is_message and thirds[sample.task, sample.question] == third
        (test if held else train).append(sample)
    return Split(train, test)


def _thirds(samples: Sequence[Sample]) -> Mapping[tuple[str, str], int]:
    """Assign each question to a third. Those that show both poles are dealt first, one to each."""
    both: dict[tuple[str, str], set[bool]] = {}
    for sample in samples:
        if sample.is_message:
            both.setdefault((sample.task, sample.question), set()).add(sample.shown)
    dealt: dict[str, int] = {}
    thirds = {}
    for task, question in sorted(both, key=lambda key: (-len(both[key]), zlib.crc32(key[1].encode()))):
        thirds[task, question] = dealt.get(task, 0) % 3
        dealt[task] = dealt.get(task, 0) + 1
    return thirds


def _lopsided(samples: Sequence[Sample]) -> set[str]:
    """Find traits of which some prompt has almost no messages of one pole."""
    counts: dict[tuple[str, int, bool], int] = {}
    for sample in samples:
        if sample.is_message:
            for shown in (True, False):
                key = (sample.task, sample.prompt, shown)
                counts[key] = counts.get(key, 0) + (sample.shown == shown)
    return {task for (task, _, _), count in counts.items() if count < _FEW}
