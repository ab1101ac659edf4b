"""A primary with a real standby, and reads that go to the standby where it will do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
from pydantic import SecretStr

from ccn import settings
from ccn.core.ids import NodeId
from ccn.embedded.postgres import service, standby
from ccn.embedded.postgres.replication import ServerReplication
from ccn.embedded.postgres.service import EmbeddedPostgres
from ccn.embedded.postgres.standby import EmbeddedStandby
from ccn.embedded.supervision import Backoff
from ccn.store.connection import migrate
from ccn.store.connection.pool import Pool
from ccn.store.replicas import reads, replica_set
from ccn.store.replicas.reads import ReplicaReads
from ccn.store.replicas.replica_set import ReplicaSet
from tests.cli.conftest import founded, live
from tests.support import databases
from tests.support.node.round_world import World

NODES = [NodeId(f"node-{n}") for n in (1, 2, 3)]
PATIENT_S = 20.0
"""Longer than a standby ever takes here, however busy the machine is."""
_SOON = Backoff(first_s=0.01)


@dataclass
class ReplicaPair:
    """Both servers, and a world with a record on the primary."""

    database: settings.DatabaseSettings
    empty: settings.DatabaseSettings
    """Another database of the same servers, with a schema and no rows; both name the standby."""
    copy: EmbeddedStandby
    world: World

    async def on_copy(self, sql: str) -> Any:
        """Do something to the standby itself."""
        connection = await asyncpg.connect(self.copy.url)
        try:
            return await connection.fetchval(sql)
        finally:
            await connection.close()

    @asynccontextmanager
    async def hold_replay(self) -> AsyncIterator[None]:
        """The standby replays nothing until the block ends."""
        await self.on_copy("SELECT pg_wal_replay_pause()")
        while await self.on_copy("SELECT pg_get_wal_replay_pause_state()") != "paused":
            await asyncio.sleep(0.005)
        try:
            yield
        finally:
            await self.on_copy("SELECT pg_wal_replay_resume()")

    @asynccontextmanager
    async def open_reads(self, **chosen: Any) -> AsyncIterator[ReplicaReads]:
        """Reads that have looked at the standby once; nothing looks again by itself."""
        named = {"replica_url": SecretStr(self.copy.url), **chosen}
        async with open_reads(self.database.model_copy(update=named), self.world.pool) as opened:
            yield opened


@asynccontextmanager
async def open_reads(database: settings.DatabaseSettings, primary: Pool) -> AsyncIterator[ReplicaReads]:
    """The same of any database."""
    async with (
        replica_set.open_replicas(database, primary, "test") as replicas,
        reads.open_reads(primary, replicas, "test", pool_size=4, patience_s=30.0) as opened,
    ):
        await replicas.probe_all()
        yield opened


@asynccontextmanager
async def run_pair(folder: Path) -> AsyncIterator[ReplicaPair]:
    """Start both servers, and write a record."""
    leads = ServerReplication(standbys=(standby.NAME,))
    async with service.run_postgres(
        folder / "primary", ephemeral=True, fsync=False, replication=leads
    ) as primary:
        await migrate.apply_pending(primary.url)
        await databases.execute(
            databases.named(primary.url, "postgres"),
            "CREATE DATABASE empty TEMPLATE ccn STRATEGY file_copy",
        )
        database = settings.DatabaseSettings(url=SecretStr(primary.url))
        async with (
            standby.run_standby(
                primary, folder / "copy", ephemeral=True, fsync=False, backoff=_SOON
            ) as copy,
            founded(database, NODES) as world,
        ):
            await live(world)
            yield ReplicaPair(database, _name_both("empty", primary, copy), copy, world)


def _name_both(name: str, primary: EmbeddedPostgres, copy: EmbeddedStandby) -> settings.DatabaseSettings:
    return settings.DatabaseSettings(
        url=SecretStr(databases.named(primary.url, name)),
        replica_url=SecretStr(databases.named(copy.url, name)),
        replica_wait_s=PATIENT_S,
    )


async def probe_until(replicas: ReplicaSet, found: Callable[[], bool]) -> None:
    """Look at the replicas until this is so."""
    async with asyncio.timeout(60):
        while not found():
            await replicas.probe_all()
            await asyncio.sleep(0.02)


async def name_server(connections: Pool) -> str:
    """Which of the two answers."""
    return "copy" if await connections.value("SELECT pg_is_in_recovery()") else "primary"
