"""One replica: whether it follows the primary of this node, and how far it has come.

A probe looks once in a second. A read asks once more, because a replica may have been promoted since: from
then on it goes a way of its own. What a probe found unfit is not asked until a probe finds it fit again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import structlog

from ccn import errors, metrics, settings
from ccn.core.rounds.database_timeline import DatabaseTimeline
from ccn.store.connection import pool
from ccn.store.connection.pool import Connection, NamedRow, Pool, Record
from ccn.store.replicas.primary_log import LogPosition, PrimaryLog
from ccn.store.replicas.shared_ask import SharedAsk

log = structlog.get_logger(__name__)

SILENT = "does not answer"
_NOT_LOOKED = "has not been looked at yet"
_PROMOTED = "follows no primary any more: it was promoted, or never was a standby"
_ASK_S = 2.0
_AGAIN_S = 0.002


@dataclass(frozen=True, slots=True)
class ReplicaStanding:
    """How a replica is, as it was found last. Anybody may see it: it names no host."""

    replica: int
    """Its place in the URL, from 1."""
    unfit: str
    """Why nothing is read there; empty if it is used."""
    lag_s: float | None
    """How late it is; None while nobody knows."""


class Replica:
    """One of the hosts of `CCN_DATABASE_REPLICA_URL`."""

    def __init__(self, place: int, database: settings.DatabaseSettings, primary_log: PrimaryLog) -> None:
        self.database = database
        self.standing = ReplicaStanding(place, _NOT_LOOKED, None)
        self._log = primary_log
        self._primary: LogPosition | None = None
        self._history: DatabaseTimeline | None = None
        self._refusal = ""
        self._asks = SharedAsk(self._load_progress)
        self._pool: Pool | None = None

    @asynccontextmanager
    async def open(self, name: str) -> AsyncIterator[None]:
        """Keep connections for asking, which no read makes wait."""
        limits = {"pool_size": 2, "connect_timeout_s": _ASK_S, "statement_timeout_s": _ASK_S}
        asked = self.database.model_copy(update=limits)
        async with pool.open(asked, f"{name} probe", accept=self.find_unfitness, least=0) as self._pool:
            try:
                yield
            finally:
                await self._asks.close()

    async def wait_until_at(self, position: LogPosition) -> None:
        """Return once it has replayed the log up to this place. The caller says how long to wait."""
        self._primary = position
        while not await self._has_reached(position):  # noqa: ASYNC110 - another machine's progress
            await asyncio.sleep(_AGAIN_S)

    def follows(self, history: DatabaseTimeline) -> bool:
        """Whether it will do, and was found in this history: of another one its place says nothing."""
        return not self.standing.unfit and self._history == history

    async def probe(self, primary: LogPosition) -> None:
        """Look whether it will do, beside what the primary says."""
        self._primary, self._refusal = primary, ""
        try:
            row = await self._open_pool().row(_SHOWN)
            assert row is not None, "a statement without a table has one row"
            unfit = await _find_unfitness(row, primary, self._open_pool().value)
        except errors.CCNError as failed:
            self.note_unfitness(self._refusal or SILENT, str(failed))
            return
        self._history = primary.history
        lag_s = self._log.measure_lag(row["replayed"] or 0)
        if not unfit and lag_s > self.database.replica_lag_s:
            unfit = f"is more than {self.database.replica_lag_s:g} s behind"
        self._note_standing(unfit, lag_s, unfit)

    async def find_unfitness(self, connection: Connection) -> str:
        """Why nothing is to be read over a new connection; empty if it will do."""
        if self._primary is None:
            return "cannot be held against the primary yet"
        (row,) = await connection.fetch(_SHOWN)
        self._refusal = await _find_unfitness(row, self._primary, connection.fetchval)
        return self._refusal

    def note_unfitness(self, unfit: str, reason: str) -> None:
        """Nothing more is read there until a probe finds it fit."""
        self._note_standing(unfit, None, reason)

    def _note_standing(self, unfit: str, lag_s: float | None, reason: str) -> None:
        before, place = self.standing, self.standing.replica
        self.standing = ReplicaStanding(place, unfit, lag_s)
        metrics.database.set_replica(place, used=not unfit, lag_s=lag_s)
        if unfit and unfit != before.unfit:
            # Who names every server, so that whichever follows is found, is not told which one leads.
            tell = log.info if unfit == _PROMOTED and before.unfit else log.warning
            tell("a replica is not read from", replica=place, reason=reason)
        elif before.unfit and not unfit:
            log.info("a replica is read from", replica=place)

    async def _has_reached(self, position: LogPosition) -> bool:
        row = await self._asks.ask()
        if not row["standby"]:
            raise errors.DatabaseUnavailable(_PROMOTED)
        return int(row["replayed"] or 0) >= position.byte

    async def _load_progress(self) -> Record:
        row = await self._open_pool().row(_PROGRESS)
        assert row is not None, "a statement without a table has one row"
        return row

    def _open_pool(self) -> Pool:
        assert self._pool is not None, "a replica is asked while it is open"
        return self._pool


async def _find_unfitness(row: NamedRow, primary: LogPosition, ask: Callable[[str], Awaitable[Any]]) -> str:
    if row["system"] != primary.history.system:
        return "is another database: its system identifier is not that of the primary"
    if not row["standby"]:
        return _PROMOTED
    timeline = row["timeline"]
    if timeline < primary.history.timeline and row["tells"]:
        timeline = max(timeline, await ask(_RECEIVED) or 0)
    if timeline != primary.history.timeline:
        return f"shows timeline {timeline}, and the primary is on {primary.history.timeline}"
    return ""


_PROGRESS = """
    SELECT pg_is_in_recovery() AS standby, (pg_last_wal_replay_lsn() - '0/0')::bigint AS replayed
"""
# The timeline that it receives tells a failover at once. Few may see it; the owner of the schema says it.
# What it writes on its disk now and then tells the same, late and never wrong.
_SHOWN = """
    SELECT (SELECT system_identifier FROM pg_control_system()) AS system,
           pg_is_in_recovery() AS standby,
           greatest((SELECT received_tli FROM pg_stat_wal_receiver),
                    (SELECT min_recovery_end_timeline FROM pg_control_recovery()),
                    (SELECT timeline_id FROM pg_control_checkpoint())) AS timeline,
           to_regproc('ccn_received_timeline') IS NOT NULL AS tells,
           (pg_last_wal_replay_lsn() - '0/0')::bigint AS replayed
"""
_RECEIVED = "SELECT ccn_received_timeline()"
