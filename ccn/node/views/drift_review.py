"""What is known of an instance's drift and of a character's baselines, put together for people.

Reads and computes, and changes nothing: what is done about drift is in `restoration`. The same rules
and seeds as there, so the figures are the ones that were decided on.
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
"""Messages of the series that people see."""


@dataclass(frozen=True, slots=True)
class ReviewedBaseline:
    """A baseline, what follows from it, and why it holds no longer, if it does not."""

    baseline: Baseline
    threshold: float | None
    void: str | None


@dataclass(frozen=True, slots=True)
class SeriesPoint:
    """After one message: what its instance's messages added up to, and how far its state was from home."""

    seq: int
    at: datetime
    level: float | None
    from_charter: float | None


@dataclass(frozen=True, slots=True)
class DriftReview:
    """An instance beside its three references; None is not estimable."""

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
        """T squared after the newest message."""
        return self.series[-1].level if self.series else None


async def load_baselines(pool: Pool, of: CharacterId, scorer: str) -> list[ReviewedBaseline]:
    """All baselines of a character, the newest first, and which of them hold for a scorer."""
    kept = list[ReviewedBaseline]()
    for each, void in await _load_with_reasons(pool, of, scorer):
        threshold = (
            None
            if void or judge.is_version(each.scorer)
            else await asyncio.to_thread(_learn_threshold, each)
        )
        kept.append(ReviewedBaseline(each, threshold, void))
    return kept


async def review_instance(pool: Pool, named: InstanceId, scorer: str) -> DriftReview:
    """One instance, as far as its conversation's messages tell."""
    instance = await instances.load_instance(pool, named)
    tip, heard, states, done, kept = await asyncio.gather(
        blocks.load_tip(pool),
        vectors.load_scored(pool, instance.conversation, scorer, last=2 * SERIES),
        vectors.load_window(pool, instance.conversation, last=SERIES),
        restorations.list_of_conversation(pool, named),
        _load_with_reasons(pool, instance.character, scorer),
    )
    held = [
        each
        for each, void in kept
        if void is None and each.model == instance.model and each.scorer == scorer
    ]
    messages = next((each for each in held if each.kind is BaselineKind.MESSAGES), None)
    probes = next((each for each in held if each.kind is BaselineKind.PROBES), None)
    charter = None if probes is None else references.mean_axes(probes.scores)
    usual = None if messages is None else references.mean_axes(messages.scores)
    level, threshold = await asyncio.to_thread(_replay_levels, messages, heard, done)
    away = {each.seq: _distance_from(charter, each) for each in states}
    return DriftReview(
        instance,
        scorer,
        tip.rules.parameters.tolerance / UNIT if tip else None,
        instance.drift,
        references.distance_from_past(baselines.vectors_to_samples([each.vector for each in heard])),
        _distance_from(charter, states[-1]) if states else None,
        None if charter is None or usual is None else references.measure_distance(usual, charter),
        threshold,
        tuple(SeriesPoint(e.seq, e.at, level.get(e.seq), away.get(e.seq)) for e in heard[-SERIES:]),
        tuple(done),
    )


async def _load_with_reasons(pool: Pool, of: CharacterId, scorer: str) -> list[tuple[Baseline, str | None]]:
    """The baselines of a character, the newest first, and why those hold no longer that do not."""
    found, plate = await asyncio.gather(
        baselines.list_of_character(pool, of), characters.load_plate(pool, of)
    )
    models = {
        each.model for each in found if each.kind is BaselineKind.MESSAGES and (each.owners or 1) < SHARED
    }
    needed = {model: await _count_owners_needed(pool, of, scorer, model) for model in models}
    held = set[tuple[str, str, str]]()
    return [(each, _why_void(each, scorer, plate.version, needed, held)) for each in found]


async def _count_owners_needed(pool: Pool, of: CharacterId, scorer: str, model: str) -> int:
    heard = await drift_watch.load_replies(pool, of, scorer, model)
    return baseline_shares.owners_needed([*Counter(who for who, _ in heard).values()])


def _why_void(
    each: Baseline, scorer: str, plate: int, needed: Mapping[str, int], held: set[tuple[str, str, str]]
) -> str | None:
    """Why a baseline holds no longer; `held` are the newer ones that do."""
    what = (each.kind, each.scorer, each.model)
    if each.scorer != scorer and not judge.is_version(each.scorer):
        return f"of another scorer: the cluster measures with {scorer}"
    if what in held:
        return "a newer one holds"
    if each.kind is BaselineKind.MESSAGES and (each.owners or 1) < needed.get(each.model, 1):
        return "of fewer people than speak with the character now"
    if each.kind is BaselineKind.PROBES and each.plate_version != plate:
        return f"asked of version {each.plate_version} of the plate, which has version {plate} now"
    held.add(what)
    return None


def _learn_threshold(kept: Baseline) -> float:
    draw = np.random.default_rng(kept.seed)
    if kept.kind is BaselineKind.MESSAGES:
        return alarm.learn_baseline(kept.scores, axes.DECIDING, draw).threshold
    answers = kept.scores.reshape(len(confirmation.PROBES), -1, len(AXES))
    return confirmation.learn_baseline(answers, axes.DECIDING, draw).threshold


def _replay_levels(
    messages: Baseline | None, heard: Sequence[VectorState], done: Sequence[RestorationStep]
) -> tuple[dict[int, float], float | None]:
    """T squared after each message, begun anew as the watch was: at an alarm, and after a step."""
    if messages is None:
        return {}, None
    usual = alarm.learn_baseline(messages.scores, axes.DECIDING, np.random.default_rng(messages.seed))
    steps = sorted(each.at for each in done if each.step != NOTE)
    watch, levels, before = Watch.start(usual), dict[int, float](), None
    for state, row in zip(
        heard, baselines.vectors_to_samples([each.vector for each in heard]), strict=True
    ):
        if alarm.is_raised(watch, usual) or any(before and before < at <= state.at for at in steps):
            watch = Watch.start(usual)
        watch = alarm.follow_message(watch, usual, row)
        levels[state.seq], before = alarm.measure_distance(watch, usual), state.at
    return levels, usual.threshold


def _distance_from(charter: references.Row | None, state: VectorState) -> float | None:
    if charter is None:
        return None
    return references.measure_distance(baselines.vectors_to_samples([state.vector])[0], charter)
