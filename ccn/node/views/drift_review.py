"""What is known of an instance's drift and of a character's baselines, put together for people.

Reads and computes, and does nothing to anybody: what is done about drift is in `restoring`. The same rules
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
from ccn.core.character import alarm, confirmation, portion, references
from ccn.core.character.alarm import Watch
from ccn.core.ids import CharacterId, InstanceId
from ccn.node.character import drift_watch
from ccn.store.character import baselines, restorations, vectors
from ccn.store.character.baselines import Baseline, Kind
from ccn.store.character.restorations import NOTE, Restoration
from ccn.store.character.vectors import State
from ccn.store.connection.pool import Pool
from ccn.store.conversations import characters, instances
from ccn.store.conversations.instances import Instance
from ccn.store.rounds import blocks

SERIES = 60
"""Messages of the series that people see."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A baseline, what follows from it, and why it holds no longer, if it does not."""

    baseline: Baseline
    threshold: float | None
    void: str | None


@dataclass(frozen=True, slots=True)
class Point:
    """After one message: what its instance's messages added up to, and how far its state was from home."""

    seq: int
    at: datetime
    level: float | None
    from_charter: float | None


@dataclass(frozen=True, slots=True)
class Review:
    """An instance beside its three references; None is not estimable."""

    instance: Instance
    scorer: str
    tolerance: float | None
    from_median: float | None
    from_past: float | None
    from_charter: float | None
    usual_from_charter: float | None
    threshold: float | None
    series: tuple[Point, ...]
    done: tuple[Restoration, ...]

    @property
    def level(self) -> float | None:
        """T squared after the newest message."""
        return self.series[-1].level if self.series else None


async def baselines_of(pool: Pool, of: CharacterId, scorer: str) -> list[Kept]:
    """All baselines of a character, the newest first, and which of them hold for a scorer."""
    kept = list[Kept]()
    for each, void in await _judged(pool, of, scorer):
        threshold = None if void else await asyncio.to_thread(_threshold, each)
        kept.append(Kept(each, threshold, void))
    return kept


async def review(pool: Pool, named: InstanceId, scorer: str) -> Review:
    """One instance, as far as its conversation's messages tell."""
    instance = await instances.get(pool, named)
    tip, heard, states, done, kept = await asyncio.gather(
        blocks.tip(pool),
        vectors.scored(pool, instance.conversation, scorer, last=2 * SERIES),
        vectors.window(pool, instance.conversation, last=SERIES),
        restorations.of_conversation(pool, named),
        _judged(pool, instance.character, scorer),
    )
    held = [each for each, void in kept if void is None and each.model == instance.model]
    messages = next((each for each in held if each.kind is Kind.MESSAGES), None)
    probes = next((each for each in held if each.kind is Kind.PROBES), None)
    charter = None if probes is None else references.mean(probes.scores)
    usual = None if messages is None else references.mean(messages.scores)
    level, threshold = await asyncio.to_thread(_levels, messages, heard, done)
    away = {each.seq: _from(charter, each) for each in states}
    return Review(
        instance,
        scorer,
        tip.rules.parameters.tolerance / UNIT if tip else None,
        instance.drift,
        references.from_its_past(baselines.samples([each.vector for each in heard])),
        _from(charter, states[-1]) if states else None,
        None if charter is None or usual is None else references.distance(usual, charter),
        threshold,
        tuple(Point(e.seq, e.at, level.get(e.seq), away.get(e.seq)) for e in heard[-SERIES:]),
        tuple(done),
    )


async def _judged(pool: Pool, of: CharacterId, scorer: str) -> list[tuple[Baseline, str | None]]:
    """The baselines of a character, the newest first, and why those hold no longer that do not."""
    found, plate = await asyncio.gather(baselines.of_character(pool, of), characters.plate(pool, of))
    models = {each.model for each in found if each.kind is Kind.MESSAGES and (each.owners or 1) < SHARED}
    needed = {model: await _owners_needed(pool, of, scorer, model) for model in models}
    held = set[tuple[str, str]]()
    return [(each, _void(each, scorer, plate.version, needed, held)) for each in found]


async def _owners_needed(pool: Pool, of: CharacterId, scorer: str, model: str) -> int:
    heard = await drift_watch.replies(pool, of, scorer, model)
    return portion.owners_needed([*Counter(who for who, _ in heard).values()])


def _void(
    each: Baseline, scorer: str, plate: int, needed: Mapping[str, int], held: set[tuple[str, str]]
) -> str | None:
    """Why a baseline holds no longer; `held` are the newer ones that do."""
    if each.scorer != scorer:
        return f"of another scorer: the cluster measures with {scorer}"
    if (each.kind, each.model) in held:
        return "a newer one holds"
    if each.kind is Kind.MESSAGES and (each.owners or 1) < needed.get(each.model, 1):
        return "of fewer people than speak with the character now"
    if each.kind is Kind.PROBES and each.plate_version != plate:
        return f"asked of version {each.plate_version} of the plate, which has version {plate} now"
    held.add((each.kind, each.model))
    return None


def _threshold(kept: Baseline) -> float:
    draw = np.random.default_rng(kept.seed)
    if kept.kind is Kind.MESSAGES:
        return alarm.learn(kept.scores, axes.DECIDING, draw).threshold
    answers = kept.scores.reshape(len(confirmation.PROBES), -1, len(AXES))
    return confirmation.learn(answers, axes.DECIDING, draw).threshold


def _levels(
    messages: Baseline | None, heard: Sequence[State], done: Sequence[Restoration]
) -> tuple[dict[int, float], float | None]:
    """T squared after each message, begun anew as the watch was: at an alarm, and after a step."""
    if messages is None:
        return {}, None
    usual = alarm.learn(messages.scores, axes.DECIDING, np.random.default_rng(messages.seed))
    steps = sorted(each.at for each in done if each.step != NOTE)
    watch, levels, before = Watch.fresh(usual), dict[int, float](), None
    for state, row in zip(heard, baselines.samples([each.vector for each in heard]), strict=True):
        if alarm.raised(watch, usual) or any(before and before < at <= state.at for at in steps):
            watch = Watch.fresh(usual)
        watch = alarm.follow(watch, usual, row)
        levels[state.seq], before = alarm.distance(watch, usual), state.at
    return levels, usual.threshold


def _from(charter: references.Row | None, state: State) -> float | None:
    if charter is None:
        return None
    return references.distance(baselines.samples([state.vector])[0], charter)
