"""How far the primary's log is, and since when: what a replica has to have replayed, and how late it is.

The lag is the time since the primary was first seen beyond what the replica has. It needs no clock but
ours, and an idle primary makes nobody late, as `pg_last_xact_replay_timestamp` would.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass

from ccn import errors
from ccn.core.rounds.database_timeline import DatabaseTimeline
from ccn.store.connection import timelines
from ccn.store.connection.pool import DatabaseReads
from ccn.store.replicas.shared_ask import SharedAsk

_SEEN = 600
"""Positions to remember, one a second: a replica that is later than this is at least so late."""


@dataclass(frozen=True, slots=True)
class LogPosition:
    """A place in the log of one history of a database. What was acknowledged earlier stands before it."""

    history: DatabaseTimeline
    byte: int


class PrimaryLog:
    """The log of the primary, as far as this process has seen it."""

    def __init__(self, primary: DatabaseReads) -> None:
        self._primary = primary
        self._asks = SharedAsk(self._load_position)
        self._history: DatabaseTimeline | None = None
        self._first_seen = deque[tuple[float, int]](maxlen=_SEEN)

    async def ask_position(self) -> LogPosition:
        """A place behind everything that anybody was told to be durable before this call."""
        return await self._asks.ask()

    async def watch_position(self) -> LogPosition:
        """The same, and remember when this was."""
        now = asyncio.get_running_loop().time()
        position = await self.ask_position()
        self._remember(position, now)
        return position

    def measure_lag(self, replayed: int) -> float:
        """For how long, in seconds, the primary has been beyond this place."""
        now = asyncio.get_running_loop().time()
        return next((now - at for at, byte in self._first_seen if byte > replayed), 0.0)

    async def close(self) -> None:
        """End what is under way."""
        await self._asks.close()

    def _remember(self, position: LogPosition, at: float) -> None:
        if position.history != self._history:  # another history counts its log from where it began
            self._history = position.history
            self._first_seen.clear()
        if not self._first_seen or position.byte > self._first_seen[-1][1]:
            self._first_seen.append((at, position.byte))

    async def _load_position(self) -> LogPosition:
        row = await self._primary.row(_POSITION)
        history = None if row is None else timelines.timeline_from_row(row)
        if row is None or history is None:
            raise errors.DatabaseUnavailable("the database of this node is a standby itself")
        return LogPosition(history, row["byte"])


# Flushed, not inserted: what is acknowledged is flushed, and what nobody flushes reaches no replica.
_POSITION = f"""
    SELECT {timelines.SHOWN},
           CASE WHEN NOT pg_is_in_recovery() THEN (pg_current_wal_flush_lsn() - '0/0')::bigint END AS byte
"""
