"""Terms, and the fence that keeps an old leader from writing.

Every write that only a leader may make happens inside `lead_transaction`. It has a shared lock until it
commits, and whoever takes over needs the same lock alone: so a new leader waits for writes of the old term
that are under way, and none begins after it. A look at the term before the write would not do: between the
look and the commit another node can take over.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from ccn import errors
from ccn.core.ids import NodeId
from ccn.store.connection import failure
from ccn.store.connection.pool import Connection, DatabaseReads, Pool

FENCE = 0x63636E0002
"""The key of the advisory lock."""


@dataclass(frozen=True, slots=True)
class Term:
    """Who leads since when; nobody before the first election."""

    number: int
    leader: NodeId | None
    since: datetime | None


async def load_term(pool: DatabaseReads) -> Term:
    """Load the term that PostgreSQL shows."""
    row = await pool.row("SELECT term, leader, taken_at FROM cluster_term")
    if row is None:
        raise errors.StoreBroken("the row with the term is gone")
    return Term(row["term"], row["leader"], row["taken_at"])


@asynccontextmanager
async def lead_transaction(pool: Pool, term: int) -> AsyncIterator[Connection]:
    """Open a transaction that commits only if this is still the term by then."""
    async with pool.transaction() as connection:
        await connection.execute("SELECT ccn_led($1, $2)", FENCE, term)
        yield connection


async def take_over_term(pool: Pool, node: NodeId, patience_s: float) -> int:
    """Begin the next term as its leader, once no write of an older one is under way any more.

    A leader that was stopped in the middle of a transaction would hold the fence for ever: when patience
    ends, its connection is ended, which rolls its transaction back.
    """
    try:
        return await _take_over(pool, node, patience_s)
    except errors.Unavailable as refused:
        if not isinstance(refused.__cause__, asyncpg.LockNotAvailableError):
            raise
    await pool.rows(_END_HOLDERS, FENCE)
    return await _take_over(pool, node, patience_s)


async def _take_over(pool: Pool, node: NodeId, patience_s: float) -> int:
    async with failure.translate_errors(), pool.transaction() as connection:
        await connection.execute(f"SET LOCAL lock_timeout = {max(1, int(patience_s * 1000))}")
        await connection.execute("SELECT pg_advisory_xact_lock($1)", FENCE)
        return int(await connection.fetchval(_NEXT, node))


_NEXT = """
    UPDATE cluster_term SET term = term + 1, leader = $1, taken_at = clock_timestamp() RETURNING term
"""
_END_HOLDERS = """
    SELECT pg_terminate_backend(pid) FROM pg_locks
    WHERE locktype = 'advisory' AND mode = 'ShareLock' AND granted
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND (classid::bigint << 32) | objid::bigint = $1 AND objsubid = 1
"""
