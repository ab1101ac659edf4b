"""Watching the instances of this node for drift, message by message, against what is usual for the
character.

The baseline is learnt from the first messages of the character's healthy instances, from several
conversations, since one alone has too few topics. Until then there is no alarm: the drift from the round's
median and from the charter are shown all the same. Separate from `restoring`, which acts.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import structlog

from ccn.core import alarm, character
from ccn.core.alarm import Baseline, Watch
from ccn.core.ids import CharacterId, InstanceId
from ccn.node.scoring import Scored
from ccn.store import baselines, restorations, vectors
from ccn.store.baselines import Kind
from ccn.store.instances import Instance, Status
from ccn.store.pool import Pool

log = structlog.get_logger(__name__)

LEARNT_FROM = 480
CONVERSATIONS = 4
"""A baseline of fewer conversations knows too few topics."""
REPLAYED = 60
"""Messages that still weigh when an instance is watched anew."""
_WATCHED = 20_000
_LOOK_AGAIN = 20
"""Messages of a character between two attempts to learn."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """An instance whose messages have left the usual scatter."""

    instance: Instance
    distance: float | None = None
    threshold: float | None = None
    reason: str = "its messages left the usual scatter"


class Watching:
    """What one node has seen of its instances since they came here."""

    def __init__(
        self,
        pool: Pool,
        scorer: str,
        now: Callable[[], datetime],
        seed: Callable[[], int],
        raised: Callable[[Alarm], None],
    ) -> None:
        self._pool, self._scorer, self._now, self._seed = pool, scorer, now, seed
        self._raised = raised
        self._watched: OrderedDict[InstanceId, Watch] = OrderedDict()
        self._usual: dict[tuple[CharacterId, str], Baseline] = {}
        self._patience: dict[tuple[CharacterId, str], int] = {}

    async def watch(self, scored: Scored) -> None:
        """One more message; raises the alarm when they add up to too much."""
        instance = scored.instance
        baseline = await self.usual(instance)
        if baseline is None:
            return
        watch = self._watched.pop(instance.id, None)
        if watch is None:
            watch = await self._replayed(instance, baseline)  # this message is already among them
        else:
            watch = alarm.follow(watch, baseline, baselines.samples([scored.scores])[0])
        self._watched[instance.id] = watch
        while len(self._watched) > _WATCHED:
            self._watched.popitem(last=False)
        if alarm.raised(watch, baseline) and instance.status is not Status.QUARANTINED:
            self._watched[instance.id] = Watch.fresh(baseline)  # one alarm for what has added up so far
            self._raised(Alarm(instance, alarm.distance(watch, baseline), baseline.threshold))

    def forget(self, instance: InstanceId) -> None:
        """What it said before counts no longer: it was restored, or cleared."""
        self._watched.pop(instance, None)

    async def usual(self, instance: Instance) -> Baseline | None:
        """What is usual for the character under its model; None while too little is known."""
        which = (instance.character, instance.model)
        if which in self._usual:
            return self._usual[which]
        if self._patience.get(which, 0) > 0:
            self._patience[which] -= 1
            return None
        kept = await baselines.newest(
            self._pool, instance.character, Kind.MESSAGES, scorer=self._scorer, model=instance.model
        )
        kept = kept or await self._learnt(instance)
        if kept is None:
            self._patience[which] = _LOOK_AGAIN
            return None
        self._usual[which] = await asyncio.to_thread(
            alarm.learn, kept.scores, character.DECIDING, np.random.default_rng(kept.seed)
        )
        return self._usual[which]

    async def _learnt(self, instance: Instance) -> baselines.Baseline | None:
        found = await vectors.scored_by(
            self._pool, instance.character, self._scorer, instance.model, last=LEARNT_FROM
        )
        heard = baselines.samples([each.vector for each in found])
        whole = ~np.isnan(heard[:, list(character.DECIDING)]).any(axis=1)
        if whole.sum() < alarm.LEAST or len({each.conversation for each in found}) < CONVERSATIONS:
            return None
        learnt = baselines.Baseline(
            instance.character,
            Kind.MESSAGES,
            self._scorer,
            instance.model,
            self._now(),
            instance.plate_version,
            self._seed(),
            heard[whole],
        )
        await baselines.keep(self._pool, learnt)
        log.info("baseline learnt", character=instance.character, model=instance.model, messages=len(heard))
        return learnt

    async def _replayed(self, instance: Instance, baseline: Baseline) -> Watch:
        """What its messages since the last thing done about it add up to: it may have come from another
        node.
        """
        done = await restorations.of_instance(self._pool, instance.id)
        since = max(
            (each.at for each in done if each.step != restorations.NOTE), default=instance.spawned_at
        )
        heard = await vectors.scored(self._pool, instance.conversation, self._scorer, last=REPLAYED)
        watch = Watch.fresh(baseline)
        for row in baselines.samples([each.vector for each in heard if each.at >= since]):
            watch = alarm.follow(watch, baseline, row)
        return watch
