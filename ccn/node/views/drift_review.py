"""What is known of an instance's drift and of a character's baselines, put together for people.

It reads and computes, and changes nothing; `restoration` acts on drift. The same rules and seeds are used
there, so the figures shown are those that decided.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from ccn.core import axes
from ccn.core.axes import AXES, UNIT
from ccn.core.chain.result import SHARED
from ccn.core.character import alarm, baseline_shares, confirmation, references
from ccn.core.character.alarm import Watch
from ccn.core.character.scoring import judge
from ccn.core.ids import CharacterId, InstanceId
from ccn.node.character import drift_watch
from ccn.store.character import baselines, restorations, vectors
from ccn.store.character.baselines import Baseline, BaselineKind
from ccn.store.character.restorations import NOTE, RestorationStep
from ccn.store.character.vectors import VectorState
from ccn.store.connection.pool import Pool
from ccn.store.conversations import characters, instances
from ccn.store.conversations.instances import Instance
from ccn.store.rounds import blocks

SERIES = 60
"""How many messages the series has."""


@dataclass(frozen=True, slots=True)
class ReviewedBaseline:
    """A baseline, its threshold, and why it holds no longer, if it does not."""

    baseline: Baseline
    threshold: float | None
    void: str | None


@dataclass(frozen=True, slots=True)
class SeriesPoint:
    """After one message: the level of the alarm, and how far the state was from the charter."""

    seq: int
    at: datetime
    level: float | None
    from_charter: float | None


@dataclass(frozen=True, slots=True)
class DriftReview:
    """An instance beside its three references. None means that it cannot be estimated."""

    instance: Instance
    scorer: str
    tolerance: float | None
    from_median: float | None
    from_past: float | None
    from_charter: float | None
    usual_from_charter: float | None
    threshold: float | None
    series: tuple[SeriesPoint, ...]
    done: tuple[RestorationStep, ...]

    @property
    def level(self) -> float | None:
        """Return T squared after the newest message."""
        return self.series[-1].level if self.series else None


async def load_baselines(pool: Pool, of: CharacterId, scorer: str) -> list[ReviewedBaseline]:
    """Load all baselines of a character, the newest first, and why some do not hold for a scorer."""
    reviewed = list[ReviewedBaseline]()
    for baseline, void in await _load_with_reasons(pool, of, scorer):
        threshold = (
            None
            if void or judge.is_version(baseline.scorer)
            else await asyncio.to_thread(_learn_threshold, baseline)
        )
        reviewed.append(ReviewedBaseline(baseline, threshold, void))
    return reviewed


async def review_instance(pool: Pool, named: InstanceId, scorer: str) -> DriftReview:
    """Review one instance by the messages of its conversation."""
    instance = await instances.load_instance(pool, named)
    tip, scored, states, steps, reviewed = await asyncio.gather(
        blocks.load_tip(pool),
        vectors.load_scored(pool, instance.conversation, scorer, last=2 * SERIES),
        vectors.load_window(pool, instance.conversation, last=SERIES),
        restorations.list_of_conversation(pool, named),
        _load_with_reasons(pool, instance.character, scorer),
    )
    valid = [
        baseline
        for baseline, void in reviewed
        if void is None and baseline.model == instance.model and baseline.scorer == scorer
    ]
    messages = next((baseline for baseline in valid if baseline.kind is BaselineKind.MESSAGES), None)
    probes = next((baseline for baseline in valid if baseline.kind is BaselineKind.PROBES), None)
    charter = None if probes is None else references.mean_axes(probes.scores)
    usual = None if messages is None else references.mean_axes(messages.scores)
    levels, threshold = await asyncio.to_thread(_replay_levels, messages, scored, steps)
    distances = {state.seq: _distance_from(charter, state) for state in states}
    return DriftReview(
        instance,
        scorer,
        tip.rules.parameters.tolerance / UNIT if tip else None,
        instance.drift,
        references.distance_from_past(baselines.vectors_to_samples([state.vector for state in scored])),
        _distance_from(charter, states[-1]) if states else None,
        None if charter is None or usual is None else references.measure_distance(usual, charter),
        threshold,
        tuple(
            SeriesPoint(state.seq, state.at, levels.get(state.seq), distances.get(state.seq))
            for state in scored[-SERIES:]
        ),
        tuple(steps),
    )


async def _load_with_reasons(pool: Pool, of: CharacterId, scorer: str) -> list[tuple[Baseline, str | None]]:
    """Load the baselines of a character, the newest first, each with the reason if it holds no longer."""
    listed, plate = await asyncio.gather(
        baselines.list_of_character(pool, of), characters.load_plate(pool, of)
    )
    models = {
        baseline.model
        for baseline in listed
        if baseline.kind is BaselineKind.MESSAGES and (baseline.owners or 1) < SHARED
    }
    needed = {model: await _count_owners_needed(pool, of, scorer, model) for model in models}
    valid = set[tuple[str, str, str]]()
    return [(baseline, _why_void(baseline, scorer, plate.version, needed, valid)) for baseline in listed]


async def _count_owners_needed(pool: Pool, of: CharacterId, scorer: str, model: str) -> int:
    replies = await drift_watch.load_replies(pool, of, scorer, model)
    return baseline_shares.owners_needed([*Counter(owner for owner, _ in replies).values()])


def _why_void(
    baseline: Baseline, scorer: str, plate: int, needed: Mapping[str, int], valid: set[tuple[str, str, str]]
) -> str | None:
    """Return why a baseline holds no longer, or add it to `valid`, which has the newer ones that hold."""
    what = (baseline.kind, baseline.scorer, baseline.model)
    if baseline.scorer != scorer and not judge.is_version(baseline.scorer):
        return f"of another scorer: the cluster measures with {scorer}"
    if what in valid:
        return "a newer one holds"
    if baseline.kind is BaselineKind.MESSAGES and (baseline.owners or 1) < needed.get(baseline.model, 1):
        return "of fewer people than speak with the character now"
    if baseline.kind is BaselineKind.PROBES and baseline.plate_version != plate:
        return f"asked of version {baseline.plate_version} of the plate, which has version {plate} now"
    valid.add(what)
    return None


def _learn_threshold(baseline: Baseline) -> float:
    draw = np.random.default_rng(baseline.seed)
    if baseline.kind is BaselineKind.MESSAGES:
        return alarm.learn_baseline(baseline.scores, axes.DECIDING, draw).threshold
    answers = baseline.scores.reshape(len(confirmation.PROBES), -1, len(AXES))
    return confirmation.learn_baseline(answers, axes.DECIDING, draw).threshold


def _replay_levels(
    messages: Baseline | None, scored: Sequence[VectorState], done: Sequence[RestorationStep]
) -> tuple[dict[int, float], float | None]:
    """Compute T squared after each message. Begin again where the watch did: at an alarm or a step."""
    if messages is None:
        return {}, None
    usual = alarm.learn_baseline(messages.scores, axes.DECIDING, np.random.default_rng(messages.seed))
    steps = sorted(step.at for step in done if step.step != NOTE)
    watch, levels, before = Watch.start(usual), dict[int, float](), None
    rows = baselines.vectors_to_samples([state.vector for state in scored])
    for state, row in zip(scored, rows, strict=True):
        if alarm.is_raised(watch, usual) or any(before and before < at <= state.at for at in steps):
            watch = Watch.start(usual)
        watch = alarm.follow_message(watch, usual, row)
        levels[state.seq], before = alarm.measure_distance(watch, usual), state.at
    return levels, usual.threshold


def _distance_from(charter: references.Row | None, state: VectorState) -> float | None:
    if charter is None:
        return None
    return references.measure_distance(baselines.vectors_to_samples([state.vector])[0], charter)
