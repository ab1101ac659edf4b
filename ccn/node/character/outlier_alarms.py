"""Alarms from rounds: an instance of this node that a round found beyond the tolerance is alarmed too.

The tolerance sees what the watch over single messages may miss: an instance that slowly moved away from all
others. The alarm is like any other: noted, confirmed by probes, and only then acted on. A round compares
smoothed states, which stay far out for many messages after an instance is well again. So an instance is
alarmed once in a window, whatever raised the first alarm.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

import structlog

from ccn import errors
from ccn.core.axes import UNIT
from ccn.core.ids import ConversationId, NodeId
from ccn.node.character.drift_watch import DriftAlarm
from ccn.node.character.restoration import WINDOW
from ccn.node.pacing import every
from ccn.store.character import restorations, vectors
from ccn.store.connection.pool import Pool
from ccn.store.conversations import instances
from ccn.store.conversations.instances import Instance, InstanceStatus
from ccn.store.rounds import agreements, blocks
from ccn.store.rounds.agreements import RoundOutlier

log = structlog.get_logger(__name__)

SETTLED = 20
"""Scored replies before a state is compared with the tolerance. A state begins as the scores of one
message, whose scatter alone exceeds the tolerance. After so many replies it is smooth enough."""
BLOCK_READ_S = 2.0
"""How often the last block is read. Outliers of rounds in between are outliers of the next round too."""


@dataclass(slots=True)
class OutlierAlarms:
    """Raises alarms on one node for the outliers of rounds."""

    pool: Pool
    node: NodeId
    now: Callable[[], datetime]
    raise_alarm: Callable[[DriftAlarm], None]
    height: int = 0
    _alarmed: dict[ConversationId, datetime] = field(default_factory=dict)

    async def run(self, stop: asyncio.Event) -> None:
        """Look for outliers in the last block at intervals, until told to stop."""
        async for _ in every(BLOCK_READ_S, stop, pause_first=True):
            try:
                await self.look_for_outliers()
            except errors.CCNError as failed:
                log.warning("could not look for outliers", reason=str(failed))

    async def look_for_outliers(self) -> None:
        """Raise an alarm for each outlier of the last block that lives here and was not alarmed lately."""
        self.height, outliers = await agreements.load_last_outliers(self.pool, self.height)
        if not outliers:
            return
        since = self.now() - WINDOW
        self._alarmed = {conversation: at for conversation, at in self._alarmed.items() if at > since}
        hosted = {
            instance.id: instance for instance in await instances.list_alive(self.pool, host=self.node)
        }
        for outlier in outliers:
            instance = hosted.get(outlier.instance)
            if instance is not None and instance.status is InstanceStatus.RUNNING:
                await self._alarm_once(instance, outlier, since)

    async def _alarm_once(self, instance: Instance, outlier: RoundOutlier, since: datetime) -> None:
        if await vectors.count_replies(self.pool, instance.conversation, most=SETTLED) < SETTLED:
            return
        steps = await restorations.list_of_conversation(self.pool, instance.id)
        if instance.conversation in self._alarmed or any(step.at > since for step in steps):
            return
        self._alarmed[instance.conversation] = self.now()
        tip = await blocks.load_tip(self.pool)
        tolerance = tip.rules.parameters.tolerance / UNIT if tip else None
        reason = f"beyond the tolerance in round {outlier.height}"
        self.raise_alarm(DriftAlarm(instance, outlier.drift, tolerance, reason))
