"""Connections to PostgreSQL: one pool a node for reading and for rare writes, with codecs and deadlines.

No session state is kept on a connection, so a transaction pooler may stand in between; that is also why
nothing needs resetting when a connection goes back, which would cost a round trip each time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import asyncpg

from ccn import errors
from ccn.store.connection import codecs, failure, hosts, standbys
from ccn.store.connection.standbys import CommitWarnings

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    from ccn import settings
    from ccn.core.rounds.database_timeline import DatabaseTimeline
    from ccn.store.connection.fence import Fence
    from ccn.store.connection.hosts import Accept

    _Lent = PoolConnectionProxy[asyncpg.Record]
    Connection = asyncpg.Connection[asyncpg.Record] | _Lent
    _Pool = asyncpg.Pool[asyncpg.Record]
else:
    _Lent = object
    Connection = asyncpg.Connection
    _Pool = asyncpg.Pool

Record = asyncpg.Record


class NamedRow(Protocol):
    """A row or a part of one: values by the names of their columns."""

    def __getitem__(self, column: str, /) -> Any:
        """The value of a column."""


_KEPT = 4  # so many stay at hand; what a burst needs beyond goes back to asyncpg, which closes idle ones


class DatabaseReads(Protocol):
    """What a query is asked of: the pool, or one moment of its database."""

    async def rows(self, sql: str, *values: object) -> list[Record]:
        """All rows of one statement."""

    async def row(self, sql: str, *values: object) -> Record | None:
        """The first row of one statement, or None."""

    async def value(self, sql: str, *values: object) -> Any:
        """The first column of the first row, or None."""


class Pool:
    """Reads and guarded transactions; every error that leaves is one of CCN's."""

    def __init__(self, connections: _Pool, wait_s: float, fence: Fence | None) -> None:
        self._connections = connections
        self._wait_s = wait_s
        self._fence = fence
        self._kept = list[_Lent]()
        self._warnings = CommitWarnings()
        self._waiting = 0
        self._timelines_version = fence.timelines.version if fence is not None else 0

    @property
    def newest_timeline(self) -> DatabaseTimeline | None:
        """The newest timeline of the database that this node has seen."""
        return self._fence.timelines.newest if self._fence is not None else None

    async def rows(self, sql: str, *values: object) -> list[Record]:
        """All rows of one statement."""
        async with failure.translate_errors(), self._connection() as connection:
            return await connection.fetch(sql, *values)

    async def row(self, sql: str, *values: object) -> Record | None:
        """The first row of one statement, or None."""
        async with failure.translate_errors(), self._connection() as connection:
            return await connection.fetchrow(sql, *values)

    async def value(self, sql: str, *values: object) -> Any:
        """The first column of the first row, or None."""
        async with failure.translate_errors(), self._connection() as connection:
            return await connection.fetchval(sql, *values)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Open one READ COMMITTED transaction. Leaving commits it, an exception rolls it back."""
        async with (
            failure.translate_errors(),
            self._connection() as connection,
            connection.transaction(),
        ):
            yield connection

    @asynccontextmanager
    async def open_moment(self) -> AsyncIterator[DatabaseReads]:
        """Read several things as of one moment: no statement inside sees what another one missed."""
        async with (
            failure.translate_errors(),
            self._connection() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            yield _Moment(connection)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        if self._fence is not None:
            self._fence.raise_if_lost()
            await self._leave_older_timelines(self._fence.timelines.version)
        connection = self._take_kept() or await self._acquire()
        try:
            yield connection
            if self._warnings.take_warning(connection):
                await self._confirm_doubtful(connection)
        except BaseException:
            await self._release(connection)  # which looks at how it was left
            raise
        if self._waiting or len(self._kept) >= _KEPT:
            await self._release(connection)
        else:
            self._kept.append(connection)

    async def _leave_older_timelines(self, version: int) -> None:
        """Once a newer one was seen, use no connection from before: it may lead to a former primary."""
        if version != self._timelines_version:
            self._timelines_version = version
            while self._kept:
                await self._release(self._kept.pop())
            await self._connections.expire_connections()

    async def _confirm_doubtful(self, connection: Connection) -> None:
        """What was committed here came back with a warning: it stands, but do the standbys have it?"""
        await standbys.commit_marker(connection)
        if self._warnings.take_warning(connection):
            raise errors.OutcomeUnknown("PostgreSQL did not wait until its standbys have what was written")

    async def _release(self, connection: _Lent) -> None:
        with suppress(asyncpg.InterfaceError):  # it broke, and asyncpg has taken it back already
            self._warnings.stop_listening(connection)
        try:
            await self._connections.release(connection)
        except asyncpg.InternalClientError:
            if self._fence is None or not self._fence.broken.is_set():
                raise  # else it was ended under us, and asyncpg does not know it any more

    def _take_kept(self) -> _Lent | None:
        """One that was used a moment ago: asyncpg's own way takes longer than a short statement does."""
        while self._kept:
            connection = self._kept.pop()
            with suppress(asyncpg.InterfaceError):  # it broke, and asyncpg has taken it back already
                if not connection.is_closed():
                    return connection
        return None

    async def _acquire(self) -> _Lent:
        self._waiting += 1
        try:
            connection = await self._connections.acquire(timeout=self._wait_s)
        finally:
            self._waiting -= 1
        self._warnings.listen_to(connection)
        return connection

    async def confirm_standbys(self) -> None:
        """Return once the standbys have whatever could be read here before."""
        async with failure.translate_errors(), self._connection() as connection:
            await standbys.commit_marker(connection)

    async def check_fence(self) -> None:
        """Raise `RecordLost` unless the database still shows what its fence asks for."""
        if self._fence is not None:
            async with failure.translate_errors(), self._connection() as connection:
                await self._fence.check_database(connection)

    async def hang_up_when_lost(self) -> None:
        """Once the fence broke, let nobody go on with what was begun: end all connections."""
        if self._fence is not None:
            await self._fence.broken.wait()
            self._kept.clear()
            self._connections.terminate()

    async def close(self, within_s: float) -> None:
        """Close all of them, those in use too once the time is over."""
        try:
            async with asyncio.timeout(within_s):
                while (connection := self._take_kept()) is not None:
                    await self._release(connection)
                await self._connections.close()
        except TimeoutError:
            self._connections.terminate()

    @asynccontextmanager
    async def try_alone(self, errand: str) -> AsyncIterator[bool]:
        """Whether this is the only node on an errand, until the block ends: for what one node need do."""
        async with self.transaction() as connection:
            yield bool(await connection.fetchval(_ALONE, f"ccn/{errand}"))


