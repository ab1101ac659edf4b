"""Watching the instances of this node for drift, message by message, against the character's baseline.

A baseline is learnt from messages of the character's healthy instances. They come from several
conversations, because one alone has too few topics, and from several people, with a share of each
(`baseline_shares`). A baseline holds no longer once more people speak with the character than it covers.
Until another one is learnt, there is no alarm, but the drift from the median and from the charter are shown
all the same. Separate from `restoration`, which acts.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import structlog

from ccn.core import axes
from ccn.core.bounded import Recent
from ccn.core.chain.result import SHARED
from ccn.core.character import alarm, baseline_shares
from ccn.core.character.alarm import AlarmBaseline, Watch
from ccn.core.ids import CharacterId, InstanceId, UserId
from ccn.node.character.scoring import ScoredReply
from ccn.store.character import baselines, restorations, vectors
from ccn.store.character.baselines import BaselineKind
from ccn.store.character.vectors import VectorState
from ccn.store.connection.pool import Pool
from ccn.store.conversations.instances import Instance, InstanceStatus

log = structlog.get_logger(__name__)

LEARNT_FROM = 480
CONVERSATIONS = 4
"""A baseline of fewer conversations knows too few topics."""
REPLAYED = 60
"""Messages that are replayed when this node begins to watch an instance."""
_WATCHED = 20_000
_LOOK_AGAIN = 20
"""Messages of a character between two checks whether a better baseline can be learnt."""


@dataclass(frozen=True, slots=True)
class DriftAlarm:
    """An instance whose messages have left the usual scatter."""

    instance: Instance
    distance: float | None = None
    threshold: float | None = None
    reason: str = "its messages left the usual scatter"


@dataclass(frozen=True, slots=True)
class UsualScatter:
    """A baseline that holds, and the number of people it was learnt from."""

    baseline: AlarmBaseline
    owners: int
    made_at: datetime


class DriftWatch:
    """Watches the instances of one node since they came here."""

    def __init__(
        self,
        pool: Pool,
        scorer: str,
        now: Callable[[], datetime],
        seed: Callable[[], int],
        raised: Callable[[DriftAlarm], None],
    ) -> None:
        self._pool, self._scorer, self._now, self._seed = pool, scorer, now, seed
        self._raise_alarm = raised
        self._watched = Recent[InstanceId, tuple[Watch, AlarmBaseline]](_WATCHED)
        self._usual: dict[tuple[CharacterId, str], UsualScatter] = {}
        self._patience: dict[tuple[CharacterId, str], int] = {}

    async def watch_reply(self, scored: ScoredReply) -> None:
        """Watch one more message, and raise an alarm if the messages add up to too much."""
        instance = scored.instance
        baseline = await self.find_baseline(instance)
        if baseline is None:
            return
        watch, by = self._watched.pop(instance.id, (None, None))
        if watch is None or by is not baseline:
            watch = await self._replay_messages(instance, baseline)  # which include this message
        else:
            watch = alarm.follow_message(watch, baseline, baselines.vectors_to_samples([scored.scores])[0])
        self._watched[instance.id] = watch, baseline
        if alarm.is_raised(watch, baseline) and instance.status is not InstanceStatus.QUARANTINED:
            # Start again, so that what has added up so far raises one alarm only.
            self._watched[instance.id] = Watch.start(baseline), baseline
            self._raise_alarm(
                DriftAlarm(instance, alarm.measure_distance(watch, baseline), baseline.threshold)
            )

    def forget_instance(self, instance: InstanceId) -> None:
        """Forget what an instance said before, because it was restored or cleared."""
        self._watched.pop(instance, None)

    async def find_baseline(self, instance: Instance) -> AlarmBaseline | None:
        """Find what is usual for the character under its model, or None while too little is known."""
        which = (instance.character, instance.model)
        known = self._usual.get(which)
        if known is not None and known.owners >= SHARED:  # no baseline needs more owners
            return known.baseline
        if self._patience.get(which, 0) > 0:
            self._patience[which] -= 1
            return None if known is None else known.baseline
        self._patience[which] = _LOOK_AGAIN
        kept = await self._find_or_learn(instance)
        if kept is None:
            self._usual.pop(which, None)
            return None
        if known is None or known.made_at != kept.made_at:
            learnt = await asyncio.to_thread(
                alarm.learn_baseline, kept.scores, axes.DECIDING, np.random.default_rng(kept.seed)
            )
            known = self._usual[which] = UsualScatter(learnt, kept.owners or 1, kept.made_at)
        return known.baseline

    async def _find_or_learn(self, instance: Instance) -> baselines.Baseline | None:
        """Find the newest baseline, or learn another one if that has too few people."""
        kept = await baselines.load_newest(
            self._pool, instance.character, BaselineKind.MESSAGES, scorer=self._scorer, model=instance.model
        )
        if kept is not None and (kept.owners or 1) >= SHARED:
            return kept
        replies = await load_replies(self._pool, instance.character, self._scorer, instance.model)
        counts = [*Counter(owner for owner, _ in replies).values()]
        if kept is not None and (kept.owners or 1) >= baseline_shares.owners_needed(counts):
            return kept
        return await self._learn_baseline(instance, replies, baseline_shares.largest_portion(counts))

    async def _learn_baseline(
        self, instance: Instance, replies: Sequence[tuple[UserId, VectorState]], portion: int
    ) -> baselines.Baseline | None:
        """Learn a baseline from at most `portion` replies of each owner, or return None if too few."""
        given, taken = Counter[UserId](), list[VectorState]()
        for owner, state in replies:
            if given[owner] < portion:
                given[owner] += 1
                taken.append(state)
        if len(taken) < alarm.LEAST or len({state.conversation for state in taken}) < CONVERSATIONS:
            return None
        learnt = baselines.Baseline(
            instance.character,
            BaselineKind.MESSAGES,
            self._scorer,
            instance.model,
            self._now(),
            instance.plate_version,
            self._seed(),
            baselines.vectors_to_samples([state.vector for state in taken]),
            len(given),
        )
        await baselines.keep_baseline(self._pool, learnt)
        log.info(
            "baseline learnt",
            character=instance.character,
            model=instance.model,
            messages=len(taken),
            owners=len(given),
        )
        return learnt

    async def _replay_messages(self, instance: Instance, baseline: AlarmBaseline) -> Watch:
        """Replay the messages since the last step, because another node may have watched the instance."""
        steps = await restorations.list_of_instance(self._pool, instance.id)
        since = max(
            (step.at for step in steps if step.step != restorations.NOTE), default=instance.spawned_at
        )
        scored = await vectors.load_scored(self._pool, instance.conversation, self._scorer, last=REPLAYED)
        watch = Watch.start(baseline)
        for row in baselines.vectors_to_samples([state.vector for state in scored if state.at >= since]):
            watch = alarm.follow_message(watch, baseline, row)
        return watch


async def load_replies(
    pool: Pool, of: CharacterId, scorer: str, model: str
) -> list[tuple[UserId, VectorState]]:
    """Load what a baseline of a character can be learnt from: replies, each with its owner."""
    replies = await vectors.load_scored_by(pool, of, scorer, model, last=LEARNT_FROM)
    return [(owner, state) for owner, state in replies if _shows_deciding_axes(state)]


def _shows_deciding_axes(state: VectorState) -> bool:
    return all(state.vector.millionths[axis] is not None for axis in axes.DECIDING)
