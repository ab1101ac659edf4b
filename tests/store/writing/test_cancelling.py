"""A task that is cancelled while the server is silent ends as cancelled, whatever asyncpg meets then."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from pydantic import SecretStr

from ccn import errors, settings
from ccn.store.connection import pool
from ccn.store.connection.pool import Pool

PATIENCE_S = 1.0


@dataclass
class Way:
    """A way to the server on which nothing gets through while it is blocked."""

    open: asyncio.Event = field(default_factory=asyncio.Event)
    blocked: asyncio.Event = field(default_factory=asyncio.Event)
    """Something for the server has been held back."""

    async def carry(self, source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
        while data := await source.read(65_536):
            if not self.open.is_set():
                self.blocked.set()
                await self.open.wait()
            to.write(data)
        to.close()


@asynccontextmanager
async def through(
    way: Way, database: settings.DatabaseSettings
) -> AsyncIterator[settings.DatabaseSettings]:
    """The database at the end of the way."""
    url = urlsplit(database.url.get_secret_value())

    async def called(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(url.hostname, url.port)
        await asyncio.gather(way.carry(reader, back), way.carry(there, writer), return_exceptions=True)

    server = await asyncio.start_server(called, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    behind = url._replace(netloc=url.netloc.rpartition(":")[0] + f":{port}").geturl()
    yield database.model_copy(update={"url": SecretStr(behind), "statement_timeout_s": PATIENCE_S})
    way.open.set()
    server.close()


@pytest_asyncio.fixture(loop_scope="session")
async def behind(shared_database: settings.DatabaseSettings) -> AsyncIterator[tuple[Way, Pool]]:
    way = Way()
    way.open.set()
    async with through(way, shared_database) as database, pool.open(database, "test") as connections:
        yield way, connections


async def _asks(connections: Pool) -> None:
    await connections.value("SELECT 1")


async def _transacts(connections: Pool) -> None:
    async with connections.transaction() as connection:
        await connection.execute("SELECT 1")


@pytest.mark.parametrize("work", [_asks, _transacts])
async def test_who_is_cancelled_before_a_silent_server_is_not_told_of_the_server(
    behind: tuple[Way, Pool], work: Callable[[Pool], Awaitable[None]]
) -> None:
    way, connections = behind
    await work(connections)
    way.open.clear()
    working = asyncio.ensure_future(work(connections))
    await asyncio.wait_for(way.blocked.wait(), 60)
    working.cancel()
    await asyncio.wait({working}, timeout=60)
    assert working.cancelled()
    way.open.set()


async def test_who_waits_for_a_silent_server_is_told_so(behind: tuple[Way, Pool]) -> None:
    way, connections = behind
    way.open.clear()
    with pytest.raises(errors.DatabaseUnavailable):
        await connections.value("SELECT 1")


async def test_who_cleans_up_after_being_cancelled_is_told_of_the_server(behind: tuple[Way, Pool]) -> None:
    """That cancellation is on its way already; what fails now is news."""
    way, connections = behind
    way.open.clear()
    told = list[BaseException]()

    async def tidy() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            try:
                await connections.value("SELECT 1")
            except errors.DatabaseUnavailable as refused:
                told.append(refused)

    working = asyncio.ensure_future(tidy())
    await asyncio.sleep(0)
    working.cancel()
    await asyncio.wait({working}, timeout=60)
    assert working.cancelled()
    assert told
