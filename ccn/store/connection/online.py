"""Running a schema file beside nodes at work, so that none of their statements waits long for it.

A statement that wants a lock for itself queues behind whoever holds the table, and everybody else queues
behind that statement. So a file asks for at most two seconds, lock and work together, is rolled back if
that was not enough, and asks again after a pause in which the nodes go on. What takes longer by its nature
(an index built concurrently, a constraint validated, rows filled in) takes no lock that a node waits for;
it runs outside of a transaction, each statement by itself, and goes on where it was after a kill.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import asyncpg
import structlog

from ccn import errors
from ccn.store.connection import failure
from ccn.store.connection.pool import Connection
from ccn.store.schema import schema_files, schema_locks
from ccn.store.schema.schema_files import Migration

HOLD_S = 2.0
"""How long a file may wait for its locks and hold them, both together."""
PATIENCE_S = 600.0
"""How long it is tried."""
_PAUSES_S = (0.5, 1.0, 2.0, 4.0)

_CONCURRENTLY = re.compile(
    r"CREATE (?:UNIQUE )?INDEX CONCURRENTLY (?:IF NOT EXISTS )?(?P<name>\"[^\"]+\"|\w+) ON", re.IGNORECASE
)
_NOT_NOW = (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError, asyncpg.QueryCanceledError)
_NOT_ITS_FAULT = (*_NOT_NOW, asyncpg.InsufficientPrivilegeError)

log = structlog.get_logger(__name__)
Done = TypeVar("Done")


async def run_shortly(
    connection: Connection, migration: Migration, work: Callable[[], Awaitable[Done]], patience_s: float
) -> Done:
    """Do some work in a transaction that holds nobody up for long; again and again until it succeeds."""

    async def attempt() -> Done:
        # The limit is inside: who gives up on a commit that waits for the disk leaves the transaction open.
        async with connection.transaction(), asyncio.timeout(HOLD_S):
            await connection.execute(_LIMITS)
            return await work()

    return await _try_until_free(attempt, migration, patience_s)


async def run_file(connection: Connection, migration: Migration) -> None:
    """Run a whole file in the transaction that is open; that it is not its turn yet leaves as it came."""
    with _refuse_file(migration):
        await connection.execute(migration.sql)


async def run_statements(connection: Connection, migration: Migration, patience_s: float) -> None:
    """Run a file outside of a transaction: each statement by itself, and each may have run before."""
    for statement in schema_files.split_statements(migration.sql):
        plain = schema_files.remove_comments(statement)
        with _refuse_file(migration):
            if schema_locks.CHANGES_ROWS.match(plain):
                await _fill_in(connection, migration, statement, patience_s)
            else:
                await _run_patiently(connection, migration, plain, patience_s)


async def _fill_in(connection: Connection, migration: Migration, statement: str, patience_s: float) -> None:
    """The same statement in transactions of its own, until it finds no more rows."""

    async def take_batch() -> int:
        return int((await connection.execute(statement)).rpartition(" ")[2])

    while await run_shortly(connection, migration, take_batch, patience_s):
        pass


async def _run_patiently(
    connection: Connection, migration: Migration, statement: str, patience_s: float
) -> None:
    """A statement whose locks no node waits for; it may wait itself for transactions that are under way."""
    built = _CONCURRENTLY.match(statement)

    async def attempt() -> None:
        if not built or await _is_index_missing(connection, built["name"]):
            await connection.execute(statement)

    await connection.execute(_UNLIMITED)
    await _try_until_free(attempt, migration, patience_s)


async def _is_index_missing(connection: Connection, name: str) -> bool:
    """Whether an index is still to be built; what a killed build left behind is taken away first."""
    valid = await connection.fetchval(_VALID, name)
    if valid is False:
        log.info("index that was not finished is dropped", index=name)
        await connection.execute(f"DROP INDEX CONCURRENTLY {name}")
    return valid is not True


async def _try_until_free(
    attempt: Callable[[], Awaitable[Done]], migration: Migration, patience_s: float
) -> Done:
    clock, tries = asyncio.get_running_loop().time, 0
    until = clock() + patience_s
    while True:
        try:
            return await attempt()
        except (*_NOT_NOW, TimeoutError) as busy:
            if clock() > until:
                raise errors.SchemaRefused(
                    f"schema {migration.title} found no moment within {patience_s:g} s in which it could "
                    f"finish in {HOLD_S:g} s: others hold its tables for long, or it is too much at once"
                ) from busy
            log.info("schema file waits", file=migration.title, tries=tries + 1)
        await asyncio.sleep(_PAUSES_S[min(tries, len(_PAUSES_S) - 1)])
        tries += 1


@contextmanager
def _refuse_file(migration: Migration) -> Iterator[None]:
    """What is wrong with the file itself leaves with its name; what others can mend leaves as it came."""
    try:
        yield
    except asyncpg.PostgresError as refused:
        if isinstance(refused, _NOT_ITS_FAULT) or failure.lost_connection(refused):
            raise
        raise errors.SchemaRefused(
            f"schema {migration.title} failed: {failure.describe_error(refused)}"
        ) from refused


_LIMITS = f"""
    SET LOCAL lock_timeout = '{HOLD_S:g}s';
    SET LOCAL idle_in_transaction_session_timeout = '{2 * HOLD_S:g}s'
"""
# A server that never looks for its client would go on with the statement of a migrator that was killed.
_UNLIMITED = "SET lock_timeout = 0; SET statement_timeout = 0; SET client_connection_check_interval = '2s'"
_VALID = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass($1)"
