"""Puts together everything about the instances of one node: what doors use, and the tasks that run.

Separate from `ccn/service`, because tests and nodes without doors are put together in the same way.
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
from ccn.node.acceptance import AcceptanceParts
from ccn.node.character import scorers
from ccn.node.character.drift_watch import DriftWatch
from ccn.node.character.estimates import EVERY_S, Estimates
from ccn.node.character.judge import Judge
from ccn.node.character.outlier_alarms import OutlierAlarms
from ccn.node.character.probes import Probes
from ccn.node.character.restoration import WAITING_LIMIT, AlarmQueue, Restorer
from ccn.node.character.scoring import UNMEASURED, ReplyScoring, ScoredReply, VectorScorer
from ccn.node.conversations import Conversations
from ccn.node.instances.adoption import Adoption, SeenNodes
from ccn.node.instances.capacity import Room
from ccn.node.instances.forwarding import Forwarding
from ccn.node.instances.hosting import DatabaseHostStore, Hosting, HostStore
from ccn.node.instances.placement import Placement
from ccn.node.instances.spawning import Spawning
from ccn.node.pacing import every
from ccn.node.turns.execution import SpeakingModel, TurnRunner
from ccn.node.turns.prefetch import Prefetch
from ccn.node.turns.prompts import Prompts
from ccn.store.connection.pool import Pool
from ccn.store.conversations import conversations
from ccn.store.writing.quotas import Quota
from ccn.store.writing.writer import Writer

log = structlog.get_logger(__name__)

COUNT_S = 60.0


@dataclass(frozen=True, slots=True)
class NodeInstances:
    """One node's instances."""

    pool: Pool
    hosting: Hosting
    adoption: Adoption
    prompts: Prompts
    forwarding: Forwarding
    conversations: Conversations
    scoring: ReplyScoring
    restoration: Restorer
    outlier_alarms: OutlierAlarms
    estimates: Estimates
    room: Room

    def make_parts(self, stop: asyncio.Event, grace_s: float) -> dict[str, Coroutine[None, None, None]]:
        """Make the tasks that run beside the doors until told to stop."""
        return {
            "hosting": self.hosting.run(stop, grace_s),
            "adoption": self.adoption.run(stop),
            "counting": self._count_conversations(stop),
            "scoring": self.scoring.run(stop),
            "restoring": self.restoration.run(stop),
            "heeding": self.outlier_alarms.run(stop),
            "measuring": self.estimates.run(stop),
        }

    async def _count_conversations(self, stop: asyncio.Event) -> None:
        """Count all conversations once a minute, for the metrics."""
        async for _ in every(COUNT_S, stop):
            try:
                metrics.instances.set_conversations(await conversations.count_all(self.pool))
            except errors.CCNError as failed:
                log.warning("conversations not counted", reason=str(failed))


def _new_seed() -> int:
    """Draw a seed. It is stored with what it was used for, so that the thresholds can be computed again."""
    return secrets.randbits(48)


def assemble_instances(
    pool: Pool,
    writer: Writer,
    model: SpeakingModel,
    *,
    forwarding: Forwarding,
    here: SeenNodes,
    chosen: settings.InstancesSettings,
    claude: settings.ClaudeSettings,
    new_id: Callable[[], UUID],
    limits: settings.LimitsSettings | None = None,
    scorer: VectorScorer = UNMEASURED,
    judge: Judge | None = None,
    seed: Callable[[], int] = _new_seed,
    host_store: Callable[[Pool], HostStore] = DatabaseHostStore,
) -> NodeInstances:
    """Assemble the parts of one node, and give each what it needs."""
    most = limits or settings.LimitsSettings()
    quota = Quota(most.conversations, most.instances)
    prompts = Prompts(pool, writer, claude)

    alarms = AlarmQueue(WAITING_LIMIT)
    drift_watch = DriftWatch(pool, scorer.version, _utc_now, seed, alarms.raise_alarm)
    strangers = scorers.distance_of_strangers(scorer)
    estimates = Estimates(pool, writer.node, scorer.version, strangers, _utc_now, EVERY_S)

    async def note_score(reply: ScoredReply) -> None:
        estimates.note_reply(reply)
        await drift_watch.watch_reply(reply)

    scoring = ReplyScoring(pool, writer, scorer, note_score)
    prefetch = Prefetch(prompts, model)
    turn_runner = TurnRunner(pool, writer, prefetch, model, scoring, chosen.chunk_ms / 1000)
    store = host_store(pool)
    hosting = Hosting(writer.node, store, chosen, turn_runner.run_turn)
    adoption = Adoption(hosting, pool, writer, chosen, here)
    spawning = Spawning(pool, writer, prompts, model, hosting, new_id, quota)
    room = Room(
        pool,
        writer,
        hosting=hosting,
        adoption=adoption,
        forwarding=forwarding,
        chosen=chosen,
        quota=quota,
    )
    placement = Placement(
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
    adoption.rescue = placement.rescue_turns  # which needs the adoption itself
    probes = Probes(pool, prompts=prompts, model=model, scorer=scorer, judge=judge, now=_utc_now, seed=seed)
    restorer = Restorer(
        pool, writer, hosting, spawning, probes, drift_watch.forget_instance, _utc_now, alarms
    )
    outlier_alarms = OutlierAlarms(pool, writer.node, _utc_now, alarms.raise_alarm)
    accepting = AcceptanceParts(
        pool=pool,
        writer=writer,
        placement=placement,
        hosting=hosting,
        forwarding=forwarding,
        prompts=prompts,
        prefetch=prefetch,
        model=model,
        store=store,
        queue_limit=chosen.queue_limit,
    )
    facade = Conversations(accepting, quota, new_id)
    forwarding.methods |= {**room.methods, **placement.methods, **facade.methods}
    return NodeInstances(
        pool=pool,
        hosting=hosting,
        adoption=adoption,
        prompts=prompts,
        forwarding=forwarding,
        conversations=facade,
        scoring=scoring,
        restoration=restorer,
        outlier_alarms=outlier_alarms,
        estimates=estimates,
        room=room,
    )


def _utc_now() -> datetime:
    return datetime.fromtimestamp(time.time(), UTC)
