"""Bring a database to the schema of this version: numbered files, in order, under one lock, recorded.

All pending files run in one transaction, so that a node that dies half-way leaves the schema as it was and
three nodes that start at once queue up behind the lock, the later two finding nothing left to do.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

import asyncpg

from ccn import errors
from ccn.store.connection import failure
from ccn.store.connection.pool import Connection

_LOCK = 0x63636E0001
_LOCK_WAIT_S = 120
_CONNECT_WAIT_S = 10
_OLDEST_SERVER = 16
_RECORDS = """
    CREATE TABLE IF NOT EXISTS schema_migrations (
        number     integer PRIMARY KEY,
        name       text NOT NULL,
        checksum   text NOT NULL,
        applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
    )
"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file of `schema/`."""

    number: int
    name: str
    sql: str
    checksum: str


@dataclass(frozen=True, slots=True)
class AppliedMigration:
    """One file that a database has seen."""

    number: int
    name: str
    checksum: str
    at: datetime


@dataclass(frozen=True, slots=True)
class MigrationPlan:
    """What a database has, and what it would get."""

    applied: tuple[AppliedMigration, ...]
    pending: tuple[Migration, ...]


async def apply_pending(url: str) -> MigrationPlan:
    """Run what is pending and return what that was; refuse a database this version does not understand.

    Where nothing is pending nothing is written: a node may do no more than that with the schema.
    """
    async with failure.translate_errors(), connect(url) as connection:
        wanted = await _read_plan(connection)
        if not wanted.pending:
            return wanted
        try:
            async with connection.transaction():
                return await _run_pending(connection)
        except asyncpg.InsufficientPrivilegeError as refused:
            raise errors.SchemaRefused(
                f"{len(wanted.pending)} schema files are to run, and this role may not: run `ccn migrate` "
                "as the role that owns the schema (CCN_DATABASE_OWNER_URL)"
            ) from refused


async def load_plan(url: str) -> MigrationPlan:
    """Tell what `apply_pending` would do, without doing any of it."""
    async with failure.translate_errors(), connect(url) as connection:
        return await _read_plan(connection)


async def lock_schema(connection: Connection) -> None:
    """Wait until nobody else changes the schema, or who may do what in it, and keep it so to the commit."""
    await connection.execute(f"SET LOCAL lock_timeout = '{_LOCK_WAIT_S}s'")
    await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)


async def _run_pending(connection: Connection) -> MigrationPlan:
    await lock_schema(connection)
    await connection.execute(_RECORDS)
    pending = _compare_checksums(await _list_applied(connection))
    for migration in pending.pending:
        await _run_migration(connection, migration)
    await connection.execute("SELECT ccn_grant()")
    return pending


async def _read_plan(connection: Connection) -> MigrationPlan:
    recorded = await connection.fetchval("SELECT to_regclass('schema_migrations') IS NOT NULL")
    return _compare_checksums(await _list_applied(connection) if recorded else ())


@cache
def list_migrations() -> tuple[Migration, ...]:
    """The migrations that came with this version, checked to be numbered 1, 2, 3…"""
    paths = sorted((f for f in _schema_folder().iterdir() if f.name.endswith(".sql")), key=lambda f: f.name)
    migrations = tuple(_read_migration(file) for file in paths)
    if not migrations or [m.number for m in migrations] != list(range(1, len(migrations) + 1)):
        raise errors.SchemaRefused(
            f"schema files must be numbered without gaps: {[m.name for m in migrations]}"
        )
    return migrations


def _schema_folder() -> Traversable:
    inside = resources.files("ccn") / "schema"  # a built wheel carries the files inside the package
    return inside if inside.is_dir() else Path(__file__).parents[3] / "schema"


def _read_migration(file: Traversable) -> Migration:
    sql = file.read_text(encoding="utf-8").replace("\r\n", "\n")
    number, _, name = file.name.removesuffix(".sql").partition("_")
    return Migration(int(number), name, sql, hashlib.sha256(sql.encode()).hexdigest())


def _compare_checksums(applied: tuple[AppliedMigration, ...]) -> MigrationPlan:
    known = list_migrations()
    for have, want in zip(applied, known, strict=False):
        if have.checksum != want.checksum:
            raise errors.SchemaRefused(
                f"schema file {want.number:04}_{want.name} was edited after it ran here on "
                f"{have.at:%Y-%m-%d}; "
                "restore it and put the change into a new file"
            )
    if len(applied) > len(known):
        raise errors.SchemaRefused(
            f"the database is at schema {applied[-1].number:04}_{applied[-1].name}, this CCN knows up to "
            f"{known[-1].number:04}_{known[-1].name}: run the newer CCN that migrated it"
        )
    return MigrationPlan(applied, known[len(applied) :])


async def _run_migration(connection: Connection, migration: Migration) -> None:
    try:
        await connection.execute(migration.sql)
    except asyncpg.PostgresError as refused:
        raise errors.SchemaRefused(
            f"schema {migration.number:04}_{migration.name} failed: {failure.describe_error(refused)}"
        ) from refused
    await connection.execute(
        "INSERT INTO schema_migrations (number, name, checksum) VALUES ($1, $2, $3)",
        migration.number,
        migration.name,
        migration.checksum,
    )


async def _list_applied(connection: Connection) -> tuple[AppliedMigration, ...]:
    rows = await connection.fetch(
        "SELECT number, name, checksum, applied_at FROM schema_migrations ORDER BY number"
    )
    return tuple(
        AppliedMigration(row["number"], row["name"], row["checksum"], row["applied_at"]) for row in rows
    )


@asynccontextmanager
async def connect(url: str) -> AsyncIterator[Connection]:
    """A connection to a server and a database that a schema can be in."""
    connection = await asyncpg.connect(url, timeout=_CONNECT_WAIT_S, statement_cache_size=0)
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
