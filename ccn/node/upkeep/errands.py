"""Errands: what has to happen at intervals, whichever node does it.

    always        index new messages for search
    every minute  take snapshots of conversations that went on, compute hourly means, and expire the
                  reservations of nodes that died
    every hour    delete what is too old

An errand that fails is logged and tried again at its next time. It never stops the node.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

import structlog

from ccn import errors
from ccn.core import ids
from ccn.core.ids import SnapshotId
from ccn.node.pacing import every
from ccn.store.character import measures
from ccn.store.connection.pool import Pool
from ccn.store.conversations import search
from ccn.store.spending import spend
from ccn.store.upkeep import retention, snapshots
from ccn.store.writing.writer import Writer

if TYPE_CHECKING:
    from ccn import settings

log = structlog.get_logger(__name__)

Now = Callable[[], datetime]

INDEX_PAUSE_S = 0.5
MINUTE_S = 60.0
HOUR_S = 3600.0


async def run_errands(  # noqa: PLR0917 - its neighbours, each once
    pool: Pool,
    writer: Writer,
    kept: settings.RetentionSettings,
    now: Now,
    accepts_work: Callable[[], Awaitable[bool]],
    stop: asyncio.Event,
) -> None:
    """Run every errand at its time until told to stop.

    Errands that write to the record run only while the node `accepts_work`.
    """

    async def run_if_accepting(errand: Callable[[], Awaitable[object]]) -> None:
        if await accepts_work():
            await errand()

    async with asyncio.TaskGroup() as errands:
        errands.create_task(_repeat_errand(INDEX_PAUSE_S, stop, "index", lambda: index_messages(pool)))
        for every_s, name, errand in (
            (MINUTE_S, "remember", lambda: take_snapshots(pool, writer, kept, now())),
            (MINUTE_S, "account", lambda: expire_reservations(pool, now())),
            (HOUR_S, "forget", lambda: drop_old(pool, writer, kept, now())),
        ):
            errands.create_task(_repeat_errand(every_s, stop, name, partial(run_if_accepting, errand)))


async def index_messages(pool: Pool) -> None:
    """Index new messages for search, batch by batch."""
    while await search.index_messages(pool):
        continue


async def take_snapshots(
    pool: Pool, writer: Writer, kept: settings.RetentionSettings, now: datetime
) -> int:
    """Take the snapshots that are due and compute hourly means. Return how many snapshots were taken."""
    async with pool.try_alone("remember") as alone:
        if not alone:
            return 0
        due = await snapshots.list_due(pool, now - timedelta(minutes=kept.snapshot_minutes))
        for conversation in due:
            snapshot = SnapshotId(ids.make_uuid7(int(now.timestamp() * 1000), secrets.token_bytes(10)))
            await snapshots.take_snapshot(pool, writer, snapshot, conversation, now)
        await measures.roll_up_hours(pool, now)
        return len(due)


async def expire_reservations(pool: Pool, now: datetime) -> int:
    """Count expired reservations as spent, and delete old ones. Return how many expired."""
    async with pool.try_alone("account") as alone:
        if not alone:
            return 0
        expired = await spend.expire_held(pool, now)
        if expired:
            log.warning("reservations expired", count=expired)
        await spend.forget_ended(pool, now)
        return expired


async def drop_old(pool: Pool, writer: Writer, kept: settings.RetentionSettings, now: datetime) -> None:
    """Redact old content, and delete old streams and series. The record says so, and why."""
    async with pool.try_alone("forget") as alone:
        if not alone:
            return
        if kept.content_days:
            redacted = await retention.redact_older(pool, writer, now - timedelta(days=kept.content_days))
            if redacted:
                log.info("old content redacted", conversations=redacted)
        await retention.forget_streams(pool, now - timedelta(hours=kept.turn_event_hours))
        await retention.forget_series(pool, writer, now - timedelta(days=kept.time_series_days))


async def _repeat_errand(
    every_s: float, stop: asyncio.Event, errand: str, go: Callable[[], Awaitable[object]]
) -> None:
    async for _ in every(every_s, stop):
        try:
            await go()
        except errors.CCNError as failed:
            log.warning("errand failed", errand=errand, error=type(failed).__name__, reason=str(failed))
