"""The consensus log: which rounds made a block and which failed, and what operators asked the leader for.

Separate from `blocks`, because nothing is decided by it: people and monitoring read it. Only the leader
writes it, inside the fence of its term.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from ccn.store.connection.pool import Connection, DatabaseReads, Pool, Record
from ccn.store.rounds import terms


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One thing that a leader did or did not bring about."""

    index: int
    term: int
    command: str
    data: Mapping[str, object]
    committed: bool
    at: datetime


async def log_failed(pool: Pool, term: int, reason: str, data: Mapping[str, object]) -> None:
    """Log a round that made no block. Serving goes on, and the next round seals the backlog."""
    async with terms.lead_transaction(pool, term) as connection:
        await write_entry(connection, term, "round", {"reason": reason, **data}, committed=False)


async def log_command(pool: Pool, term: int, command: str, data: Mapping[str, object]) -> None:
    """Log what the leader did because an operator asked for it."""
    async with terms.lead_transaction(pool, term) as connection:
        await write_entry(connection, term, command, data, committed=True)


async def write_entry(
    connection: Connection, term: int, command: str, data: Mapping[str, object], *, committed: bool
) -> None:
    """Add an entry after the newest one. The connection is in a transaction of the leader."""
    await connection.execute(_ENTRY, term, command, dict(data), committed)


async def load_newest(
    pool: DatabaseReads, *, command: str | None = None, before: int | None = None, limit: int = 50
) -> list[LogEntry]:
    """Load the newest entries, of one command or of all, newest first."""
    return [_entry_from_row(row) for row in await pool.rows(_ENTRIES, before, limit, command)]


async def load_after(pool: Pool, index: int, *, command: str, limit: int = 50) -> list[LogEntry]:
    """Load what one command led to after an entry, in order, for a reader who follows along."""
    return [_entry_from_row(row) for row in await pool.rows(_ENTRIES_AFTER, index, limit, command)]


def _entry_from_row(row: Record) -> LogEntry:
    return LogEntry(
        row["log_index"], row["term"], row["command_type"], row["data"], row["committed"], row["at"]
    )


_ENTRY = """
    INSERT INTO consensus_log (log_index, term, command_type, data, committed)
    SELECT coalesce(max(log_index), 0) + 1, $1, $2, $3, $4 FROM consensus_log
"""
_ENTRIES = """
    SELECT log_index, term, command_type, data, committed, at FROM consensus_log
    WHERE ($1::bigint IS NULL OR log_index < $1) AND ($3::text IS NULL OR command_type = $3)
    ORDER BY log_index DESC LIMIT $2
"""
_ENTRIES_AFTER = """
    SELECT log_index, term, command_type, data, committed, at FROM consensus_log
    WHERE log_index > $1 AND command_type = $3 ORDER BY log_index LIMIT $2
"""
