"""Bring a database to the schema of this version: numbered files, in order, recorded.

    known files ──┐
                  ├──compare──> applied, pending, and newer ones that this program may serve beside, or not
    recorded ones ┘

The files up to 27 run in one transaction, so that a node that dies half-way leaves the schema as it was.
Those after them run beside nodes at work: each by itself, in ways that `online` tells. Nodes that start at
once wait for each other, and the later ones find nothing left to do.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import takewhile

import asyncpg

from ccn import errors
from ccn.store.connection import failure, hosts, online
from ccn.store.connection.hosts import Accept
from ccn.store.connection.pool import Connection
from ccn.store.schema import schema_files
from ccn.store.schema.schema_files import Migration

_LOCK = 0x63636E0001
_LOCK_WAIT_S = 120.0
_LOCK_POLL_S = 0.1
_CONNECT_WAIT_S = 10
_OLDEST_SERVER = 16


@dataclass(frozen=True, slots=True)
class AppliedMigration:
    """One file that a database has seen."""

    number: int
    name: str
    checksum: str
    at: datetime
    oldest_program: int
    """The newest file that the oldest program knows which may serve beside it."""


@dataclass(frozen=True, slots=True)
class MigrationPlan:
    """What a database has, and what it would get."""

    applied: tuple[AppliedMigration, ...]
    pending: tuple[Migration, ...]
    newer: tuple[AppliedMigration, ...] = ()
    """Files of a newer program, which this one may serve beside."""


async def apply_pending(
    url: str,
    known: Sequence[Migration] | None = None,
    patience_s: float = online.PATIENCE_S,
    accept: Accept | None = None,
) -> MigrationPlan:
    """Run what is pending and return what that was; refuse a database this version may not serve on.

    Where nothing is pending nothing is written: a node may do no more than that with the schema. `accept`
    may say why a server will not do.
    """
    known = schema_files.list_migrations() if known is None else known
    async with failure.translate_errors(), connect(url, accept) as connection:
        before = plan = await _read_plan(connection, known)
        ran = list[Migration]()
        try:
            while plan.pending:
                ran += await _run_next(connection, known, plan.pending, patience_s)
                plan = await _read_plan(connection, known)
        except asyncpg.InsufficientPrivilegeError as refused:
            raise errors.SchemaRefused(
                f"{len(plan.pending)} schema files are to run, and this role may not: run `ccn migrate` "
                "as the role that owns the schema (CCN_DATABASE_OWNER_URL)"
            ) from refused
    return MigrationPlan(before.applied, tuple(ran), plan.newer)


async def load_plan(url: str, known: Sequence[Migration] | None = None) -> MigrationPlan:
    """Tell what `apply_pending` would do, without doing any of it."""
    async with failure.translate_errors(), connect(url) as connection:
        return await _read_plan(connection, schema_files.list_migrations() if known is None else known)


async def lock_schema(connection: Connection) -> None:
    """Wait until nobody else changes the schema, or who may do what in it, and keep it so to the commit."""
    await _wait_for_lock(connection, "SELECT pg_try_advisory_xact_lock($1)")


async def _run_next(
    connection: Connection, known: Sequence[Migration], pending: Sequence[Migration], patience_s: float
) -> list[Migration]:
    """Run what can run at once: all files from before 28, or one."""
    first = pending[0]
    if not first.in_transaction:
        async with _locked_session(connection):
            if first not in (await _read_plan(connection, known)).pending:
                return []
            await online.run_statements(connection, first, patience_s)
            async with connection.transaction():
                await _record_migrations(connection, [first])
        return [first]
    if first.is_online:
        return await online.run_shortly(
            connection, first, lambda: _run_group(connection, known, [first]), patience_s
        )
    group = list(takewhile(lambda each: not each.is_online, pending))
    async with connection.transaction():
        await connection.execute(f"SET LOCAL lock_timeout = '{_LOCK_WAIT_S:g}s'")
        return await _run_group(connection, known, group)


async def _run_group(
    connection: Connection, known: Sequence[Migration], group: Sequence[Migration]
) -> list[Migration]:
    """In a transaction, and only those that nobody else has run meanwhile."""
    await lock_schema(connection)
    pending = set((await _read_plan(connection, known)).pending)
    left = [each for each in group if each in pending]
    for migration in left:
        await online.run_file(connection, migration)
    if left:
        await _record_migrations(connection, left)
    return left


async def _record_migrations(connection: Connection, ran: Sequence[Migration]) -> None:
    await connection.execute(_RECORDS)
    await connection.executemany(
        "INSERT INTO schema_migrations (number, name, checksum, oldest_program) VALUES ($1, $2, $3, $4)",
        [(each.number, each.name, each.checksum, each.oldest_program) for each in ran],
    )
    await connection.execute("SELECT ccn_grant()")


async def _read_plan(connection: Connection, known: Sequence[Migration]) -> MigrationPlan:
    recorded = await connection.fetchval("SELECT to_regclass('schema_migrations') IS NOT NULL")
    return compare_files(await _list_applied(connection) if recorded else (), known)


def compare_files(applied: Sequence[AppliedMigration], known: Sequence[Migration]) -> MigrationPlan:
    """What there is and what is missing; refuse what this program does not understand."""
    for have, want in zip(applied, known, strict=False):
        if have.checksum != want.checksum:
            raise errors.SchemaRefused(
                f"schema file {want.title} was edited after it ran here on {have.at:%Y-%m-%d}; "
                "restore it and put the change into a new file"
            )
    newer = tuple(applied[len(known) :])
    for each in newer:
        if each.oldest_program > len(known):
            raise errors.SchemaRefused(_describe_refusal(each, newer, known))
    return MigrationPlan(tuple(applied[: len(known)]), tuple(known[len(applied) :]), newer)


def _describe_refusal(
    refusing: AppliedMigration, newer: Sequence[AppliedMigration], known: Sequence[Migration]
) -> str:
    needed = next((each for each in newer if each.number == refusing.oldest_program), refusing)
    return (
        f"the database has the schema file {refusing.number:04}_{refusing.name}, beside which only a "
        f"program may serve that knows {needed.number:04}_{needed.name}; this CCN knows the files up to "
        f"{known[-1].title}: run the newer CCN that migrated the database, or one that knows that file"
    )


async def _list_applied(connection: Connection) -> tuple[AppliedMigration, ...]:
    rows = await connection.fetch(_APPLIED)
    return tuple(AppliedMigration(*row) for row in rows)


@asynccontextmanager
async def _locked_session(connection: Connection) -> AsyncIterator[None]:
    """Keep others from changing the schema beyond transactions; whoever dies lets go of it."""
    await _wait_for_lock(connection, "SELECT pg_try_advisory_lock($1)")
    try:
        yield
    finally:
        if not connection.is_closed():
            await connection.execute("SELECT pg_advisory_unlock($1)", _LOCK)


async def _wait_for_lock(connection: Connection, attempt: str) -> None:
    """Ask again and again. Who waits inside a statement has a snapshot, and CREATE INDEX CONCURRENTLY waits
    for the end of each of those: the two would wait for each other."""
    clock = asyncio.get_running_loop().time
    until = clock() + _LOCK_WAIT_S
    while not await connection.fetchval(attempt, _LOCK):
        if clock() > until:
            raise errors.DatabaseUnavailable(
                f"somebody else has been changing the schema for {_LOCK_WAIT_S:g} s"
            )
        await asyncio.sleep(_LOCK_POLL_S)


@asynccontextmanager
async def connect(url: str, accept: Accept | None = None) -> AsyncIterator[Connection]:
    """A connection to a server and a database that a schema can be in."""
    connection = await hosts.connect(url, timeout=_CONNECT_WAIT_S, accept=accept, statement_cache_size=0)
    try:
        version = connection.get_server_version()
        if version.major < _OLDEST_SERVER:
            raise errors.SchemaRefused(
                f"PostgreSQL {version.major} is too old: CCN needs {_OLDEST_SERVER} or newer"
            )
        encoding = await connection.fetchval("SHOW server_encoding")
        if encoding != "UTF8":
            raise errors.SchemaRefused(
                f"the database is encoded in {encoding}: create it with ENCODING 'UTF8'"
            )
        yield connection
    finally:
        await connection.close(timeout=_CONNECT_WAIT_S)


# The column is the migrator's own and no numbered file makes it: that file would shut out the programs from
# before it, which refuse every file they do not know.
_RECORDS = """
    CREATE TABLE IF NOT EXISTS schema_migrations (
        number     integer PRIMARY KEY,
        name       text NOT NULL,
        checksum   text NOT NULL,
        applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
    );
    ALTER TABLE schema_migrations ADD COLUMN IF NOT EXISTS oldest_program integer
        CHECK (oldest_program BETWEEN 1 AND number)
"""
# Where the column is not there yet, or the program that ran the file did not know it, the file speaks for
# nobody but programs that know it.
_APPLIED = """
    SELECT number, name, checksum, applied_at,
           coalesce((to_jsonb(m) ->> 'oldest_program')::integer, number)
    FROM schema_migrations m ORDER BY number
"""
