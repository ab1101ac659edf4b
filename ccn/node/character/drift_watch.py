"""Watching the instances of this node for drift, message by message, against what is usual for the
character.

The baseline is learnt from messages of the character's healthy instances, from several conversations, since
one alone has too few topics, and of several people, of each a share (`baseline_shares`). One of fewer
people than speak with the character by now holds no longer. Until another one is learnt there is no alarm:
the drift from the round's median and from the charter are shown all the same. Separate from `restoration`,
which acts.
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
"""Messages that still weigh when an instance is watched anew."""
_WATCHED = 20_000
_LOOK_AGAIN = 20
"""Messages of a character between two looks whether more can be learnt, or who else speaks with it."""


@dataclass(frozen=True, slots=True)
class DriftAlarm:
    """An instance whose messages have left the usual scatter."""

    instance: Instance
    distance: float | None = None
    threshold: float | None = None
    reason: str = "its messages left the usual scatter"


@dataclass(frozen=True, slots=True)
class UsualScatter:
    """A baseline that holds, and of how many people it is."""

    baseline: AlarmBaseline
    owners: int
    made_at: datetime


class DriftWatch:
    """What one node has seen of its instances since they came here."""

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
        """One more message; raises the alarm when they add up to too much."""
        instance = scored.instance
        baseline = await self.find_baseline(instance)
        if baseline is None:
            return
        watch, by = self._watched.pop(instance.id, (None, None))
        if watch is None or by is not baseline:
            watch = await self._replay_messages(instance, baseline)  # this message is already among them
        else:
            watch = alarm.follow_message(watch, baseline, baselines.vectors_to_samples([scored.scores])[0])
        self._watched[instance.id] = watch, baseline
        if alarm.is_raised(watch, baseline) and instance.status is not InstanceStatus.QUARANTINED:
            # One alarm for what has added up so far.
            self._watched[instance.id] = Watch.start(baseline), baseline
            self._raise_alarm(
                DriftAlarm(instance, alarm.measure_distance(watch, baseline), baseline.threshold)
            )

    def forget_instance(self, instance: InstanceId) -> None:
        """What it said before counts no longer: it was restored, or cleared."""
        self._watched.pop(instance, None)

    async def find_baseline(self, instance: Instance) -> AlarmBaseline | None:
        """What is usual for the character under its model; None while too little is known."""
        which = (instance.character, instance.model)
        known = self._usual.get(which)
        if known is not None and known.owners >= SHARED:  # more it never takes
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
        """The newest baseline, unless it is of too few people; then another one, if it can be learnt."""
        kept = await baselines.load_newest(
            self._pool, instance.character, BaselineKind.MESSAGES, scorer=self._scorer, model=instance.model
        )
        if kept is not None and (kept.owners or 1) >= SHARED:
            return kept
        heard = await load_replies(self._pool, instance.character, self._scorer, instance.model)
        of_each = [*Counter(who for who, _ in heard).values()]
        if kept is not None and (kept.owners or 1) >= baseline_shares.owners_needed(of_each):
            return kept
        return await self._learn_baseline(instance, heard, baseline_shares.largest_portion(of_each))

    async def _learn_baseline(
        self, instance: Instance, heard: Sequence[tuple[UserId, VectorState]], each_gives: int
    ) -> baselines.Baseline | None:
        given, taken = Counter[UserId](), list[VectorState]()
        for who, said in heard:
            if given[who] < each_gives:
                given[who] += 1
                taken.append(said)
        if len(taken) < alarm.LEAST or len({each.conversation for each in taken}) < CONVERSATIONS:
            return None
        learnt = baselines.Baseline(
            instance.character,
            BaselineKind.MESSAGES,
            self._scorer,
            instance.model,
            self._now(),
            instance.plate_version,
            self._seed(),
            baselines.vectors_to_samples([each.vector for each in taken]),
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
        """What its messages since the last thing done about it add up to: it may have come from another
        node.
        """
        done = await restorations.list_of_instance(self._pool, instance.id)
        since = max(
            (each.at for each in done if each.step != restorations.NOTE), default=instance.spawned_at
        )
        heard = await vectors.load_scored(self._pool, instance.conversation, self._scorer, last=REPLAYED)
        watch = Watch.start(baseline)
        for row in baselines.vectors_to_samples([each.vector for each in heard if each.at >= since]):
            watch = alarm.follow_message(watch, baseline, row)
        return watch


async def load_replies(
    pool: Pool, of: CharacterId, scorer: str, model: str
) -> list[tuple[UserId, VectorState]]:
    """What a baseline of a character can be learnt from, with whose conversation each reply was in."""
    found = await vectors.load_scored_by(pool, of, scorer, model, last=LEARNT_FROM)
    return [each for each in found if _shows_what_decides(each[1])]


def _shows_what_decides(said: VectorState) -> bool:
    return all(said.vector.millionths[axis] is not None for axis in axes.DECIDING)
