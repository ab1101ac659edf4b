"""A connection that is made again after it broke, and attempts that end at a deadline."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from ccn import errors
from ccn.store.connection import failure, pool
from ccn.store.connection.standbys import CommitWarnings

if TYPE_CHECKING:
    from ccn import settings
    from ccn.store.connection.fence import Fence

log = structlog.get_logger(__name__)

_RETRY_FIRST_S = 0.05
_RETRY_MOST_S = 2.0
_CLOSE_S = 2.0


class ReconnectingConnection:
    """One connection at a time, kept for one purpose."""

    def __init__(self, database: settings.DatabaseSettings, name: str, fence: Fence | None = None) -> None:
        self._database = database
        self._name = name
        self._fence = fence
        self._connection: pool.Connection | None = None
        self._checked_version = 0
        self.warnings = CommitWarnings()
        """What the server warned of on this line."""
        self.connections_made = 0
        """How many connections this line has had: another one may lead to another server."""

    async def get(self) -> pool.Connection:
        """The connection, made now if there is none."""
        version = self._fence.timelines.version if self._fence is not None else 0
        if self._connection is not None and version != self._checked_version:
            await self._check_again()
        if self._connection is None or self._connection.is_closed():
            self._connection = await pool.connect(self._database, self._name, self._fence)
            self.connections_made += 1
            self.warnings.listen_to(self._connection)
        self._checked_version = version
        return self._connection

    async def _check_again(self) -> None:
        """A newer timeline was seen since: is this line still one to the primary?"""
        assert self._fence is not None
        assert self._connection is not None
        try:
            await self._fence.check_database(self._connection)
        except (errors.DatabaseUnavailable, *failure.FOREIGN) as unfit:
            log.warning("connection to PostgreSQL left", line=self._name, reason=str(unfit))
            await self.close()

    async def drop_if_broken(self, foreign: BaseException) -> None:
        """A broken connection is dropped, so that the next attempt makes a new one; the rest is raised."""
        if not failure.lost_connection(foreign):
            raise failure.translate_error(foreign) from foreign
        log.warning("connection to PostgreSQL lost", line=self._name, error=type(foreign).__name__)
        await self.close()

    async def close(self) -> None:
        """Hang up, politely if that is quick."""
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                await connection.close(timeout=_CLOSE_S)
            except failure.FOREIGN:
                connection.terminate()


class attempts:  # noqa: N801 - reads as the loop it is used in
    """Once at once, and then again with growing pauses until the deadline of the event loop's clock.

    Not an async generator: the event loop starts a task to close one that was left before its end.
    """

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        self._pause = 0.0

    def __aiter__(self) -> attempts:
        """Itself: it is gone through once."""
        return self

    async def __anext__(self) -> None:
        """Wait until it is time to try again."""
        if not self._pause:
            self._pause = _RETRY_FIRST_S
            return
        left = self._deadline - asyncio.get_running_loop().time()
        if left <= 0:
            raise StopAsyncIteration
        await asyncio.sleep(min(self._pause, left))
        self._pause = min(2 * self._pause, _RETRY_MOST_S)
