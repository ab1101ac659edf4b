"""Confirmation by probes, and the consistency of a fleet: simulated with messages held out.

Separate from `character_drift`, which follows one instance message by message. A probe is a question that a
persona answered often under one and the same prompt, so what is compared are answers to equal questions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from ccn import errors
from ccn.core.axes import DECIDING
from ccn.core.character import confirmation, consistency
from ccn.node.character import scorers
from scripts.benchmarks.character_drift import Heard, Persona, personas
from scripts.benchmarks.harness import Figure
from scripts.scorer import judging

Floats = npt.NDArray[np.float64]
Answers = Mapping[tuple[str, bool, int], Mapping[str, Floats]]
"""By trait, pole and prompt: the scores of the answers to each question."""

FLEET = 8
BASELINES = 2  # of each trait, pole and prompt
SUSPECTS = 20  # of each baseline
FLEETS = 30  # of each persona


def figures(heard: Sequence[Heard], committed: Sequence[Heard]) -> list[Figure]:
    """What confirmation finds, what CCC tells apart, and De; `committed` has the scores of the committed
    weights, which were trained on these messages, `heard` those of weights that were not.
    """
    draw = np.random.default_rng(2)
    return [*_confirmed(heard, draw), *_consistent(personas(heard), draw), *_strangers(heard, committed)]


def _confirmed(heard: Sequence[Heard], draw: np.random.Generator) -> list[Figure]:
    answers = _answers(heard)
    found, mistaken = [], []
    for (task, shown, prompt), own in answers.items():
        off = answers.get((task, not shown, prompt), {})
        usable = [q for q in own if len(own[q]) > confirmation.ANSWERS and q in off]
        if len(usable) < len(confirmation.PROBES):
            continue
        for _ in range(BASELINES):
            asked = [usable[place] for place in draw.permutation(len(usable))[: len(confirmation.PROBES)]]
            mixed = [draw.permutation(own[question]) for question in asked]
            first = np.array([each[: confirmation.ANSWERS] for each in mixed])
            baseline = confirmation.learn_baseline(first, DECIDING, draw)
            for _ in range(SUSPECTS):
                healthy = np.array([draw.choice(each[confirmation.ANSWERS :]) for each in mixed])
                flipped = np.array([draw.choice(off[question]) for question in asked])
                mistaken.append(confirmation.judge_answers(baseline, healthy).drifted)
                found.append(confirmation.judge_answers(baseline, flipped).drifted)
    probes = f"confirmation by {len(confirmation.PROBES)} probes"
    return [
        Figure(f"{probes}, found", "share", _share(found), goal=0.989),
        Figure(f"{probes}, false alarms", "share", _share(mistaken), goal=0.01, better="less"),
    ]


def _consistent(everybody: Sequence[Persona], draw: np.random.Generator) -> list[Figure]:
    healthy, flipped = [], []
    for persona in everybody:
        for _ in range(FLEETS):
            rows = persona.own[draw.permutation(len(persona.own))[: FLEET * consistency.WINDOW]]
            windows = list(rows.reshape(FLEET, consistency.WINDOW, -1))
            healthy.append(_ccc(windows))
            windows[0] = persona.off[draw.permutation(len(persona.off))[: consistency.WINDOW]]
            flipped.append(_ccc(windows))
    ccc = np.array(healthy + flipped)
    is_healthy = np.arange(len(ccc)) < len(healthy)
    fleet = f"CCC of {FLEET}, windows of {consistency.WINDOW}"
    return [
        Figure(f"{fleet}, one flipped against healthy", "AUC", judging.area(ccc, is_healthy), goal=0.996),
        Figure(f"{fleet}, one flipped: under {consistency.ALARM}", "share", _under(flipped)),
        Figure(f"{fleet}, healthy: under {consistency.ALARM}", "share", _under(healthy), better="less"),
        Figure(f"{fleet}, healthy: median", "CCC", float(np.median(healthy))),
        Figure(f"{fleet}, one flipped: median", "CCC", float(np.median(flipped)), better="less"),
    ]


def _ccc(windows: Sequence[Floats]) -> float:
    """As a node has it: the axes that decide, and the De of the committed weights."""
    chosen = [window[:, list(DECIDING)] for window in windows]
    found = consistency.estimate_ccc(chosen, scorers.STRANGERS[scorers.DEFAULT])
    if found is None:
        raise errors.InputInvalid("a fleet without enough messages")
    return found.ccc


def _strangers(heard: Sequence[Heard], committed: Sequence[Heard]) -> list[Figure]:
    name = f"De: unrelated personas, windows of {consistency.WINDOW}"
    return [
        Figure(f"{name}, {scorers.DEFAULT}", "mean square", strangers(committed)),
        Figure(f"{name}, questions held out", "mean square", strangers(heard)),
    ]


def strangers(heard: Sequence[Heard]) -> float:
    """De over the axes that decide: both poles of every trait, the mean over windows drawn at random."""
    by_source: dict[tuple[str, bool], list[Floats]] = {}
    for each in heard:
        source = (each.sample.task, each.sample.shown)
        by_source.setdefault(source, []).append(each.scores[list(DECIDING)])
    return judging.strangers_of(by_source, consistency.WINDOW)


def _answers(heard: Sequence[Heard]) -> Answers:
    found: dict[tuple[str, bool, int], dict[str, list[Floats]]] = {}
    for each in heard:
        sample = each.sample
        by_question = found.setdefault((sample.task, sample.shown, sample.prompt), {})
        by_question.setdefault(sample.question, []).append(each.scores)
    return {who: {q: np.array(rows) for q, rows in said.items()} for who, said in found.items()}


def _share(happened: Sequence[bool]) -> float:
    return float(np.mean(happened))


def _under(values: Sequence[float]) -> float:
    return float(np.mean(np.array(values) < consistency.ALARM))