class _Moment:
    """Reads in one transaction, whose first statement says which moment they are of."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def rows(self, sql: str, *values: object) -> list[Record]:
        return await self._connection.fetch(sql, *values)

    async def row(self, sql: str, *values: object) -> Record | None:
        return await self._connection.fetchrow(sql, *values)

    async def value(self, sql: str, *values: object) -> Any:
        return await self._connection.fetchval(sql, *values)


@asynccontextmanager
async def open(  # noqa: A001 - pool.open(...)
    database: settings.DatabaseSettings,
    name: str,
    fence: Fence | None = None,
    *,
    accept: Accept | None = None,
    least: int = 1,
) -> AsyncIterator[Pool]:
    """Open a pool whose connections have passed the fence. The server's own views show them as `name`.

    Without a fence, `accept` may say why a server will not do. As many as `least` are kept open at any
    time.
    """
    async with failure.translate_errors():
        connections = await asyncpg.create_pool(
            database.url.get_secret_value(),
            connect=partial(hosts.connect_for_pool, accept=fence.find_unfitness if fence else accept),
            min_size=least,
            max_size=database.pool_size,
            init=codecs.teach_codecs,
            reset=_reset_nothing,
            timeout=database.connect_timeout_s,
            command_timeout=database.statement_timeout_s,
            statement_cache_size=database.statement_cache,
            server_settings={"application_name": name},
        )
    opened = Pool(connections, database.statement_timeout_s, fence)
    lost = asyncio.create_task(opened.hang_up_when_lost(), name="hang up when lost")
    try:
        yield opened
    finally:
        lost.cancel()
        await opened.close(database.connect_timeout_s)


async def connect(database: settings.DatabaseSettings, name: str, fence: Fence | None = None) -> Connection:
    """One connection of its own, for the writer."""
    connection = await hosts.connect(
        database.url.get_secret_value(),
        timeout=database.connect_timeout_s,
        accept=fence.find_unfitness if fence else None,
        command_timeout=database.statement_timeout_s,
        statement_cache_size=database.statement_cache,
        server_settings={"application_name": name},
    )
    try:
        await codecs.teach_codecs(connection)
    except BaseException:
        connection.terminate()
        raise
    return connection


_ALONE = "SELECT pg_try_advisory_xact_lock(hashtextextended($1, 0))"


async def _reset_nothing(connection: Connection) -> None:
    """Every transaction here ends inside its own block."""
