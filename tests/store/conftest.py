"""Open stores.

`store` has a database of its own. `shared` has one with the other tests of its file, which costs a
fraction: for tests that look only at what they made themselves.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio

from ccn import settings
from tests.support import databases
from tests.support.store.open_store import Store, keeping, writing


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One event loop for all tests of the store, so that a pool can serve a whole file."""
    here = f"{Path(__file__).parent}{os.sep}"
    for item in items:
        if str(item.path).startswith(here) and pytest_asyncio.is_async_test(item):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest.fixture
def start_writer() -> Callable[..., object]:
    """For tests that need a second node's writer."""
    return writing


@pytest_asyncio.fixture(loop_scope="session")
async def store(database: settings.DatabaseSettings) -> AsyncIterator[Store]:
    """A store of one's own."""
    async with keeping(database) as kept:
        yield kept


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shared_database(database_server: str) -> AsyncIterator[settings.DatabaseSettings]:
    """The database of this file, on the server it is being run on."""
    async with databases.cloned(database_server, "shared") as clone:
        yield clone


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shared(shared_database: settings.DatabaseSettings) -> AsyncIterator[Store]:
    """The store of this file."""
    async with keeping(shared_database) as kept:
        yield kept


@pytest_asyncio.fixture(loop_scope="session")
async def direct(
    shared_database: settings.DatabaseSettings,
) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """A connection for SQL that does not come from the store; whatever it does is rolled back."""
    connection = await asyncpg.connect(shared_database.url.get_secret_value())
    transaction = connection.transaction()
    await transaction.start()
    yield connection
    await transaction.rollback()
    await connection.close()
