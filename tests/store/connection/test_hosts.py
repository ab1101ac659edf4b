"""Several hosts in one URL: a real primary, its standby, and hosts that say nothing or refuse."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from pydantic import SecretStr

from ccn import errors, settings
from ccn.embedded.postgres import service, standby
from ccn.embedded.postgres.replication import ServerReplication
from ccn.store.connection import failure, hosts, migrate, pool
from ccn.store.connection.hosts import DatabaseHost
from tests.support import databases, ports

READ_ONLY = "SELECT pg_is_in_recovery()"


class Servers:
    """A primary with its standby, and what a URL needs."""

    def __init__(self, primary: int, standby: int, credentials: str) -> None:
        self.primary, self.standby = f"127.0.0.1:{primary}", f"127.0.0.1:{standby}"
        self._credentials = credentials

    def url(self, *names: str, more: str = "") -> str:
        return f"postgresql://{self._credentials}@{','.join(names)}/ccn?sslmode=disable{more}"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def servers() -> AsyncIterator[Servers]:
    with tempfile.TemporaryDirectory(prefix="ccn-hosts-", dir=databases.place()) as made:
        folder = Path(made)
        folder.chmod(0o755)
        leads = ServerReplication(standbys=(standby.NAME,))
        async with (
            service.run_postgres(folder / "one", ephemeral=True, fsync=False, replication=leads) as primary,
            standby.run_standby(primary, folder / "two", ephemeral=True, fsync=False) as copy,
        ):
            credentials = primary.url.removeprefix("postgresql://").partition("@")[0]
            yield Servers(primary.port, copy.port, credentials)


async def _standby_answers(url: str, timeout_s: float = 20.0) -> bool:
    async with failure.translate_errors():
        connection = await hosts.connect(url, timeout=timeout_s)
    try:
        return bool(await connection.fetchval(READ_ONLY))
    finally:
        await connection.close()


async def test_a_standby_is_passed_over_and_asked_for_by_name(servers: Servers) -> None:
    both = servers.standby, servers.primary
    assert not await _standby_answers(servers.url(*both))
    assert not await _standby_answers(servers.url(*both, more="&target_session_attrs=primary"))
    assert await _standby_answers(servers.url(*both[::-1], more="&target_session_attrs=standby"))
    assert await _standby_answers(servers.url(*both[::-1], more="&target_session_attrs=read-only"))
    assert await _standby_answers(servers.url(*both[::-1], more="&target_session_attrs=prefer-standby"))
    only = servers.url(servers.primary, more="&target_session_attrs=prefer-standby")
    assert not await _standby_answers(only.replace("@", f"@{servers.primary},"))
    assert await _standby_answers(servers.url(*both, more="&target_session_attrs=any"))


async def test_lists_in_the_query_are_the_same(servers: Servers) -> None:
    names = ",".join(each.partition(":")[0] for each in (servers.standby, servers.primary))
    numbers = ",".join(each.partition(":")[2] for each in (servers.standby, servers.primary))
    assert not await _standby_answers(servers.url("", more=f"&host={names}&port={numbers}"))


async def test_a_silent_first_host_takes_its_share_of_the_time_once(servers: Servers) -> None:
    with ports.reserve_port() as port, ports.listen_on(port):
        url = servers.url(f"127.0.0.1:{port}", servers.primary)
        clock = asyncio.get_running_loop().time
        began = clock()
        assert not await _standby_answers(url, timeout_s=3.0)
        assert clock() - began >= 1.5
        began = clock()
        assert not await _standby_answers(url, timeout_s=3.0)
        assert clock() - began < 1.5, "the one that served last comes first"


async def test_each_host_is_named_with_what_it_said(servers: Servers) -> None:
    with ports.reserve_port() as port:
        url = servers.url(f"127.0.0.1:{port}", servers.standby)
        with pytest.raises(errors.DatabaseUnavailable) as failed:
            await _standby_answers(url)
    said = str(failed.value)
    assert f"127.0.0.1:{port}: PostgreSQL does not answer: Connection refused" in said
    assert f"{servers.standby}: is a standby, which takes no writes" in said
    assert "read-write" in said


async def test_a_single_standby_is_refused_by_name(servers: Servers) -> None:
    with pytest.raises(errors.DatabaseUnavailable, match=f"{servers.standby} is a standby"):
        await _standby_answers(servers.url(servers.standby))


async def test_the_pool_the_writers_line_and_the_schema_walk_too(servers: Servers) -> None:
    url = servers.url(servers.standby, servers.primary)
    await migrate.apply_pending(url)
    database = settings.DatabaseSettings(url=SecretStr(url))
    async with pool.open(database, "test") as connections:
        assert await connections.value(READ_ONLY) is False
    connection = await pool.connect(database, "test")
    assert await connection.fetchval(READ_ONLY) is False
    await connection.close()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://ann:pw@a:5433,b/db", [("a", 5433), ("b", 5432)]),
        ("postgres://a,b,c/db?port=6000", [("a", 6000), ("b", 6000), ("c", 6000)]),
        ("postgresql:///db?host=/run/pg,b&port=1,2", [("/run/pg", 1), ("b", 2)]),
        ("postgresql://[::1]:7,[fe80::2]/db", [("::1", 7), ("fe80::2", 5432)]),
        ("postgresql://%2Frun%2Fpg/db", [("/run/pg", 5432)]),
        ("postgresql:///db", []),
    ],
)
def test_hosts_are_read_as_libpq_does(url: str, expected: list[tuple[str, int]]) -> None:
    assert [(host.host, host.port) for host in hosts.read_hosts(url).hosts] == expected


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("mysql://a/db", "does not begin with postgresql://"),
        ("postgresql://a,,b/db", "host 2 of 3 is empty"),
        ("postgresql://a:x/db", "x is no port"),
        ("postgresql://a:70000/db", "70000 is no port"),
        ("postgresql://a,b/db?port=1,2,3", "2 hosts and 3 ports"),
        ("postgresql://[::1/db", "cannot be read"),
        ("postgresql://a/db?target_session_attrs=best", "none of any, read-write"),
        ("postgresql://" + ",".join("abcdefghijklmnopq") + "/db", "17 hosts"),
    ],
)
async def test_what_is_no_url_is_refused_in_words_and_without_its_password(url: str, why: str) -> None:
    url = url.replace("://", "://ann:s3cret@") if "[" not in url else url
    with pytest.raises(errors.SettingsInvalid, match=why) as refused:
        async with pool.open(settings.DatabaseSettings(url=SecretStr(url)), "test"):
            pytest.fail("it cannot be opened")
    assert "s3cret" not in str(refused.value)
    with pytest.raises(errors.SettingsInvalid, match=why):
        await migrate.load_plan(url)


def test_a_host_is_written_as_it_is_read() -> None:
    assert str(DatabaseHost("::1", 5432)) == "[::1]:5432"
    assert str(DatabaseHost("db.example", 1)) == "db.example:1"
