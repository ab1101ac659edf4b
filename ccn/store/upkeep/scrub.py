"""Have PostgreSQL let go of what was redacted: rewrite the tables that held it, and go through its log.

A redaction changes rows. The words stay in pages as rows that nobody sees, in statistics, and in the log
that was written when they were said; a redaction in itself erases none of that. Here the tables are written
anew, each locked meanwhile, the old files are removed by a checkpoint, and the log is switched until no
segment is left that was written before. What is on other machines, standbys, archives and backups, is not
reached.

It takes the role that owns the tables, and for statistics and the log one that may do that.
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
"""All that holds what a redaction takes out."""
PATIENCE_S = 60.0
_LOOK_S = 0.1
_SEGMENTS = 1_000
"""More than a log keeps ahead; each switch fills one."""
_KEPT = 5
"""Checkpoints after which what is still there is there on purpose."""


@dataclass(frozen=True, slots=True)
class ScrubResult:
    """What was rewritten, and what was left as it is, with the reason."""

    tables: tuple[str, ...]
    left: tuple[str, ...]


async def scrub_database(
    url: str, told: Callable[[str], None] = lambda _: None, *, patience_s: float = PATIENCE_S
) -> ScrubResult:
    """Rewrite everything that redacted words may still lie in; `told` hears what is under way.

    Whoever is in the way is waited for as long as patience lasts, each time.
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
        raise errors.Conflict(f"{table} was in use all the time by a transaction: try again") from refused


async def _wait_for_older(connection: Connection, patience_s: float) -> None:
    """Wait for transactions that may still see rows from before: those rows would be kept."""
    clock = asyncio.get_running_loop().time
    until, now = clock() + patience_s, await connection.fetchval("SELECT pg_current_xact_id()::xid::text")
    while (others := await connection.fetchval(_OLDER, now)) is not None:
        if clock() > until:
            raise errors.Conflict(f"transactions from before are open ({others}): end them, then try again")
        await asyncio.sleep(_LOOK_S)


async def _rewrite_statistics(connection: Connection, patience_s: float) -> list[str]:
    """Words that came often are in the planner's statistics; those of a table are renewed with its rows.

    Of a table that is empty now they stay as they were, until somebody who may do so takes them out.
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
        each
        for each in TABLES
        if not may["superuser"] and await connection.fetchval(f"SELECT NOT EXISTS (TABLE {each})")
    ]
    return [f"statistics of {', '.join(empty)}: permission denied, only a superuser may"] if empty else []


async def _recycle_log(connection: Connection) -> list[str]:
    """Fill and remove segments until none is left that was there at the beginning, or is kept for later."""
    async with _disable_recycling(connection):
        begun, checkpoints = await connection.fetchval(_SEGMENT), 0
        for _ in range(_SEGMENTS):
            (there,) = await connection.fetch(_SEGMENTS_THERE, begun)
            if not there["before"] and not there["ahead"]:
                return []
            if checkpoints == _KEPT:
                kept = f"{there['before']} segments are kept for a standby, a slot or the archive"
                return [f"the write-ahead log: {kept}"]
            await standbys.commit_marker(connection)  # an empty segment is not switched
            await connection.execute("SELECT pg_switch_wal()")
            if not there["ahead"]:
                await connection.execute("CHECKPOINT")
                checkpoints += 1
    raise errors.Conflict("the write-ahead log grows faster than it can be gone through: try again later")


@asynccontextmanager
async def _disable_recycling(connection: Connection) -> AsyncIterator[None]:
    """Segments are removed meanwhile, not kept for later under another name with what is in them."""
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
