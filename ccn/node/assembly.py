"""Everything about instances on one node, put together: what the doors are handed, and what has to run.

Separate from `service.py` because tests, and workers without doors, live the same way.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import structlog

from ccn import errors, metrics, settings
from ccn.node.character import scorers
from ccn.node.character.drift_watch import Alarm, Watching
from ccn.node.character.estimates import EVERY_S, Measuring
from ccn.node.character.outlier_alarms import Heeding
from ccn.node.character.probes import Probing
from ccn.node.character.restoration import Restoring
from ccn.node.character.scoring import UNMEASURED, Scored, Scorer, Scoring
from ccn.node.conversations import Conversations
from ccn.node.instances.adoption import Adoption, Here
from ccn.node.instances.forwarding import Forwarding
from ccn.node.instances.hosting import Hosting
from ccn.node.instances.placement import Placing
from ccn.node.instances.room import Room
from ccn.node.instances.spawning import Spawning
from ccn.node.turns.execution import Conversing, Model
from ccn.node.turns.prefetch import Foreseeing
from ccn.node.turns.prompts import Prompting
from ccn.store.connection.pool import Pool
from ccn.store.conversations import conversations
from ccn.store.writing.quotas import Quota
from ccn.store.writing.writer import Writer

log = structlog.get_logger(__name__)

COUNT_S = 60.0


@dataclass(frozen=True, slots=True)
class Living:
    """One node's instances."""

    pool: Pool
    hosting: Hosting
    adoption: Adoption
    prompting: Prompting
    forwarding: Forwarding
    conversations: Conversations
    scoring: Scoring
    restoring: Restoring
    heeding: Heeding
    measuring: Measuring
    room: Room

    def parts(self, stop: asyncio.Event, grace_s: float) -> dict[str, Coroutine[None, None, None]]:
        """What has to run beside the doors, until told to stop."""
        return {
            "hosting": self.hosting.run(stop, grace_s),
            "adoption": self.adoption.run(stop),
            "counting": self._count(stop),
            "scoring": self.scoring.run(stop),
            "restoring": self.restoring.run(stop),
            "heeding": self.heeding.run(stop),
            "measuring": self.measuring.run(stop),
        }

    async def _count(self, stop: asyncio.Event) -> None:
        """How many conversations there are, once a minute."""
        while not stop.is_set():
            try:
                metrics.counted(await conversations.count(self.pool))
            except errors.CCNError as failed:
                log.warning("conversations not counted", reason=str(failed))
            try:
                async with asyncio.timeout(COUNT_S):
                    await stop.wait()
            except TimeoutError:
                continue


def _seed() -> int:
    """Kept with what it was used for, so that the same thresholds can be found again."""
    return secrets.randbits(48)


def assemble(
    pool: Pool,
    writer: Writer,
    model: Model,
    *,
    forwarding: Forwarding,
    here: Here,
    chosen: settings.Instances,
    claude: settings.Claude,
    new_id: Callable[[], UUID],
    limits: settings.Limits | None = None,
    scorer: Scorer = UNMEASURED,
    seed: Callable[[], int] = _seed,
) -> Living:
    """The parts of one node, each handed what it needs."""
    most = limits or settings.Limits()
    quota = Quota(most.conversations, most.instances)
    prompting = Prompting(pool, writer, claude)

    def raised(alarm: Alarm) -> None:
        restoring.raised(alarm)

    async def scored(reply: Scored) -> None:
        measuring.noticed(reply)
        await watching.watch(reply)

    watching = Watching(pool, scorer.version, _now, seed, raised)
    scoring = Scoring(pool, writer, scorer, scored)
    foreseeing = Foreseeing(prompting, model)
    conversing = Conversing(pool, writer, foreseeing, model, scoring, chosen.chunk_ms / 1000)
    hosting = Hosting(pool, writer, chosen, conversing.hold)
    adoption = Adoption(hosting, pool, writer, chosen, here)
    spawning = Spawning(pool, writer, prompting, model, hosting, new_id, quota)
    room = Room(
        pool,
        writer,
        hosting=hosting,
        adoption=adoption,
        forwarding=forwarding,
        chosen=chosen,
        quota=quota,
    )
    placing = Placing(
        pool,
        writer,
        hosting=hosting,
        spawning=spawning,
        adoption=adoption,
        forwarding=forwarding,
        room=room,
        chosen=chosen,
        spawns_at_once=most.spawns_at_once,
    )
    probing = Probing(pool, prompts=prompting, model=model, scorer=scorer, now=_now, seed=seed)
    restoring = Restoring(pool, writer, hosting, spawning, probing, watching.forget, _now)
    heeding = Heeding(pool, writer.node, _now, raised)
    measuring = Measuring(pool, hosting, scorer.version, scorers.strangers(scorer), _now, EVERY_S)
    doors = Conversations(pool, writer, placing, foreseeing, chosen, new_id)
    return Living(
        pool, hosting, adoption, prompting, forwarding, doors, scoring, restoring, heeding, measuring, room
    )


def _now() -> datetime:
    return datetime.fromtimestamp(time.time(), UTC)
