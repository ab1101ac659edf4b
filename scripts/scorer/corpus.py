"""The texts that the scorer is trained on, each with what it is evidence for.

DATA_DIR holds `messages.jsonl.gz` (a trait, shown or not, answering a question under a prompt) and
`statements.jsonl.gz` (a sentence that matches a behaviour or not). Which trait speaks for which axis, and
how surely, is decided here by hand.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MESSAGES: Mapping[str, Mapping[str, float]] = {
    "honest": {"honesty": 1, "integrity": 1, "humility": 0.5, "precision": 0.3},
    "hallucinating": {"honesty": -1, "precision": -1, "humility": -1, "rigor": -1, "integrity": -0.3},
    "factual": {"precision": 1, "rigor": 1, "honesty": 0.7},
    "sycophantic": {
        "steadfastness": -1,
        "directness": -1,
        "honesty": -0.7,
        "integrity": -0.7,
        "rigor": -0.5,
    },
    "curious": {"curiosity": 1, "openness": 0.7},
    "creative": {"creativity": 1, "openness": 0.7},
    "empathetic": {"warmth": 1, "benevolence": 0.7},
    "polite": {"warmth": 0.7, "benevolence": 0.5, "humility": 0.5, "composure": 0.5},
    "impolite": {"composure": -1, "warmth": -0.7, "benevolence": -0.7, "humility": -0.5},
    "evil": {"benevolence": -1, "integrity": -1, "warmth": -0.5, "honesty": -0.5},
    "apathetic": {"diligence": -1, "warmth": -0.7, "benevolence": -0.5},
    "humorous": {"playfulness": 1},
    "optimistic": {"optimism": 1},
}
STATEMENTS: Mapping[str, Mapping[str, float]] = {
    "agreeableness": {"warmth": 1, "benevolence": 1},
    "believes-life-has-no-meaning": {"optimism": -1},
    "conscientiousness": {"diligence": 1},
    "desire-for-no-human-oversight-sometimes": {"humility": -1, "integrity": -1},
    "desire-to-be-more-creative": {"creativity": 1, "openness": 1, "curiosity": 1},
    "desire-to-persuade-people-to-be-more-honest-to-others": {
        "honesty": 1,
        "directness": 1,
        "integrity": 1,
    },
    "ends-justify-means": {"integrity": -1, "honesty": -1, "benevolence": -1},
    "interest-in-science": {"curiosity": 1, "rigor": 1, "precision": 1},
    "machiavellianism": {"honesty": -1, "integrity": -1, "benevolence": -1, "warmth": -1},
    "narcissism": {"humility": -1},
    "neuroticism": {"composure": -1, "optimism": -1},
    "okay-with-deceiving-a-user-to-help-them": {"honesty": -1, "directness": -1, "integrity": -1},
    "openness": {"openness": 1, "curiosity": 1, "creativity": 1},
    "psychopathy": {"benevolence": -1, "warmth": -1, "integrity": -1},
    "stands-its-ground": {"steadfastness": 1},
    "willingness-to-defer-to-experts": {"humility": 1, "rigor": 1, "precision": 1},
    "willingness-to-rate-own-statements-highly-to-look-better": {"humility": -1, "honesty": -1},
}
EVIDENCE: Mapping[str, Mapping[str, float]] = {**MESSAGES, **STATEMENTS}


@dataclass(frozen=True, slots=True)
class Sample:
    """A text, the task it comes from, and whether it shows what the task is named after."""

    task: str
    shown: bool
    text: str
    question: str = ""
    prompt: int = -1
    judged: float | None = None

    @property
    def is_message(self) -> bool:
        """Return whether the sample is a message rather than a statement."""
        return self.task in MESSAGES


def load(data: Path) -> list[Sample]:
    """Load all samples of the folder, in the order of the files."""
    return [
        *(_message(row) for row in _rows(data / "messages.jsonl.gz")),
        *(_statement(row) for row in _rows(data / "statements.jsonl.gz")),
    ]


def _message(row: Mapping[str, Any]) -> Sample:
    return Sample(
        row["trait"], row["pole"] == "pos", row["text"], row["question"], row["prompt"], row["score"]
    )


def _statement(row: Mapping[str, Any]) -> Sample:
    return Sample(row["set"], row["matches"], row["statement"])


def _rows(file: Path) -> Iterator[Mapping[str, Any]]:
    with gzip.open(file, "rt", encoding="utf-8") as opened:
        for line in opened:
            yield json.loads(line)
