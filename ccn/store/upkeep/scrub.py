"""Erase redacted words from PostgreSQL's files: rewrite the tables that held them, and recycle its log.

A redaction changes rows. The old words are still in dead rows, in statistics, and in the write-ahead log.
Here the tables are rewritten, each locked meanwhile. A checkpoint removes the old files. The log is
switched until no segment is left that was written before. Copies on other machines (standbys, archives and
backups) are not reached.

This needs the role that owns the tables. Statistics and the log need further privileges.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg

from ccn import errors
from ccn.store.connection import failure, migrate, standbys
from ccn.store.connection.pool import Connection

TABLES = ("messages", "message_documents", "turn_events", "turns", "conversations")
"""The tables that hold what a redaction takes out."""
PATIENCE_S = 60.0
_TRANSACTIONS_POLL_S = 0.1
_SEGMENTS = 1_000
"""Most log switches, each of which fills a segment. A log keeps fewer segments ahead."""
_KEPT = 5
"""Checkpoints after which a segment that is still there is kept on purpose."""


@dataclass(frozen=True, slots=True)
class ScrubResult:
    """Which tables were rewritten, and what could not be, with the reason."""

    tables: tuple[str, ...]
    left: tuple[str, ...]


async def scrub_database(
    url: str, told: Callable[[str], None] = lambda _: None, *, patience_s: float = PATIENCE_S
) -> ScrubResult:
    """Rewrite everything that may still hold redacted words. `told` is called with each step.

    Each step waits up to `patience_s` for transactions that are in its way.
    """
    left = list[str]()
    async with failure.translate_errors(), migrate.connect(url) as connection:
        if not await connection.fetchval(_OWNED, list(TABLES)):
            raise errors.NotAllowed(
                "only the role that owns the tables may do this: CCN_DATABASE_OWNER_URL"
            )
        await _wait_for_older(connection, patience_s)
        await connection.execute(f"SET lock_timeout = {max(1, int(patience_s * 1000))}")
        for table in TABLES:
            told(f"rewriting {table}")
            await _rewrite_table(connection, table)
        told("rewriting statistics")
        left += await _rewrite_statistics(connection, patience_s)
        told("going through the write-ahead log")
        try:
            left += await _recycle_log(connection)
        except asyncpg.InsufficientPrivilegeError as refused:
            left.append(f"the write-ahead log: {failure.describe_error(refused)}")
    return ScrubResult(TABLES, tuple(left))


async def _rewrite_table(connection: Connection, table: str) -> None:
    try:
        await connection.execute(f"VACUUM (FULL, ANALYZE) {table}")
    except asyncpg.LockNotAvailableError as refused:
        raise errors.Conflict(f"a transaction used {table} all the time: try again") from refused


async def _wait_for_older(connection: Connection, patience_s: float) -> None:
    """Wait for transactions that may still see old rows, because PostgreSQL would keep those rows."""
    clock = asyncio.get_running_loop().time
    until, now = clock() + patience_s, await connection.fetchval("SELECT pg_current_xact_id()::xid::text")
    while (others := await connection.fetchval(_OLDER, now)) is not None:
        if clock() > until:
            raise errors.Conflict(f"older transactions are open ({others}): end them, then try again")
        await asyncio.sleep(_TRANSACTIONS_POLL_S)


async def _rewrite_statistics(connection: Connection, patience_s: float) -> list[str]:
    """Rewrite the planner's statistics, which hold frequent words. ANALYZE renews those of a table.

    The statistics of an empty table stay as they were, until a superuser deletes them.
    """
    (may,) = await connection.fetch(_MAY)
    if not may["owner"]:  # PostgreSQL would only warn
        return ["statistics: permission denied, only the owner of the database may rewrite them"]
    if may["superuser"]:
        await connection.execute(_FORGET_STATISTICS, list(TABLES))
        await connection.execute(f"ANALYZE {', '.join(TABLES)}")
    await _wait_for_older(connection, patience_s)
    await connection.execute("VACUUM FULL pg_statistic")
    empty = [
        table
        for table in TABLES
        if not may["superuser"] and await connection.fetchval(f"SELECT NOT EXISTS (TABLE {table})")
    ]
    return [f"statistics of {', '.join(empty)}: permission denied, only a superuser may"] if empty else []


async def _recycle_log(connection: Connection) -> list[str]:
    """Fill and remove segments until no old one is left, and none that was prepared for later use."""
    async with _disable_recycling(connection):
        begun, checkpoints = await connection.fetchval(_SEGMENT), 0
        for _ in range(_SEGMENTS):
            (counts,) = await connection.fetch(_SEGMENTS_THERE, begun)
            if not counts["before"] and not counts["ahead"]:
                return []
            if checkpoints == _KEPT:
                kept = f"{counts['before']} segments are kept for a standby, a slot or the archive"
                return [f"the write-ahead log: {kept}"]
            await standbys.commit_marker(connection)  # an empty segment is not switched
            await connection.execute("SELECT pg_switch_wal()")
            if not counts["ahead"]:
                await connection.execute("CHECKPOINT")
                checkpoints += 1
    raise errors.Conflict("the write-ahead log grows faster than it can be recycled: try again later")


@asynccontextmanager
async def _disable_recycling(connection: Connection) -> AsyncIterator[None]:
    """Let PostgreSQL remove segments meanwhile. It would otherwise rename them, with their content."""
    if not await connection.fetchval("SELECT current_setting('wal_recycle')::boolean"):
        yield
        return
    await _alter_system(connection, "SET wal_recycle = off")
    try:
        yield
    finally:
        await _alter_system(connection, "RESET wal_recycle")


async def _alter_system(connection: Connection, change: str) -> None:
    await connection.execute(f"ALTER SYSTEM {change}")
    await connection.execute("SELECT pg_reload_conf()")


_OWNED = (
    "SELECT bool_and(pg_has_role(relowner, 'USAGE')) FROM pg_class WHERE oid = ANY ($1::text[]::regclass[])"
)
_MAY = """
    SELECT current_setting('is_superuser')::boolean AS superuser, pg_has_role(datdba, 'USAGE') AS owner
    FROM pg_database WHERE datname = current_database()
"""
_FORGET_STATISTICS = "DELETE FROM pg_statistic WHERE starelid = ANY ($1::text[]::regclass[])"
_OLDER = """
    SELECT string_agg(DISTINCT coalesce(nullif(application_name, ''), 'process ' || pid), ', ')
    FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
      AND greatest(age(backend_xmin), age(backend_xid)) > age($1::text::xid)
"""
_SEGMENT = "SELECT pg_walfile_name(pg_current_wal_insert_lsn())"
_SEGMENTS_THERE = f"""
    SELECT count(*) FILTER (WHERE name <= $1) AS before,
           count(*) FILTER (WHERE name > ({_SEGMENT})) AS ahead
    FROM pg_ls_waldir() WHERE name ~ '^[0-9A-F]{{24}}$'
"""  # noqa: S608 - constants joined
