"""Heeding rounds: an instance of this node that a round found beyond the tolerance is alarmed too.

The tolerance sees what the watch over single messages may miss: somebody who has slowly gone elsewhere than
all the others. It is an alarm like any other, noted, confirmed by probes and only then acted on. The state
that a round compares is smoothed and stays far out for many messages after its instance is well again, so
one instance is alarmed for this once in a window, whatever alarmed it first.
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
"""Scored replies before a state is judged by the tolerance: it begins with a single message's scores, whose
scatter alone exceeds it, and only then is as smooth as the tolerance takes for granted."""
LOOK_S = 2.0
"""How often the last block is looked at; rounds that went by in between are told by the next one."""


@dataclass(slots=True)
class OutlierAlarms:
    """What one node makes of the outliers of rounds."""

    pool: Pool
    node: NodeId
    now: Callable[[], datetime]
    raise_alarm: Callable[[DriftAlarm], None]
    height: int = 0
    _alarmed: dict[ConversationId, datetime] = field(default_factory=dict)

    async def run(self, stop: asyncio.Event) -> None:
        """Look at the last block again and again, until told to stop."""
        async for _ in every(LOOK_S, stop, pause_first=True):
            try:
                await self.look_for_outliers()
            except errors.CCNError as failed:
                log.warning("outliers not looked at", reason=str(failed))

    async def look_for_outliers(self) -> None:
        """Raise an alarm for each outlier of the last block that lives here and was not alarmed lately."""
        self.height, found = await agreements.load_last_outliers(self.pool, self.height)
        if not found:
            return
        since = self.now() - WINDOW
        self._alarmed = {here: at for here, at in self._alarmed.items() if at > since}
        mine = {each.id: each for each in await instances.list_alive(self.pool, host=self.node)}
        for outlier in found:
            instance = mine.get(outlier.instance)
            if instance is not None and instance.status is InstanceStatus.RUNNING:
                await self._alarm_once(instance, outlier, since)

    async def _alarm_once(self, instance: Instance, outlier: RoundOutlier, since: datetime) -> None:
        if await vectors.count_replies(self.pool, instance.conversation, most=SETTLED) < SETTLED:
            return
        done = await restorations.list_of_conversation(self.pool, instance.id)
        if instance.conversation in self._alarmed or any(each.at > since for each in done):
            return
        self._alarmed[instance.conversation] = self.now()
        tip = await blocks.load_tip(self.pool)
        tolerance = tip.rules.parameters.tolerance / UNIT if tip else None
        reason = f"beyond the tolerance in round {outlier.height}"
        self.raise_alarm(DriftAlarm(instance, outlier.drift, tolerance, reason))
