"""A primary that was cut off and goes on: nobody who has seen its successor uses it any more."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from pydantic import SecretStr

from ccn import errors, settings
from ccn.core.ids import NodeId
from ccn.core.rounds.database_timeline import DatabaseTimeline
from ccn.embedded.postgres import service, standby
from ccn.embedded.postgres.replication import ServerReplication
from ccn.store.connection import pool
from ccn.store.connection.fence import Fence
from ccn.store.writing.reconnection import ReconnectingConnection
from tests.support import databases

PORT = "SELECT inet_server_port()"


@dataclass
class Two:
    """Two primaries of one database: the second was promoted while the first one lives on."""

    former: int
    promoted: int
    credentials: str

    def database(self, *order: int, at: str = "127.0.0.1") -> settings.DatabaseSettings:
        named = ",".join(f"{at}:{port}" for port in order)
        return settings.DatabaseSettings(
            url=SecretStr(f"postgresql://{self.credentials}@{named}/ccn?sslmode=disable")
        )


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def two() -> AsyncIterator[Two]:
    with tempfile.TemporaryDirectory(prefix="ccn-timelines-", dir=databases.place()) as made:
        folder = Path(made)
        folder.chmod(0o755)
        leads = ServerReplication(standbys=(standby.NAME,))
        async with (
            service.run_postgres(folder / "one", ephemeral=True, fsync=False, replication=leads) as primary,
            standby.run_standby(primary, folder / "two", ephemeral=True, fsync=False) as copy,
        ):
            await copy.promote()
            credentials = primary.url.removeprefix("postgresql://").partition("@")[0]
            yield Two(primary.port, copy.port, credentials)


async def _see(two: Two, *order: int) -> Fence:
    """The memory of a node that has been there."""
    fence = Fence(NodeId("node-1"))
    async with pool.open(two.database(*order), "test", fence) as connections:
        assert await connections.value(PORT) == order[0]
    return fence


async def test_the_newest_timeline_is_on_the_disk_before_it_is_used(two: Two) -> None:
    fence, kept = Fence(NodeId("node-1")), list[DatabaseTimeline]()
    fence.timelines.keep = kept.append
    for port in (two.former, two.promoted):
        async with pool.open(two.database(port), "test", fence) as connections:
            assert await connections.value(PORT) == port
            assert kept[-1] == fence.timelines.newest
    assert [each.timeline for each in kept] == [1, 2]
    assert kept[0].system == kept[1].system


async def test_what_cannot_be_kept_is_not_used(two: Two) -> None:
    def refuse(_: DatabaseTimeline) -> None:
        raise errors.SettingsInvalid("the disk is full")

    fence = Fence(NodeId("node-1"))
    fence.timelines.keep = refuse
    with pytest.raises(errors.SettingsInvalid, match="the disk is full"):
        await pool.connect(two.database(two.promoted), "test", fence)
    assert fence.timelines.newest is None


async def test_a_former_primary_is_passed_over_and_refused_if_there_is_no_other(two: Two) -> None:
    fence = await _see(two, two.promoted)
    async with pool.open(two.database(two.former, two.promoted), "test", fence) as connections:
        assert await connections.value(PORT) == two.promoted
    with pytest.raises(errors.DatabaseUnavailable, match=r"on timeline 1, and timeline 2 was seen"):
        async with pool.open(two.database(two.former), "test", fence):
            pytest.fail("it must not be used")
    assert not fence.broken.is_set(), "another host may still be the right one"


async def test_open_connections_to_a_former_primary_are_left_once_another_node_says_so(two: Two) -> None:
    fence = await _see(two, two.former)
    newest = (await _see(two, two.promoted)).timelines.newest
    fresh = two.database(two.former, two.promoted, at="localhost")  # nobody knows yet which one served last
    line = ReconnectingConnection(fresh, "line", fence)
    async with pool.open(fresh, "test", fence) as connections:
        assert await connections.value(PORT) == two.former
        assert await (await line.get()).fetchval(PORT) == two.former
        fence.timelines.learn(newest)
        assert await connections.value(PORT) == two.promoted
        assert await (await line.get()).fetchval(PORT) == two.promoted
    await line.close()


async def test_a_line_to_the_primary_stays_when_a_newer_timeline_is_seen_elsewhere(two: Two) -> None:
    fence = Fence(NodeId("node-1"))
    line = ReconnectingConnection(two.database(two.promoted), "line", fence)
    connection = await line.get()
    fence.timelines.version += 1
    assert await line.get() is connection
    await line.close()


async def test_another_database_is_refused_by_its_identifier(two: Two) -> None:
    fence = await _see(two, two.promoted)
    assert fence.timelines.newest is not None
    fence.timelines.newest = DatabaseTimeline(7, 1)
    with pytest.raises(errors.DatabaseUnavailable, match=r"is another database.*node's database has 7"):
        async with pool.open(two.database(two.promoted), "test", fence):
            pytest.fail("it must not be used")
    fence.timelines.learn(DatabaseTimeline(8, 5))
    assert fence.timelines.newest == DatabaseTimeline(7, 1), "another database's history is not ours"
