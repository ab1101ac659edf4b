"""The database the store's benchmarks run on: embedded PostgreSQL as users get it, with fsync."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import asyncpg
from pydantic import SecretStr

from ccn import settings
from ccn.core.ids import InstanceId, NodeId, UserId
from ccn.embedded.postgres import service
from ccn.store.connection import migrate
from ccn.store.writing.writer import Writer

ANN = UserId(UUID(int=1))
WREN = InstanceId(UUID(int=2))
"""Who speaks: a person, and an instance."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server that holds nothing yet."""

    url: str = field(repr=False)

    async def database(self, name: str, *then: str) -> settings.DatabaseSettings:
        """Make a new database with the newest schema, and run these statements on it."""
        url = await self.empty(name)
        await migrate.apply_pending(url)
        for statement in then:
            await _execute(url, statement)
        return settings.DatabaseSettings(url=SecretStr(url))

    async def empty(self, name: str) -> str:
        """Make a new database without tables, and return its address."""
        await _execute(self.url, f"CREATE DATABASE {name}")
        return f"{self.url.rpartition('/')[0]}/{name}"


@asynccontextmanager
async def running() -> AsyncIterator[Server]:
    """Start it in a folder that goes away; as root it serves as another user, who must reach it."""
    with tempfile.TemporaryDirectory(prefix="ccn-bench-") as folder:
        await asyncio.to_thread(Path(folder).chmod, 0o755)
        async with service.run_postgres(Path(folder, "postgres"), ephemeral=True, fsync=True) as embedded:
            yield Server(embedded.url)


@asynccontextmanager
async def writing(database: settings.DatabaseSettings) -> AsyncIterator[Writer]:
    """Run a node's writer until the block ends."""
    writer = Writer(database, NodeId("node-1"), lambda: datetime.now(UTC))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(writer.run(), name="writer")
        try:
            yield writer
        finally:
            writer.stop()


async def _execute(url: str, sql: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(sql)
    finally:
        await connection.close()
