"""PostgreSQL over TLS: whom a node takes for its database, what it shows, and why a connection fails."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import SecretStr

from ccn import errors, metrics, settings
from ccn.certificates.watch import CertificateWatches
from ccn.service import servers
from ccn.store.connection import hosts, migrate, pool
from tests.support.certificates.link_authority import ENDED, LinkAuthority, Pair, serving_context
from tests.support.certificates.tls_proxy import DatabaseProxy

TIMEOUT_S = 60.0


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> LinkAuthority:
    return LinkAuthority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> LinkAuthority:
    """An authority that nobody here trusts."""
    return LinkAuthority(tmp_path_factory.mktemp("stranger"))


@pytest.fixture
def proxy(database: settings.DatabaseSettings, authority: LinkAuthority) -> DatabaseProxy:
    return DatabaseProxy(database.url.get_secret_value(), serving_context(authority.issue_server()))


def ask_for_tls(ca: Path, pair: Pair | None = None) -> str:
    shown = f"&sslcert={pair[0]}&sslkey={pair[1]}" if pair else ""
    return f"sslmode=verify-full&sslrootcert={ca}&ssl_min_protocol_version=TLSv1.3{shown}"


async def refusal(proxy: DatabaseProxy, query: str, host: str = "localhost") -> str:
    """What is said about a connection that does not come about, without the place."""
    url = proxy.url(query, host)
    with pytest.raises(errors.DatabaseUnavailable) as refused:
        async with pool.open(settings.DatabaseSettings.from_url(url), "refused"):
            pass
    return str(refused.value).removeprefix(f"PostgreSQL at {host}:{proxy.port} ")


async def test_every_way_to_the_database_goes_through_tls_1_3(
    proxy: DatabaseProxy, authority: LinkAuthority
) -> None:
    async with proxy.running():
        client = authority.issue_client()
        proxy.context = serving_context(authority.issue_server(), authority.ca)
        url = proxy.url(ask_for_tls(authority.ca, client))
        plain = settings.DatabaseSettings.from_url(proxy.url("application_name=kept"))
        shorter = plain.model_copy(update={"ca": authority.ca, "certificate": client[0], "key": client[1]})
        completed = settings.DatabaseSettings.from_url(
            hosts.prepare_url(shorter.url.get_secret_value(), shorter)
        )
        assert "application_name=kept" in completed.url.get_secret_value()
        for told in (settings.DatabaseSettings.from_url(url), completed):
            assert (await migrate.load_plan(told.url.get_secret_value())).pending == ()
            async with pool.open(told, "reader") as connections:
                assert await connections.value("SELECT 1") == 1
            writer = await pool.connect(told, "writer")
            await writer.close()
        assert len(proxy.versions) >= 6
        assert {*proxy.versions} == {"TLSv1.3"}


async def test_a_server_that_is_not_the_one_is_refused_for_a_reason(
    proxy: DatabaseProxy, authority: LinkAuthority, stranger: LinkAuthority
) -> None:
    async with proxy.running():
        trusting = ask_for_tls(authority.ca)
        wrong: list[tuple[ssl.SSLContext | None, str, str]] = [
            (None, "localhost", "speaks no TLS there"),
            (_old(authority), "localhost", "speaks no TLS 1.3, and nothing older is agreed on"),
            (
                serving_context(authority.issue_server("db.example.org")),
                "localhost",
                "shows a certificate that is not for localhost, the name in CCN_DATABASE_URL",
            ),
            (
                serving_context(authority.issue_server("localhost")),
                "127.0.0.1",
                "shows a certificate that is not for 127.0.0.1, the name in CCN_DATABASE_URL",
            ),
            (
                serving_context(authority.issue_server(since_days=ENDED)),
                "localhost",
                "shows a certificate that has ended: renew the server's",
            ),
            (
                serving_context(authority.issue_server(since_days=2)),
                "localhost",
                "shows a certificate that is not valid yet: look at the clocks of both machines",
            ),
            (
                serving_context(stranger.issue_server()),
                "localhost",
                "shows a certificate of an authority that is not in CCN_DATABASE_CA",
            ),
            (
                serving_context(authority.issue_client()),
                "localhost",
                "shows a certificate that is not good for a server",
            ),
        ]
        for context, host, words in wrong:
            proxy.context = context
            assert await refusal(proxy, trusting, host) == words
        assert proxy.versions == []


def _old(authority: LinkAuthority) -> ssl.SSLContext:
    context = serving_context(authority.issue_server())
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


async def test_what_the_server_has_against_this_node_is_said(
    proxy: DatabaseProxy, authority: LinkAuthority, stranger: LinkAuthority
) -> None:
    async with proxy.running():
        proxy.context = serving_context(authority.issue_server(), authority.ca)
        shown = {
            None: "asks for a certificate: set CCN_DATABASE_CERTIFICATE and CCN_DATABASE_KEY",
            stranger.issue_client(): "does not know the authority of CCN_DATABASE_CERTIFICATE",
            authority.issue_client(since_days=ENDED): "says that CCN_DATABASE_CERTIFICATE has ended",
            authority.issue_server(): "refuses CCN_DATABASE_CERTIFICATE",
        }
        for pair, words in shown.items():
            assert await refusal(proxy, ask_for_tls(authority.ca, pair)) == words


async def test_of_several_hosts_each_says_what_it_has_against_tls(
    proxy: DatabaseProxy, authority: LinkAuthority, stranger: LinkAuthority
) -> None:
    async with proxy.running():
        proxy.context = serving_context(stranger.issue_server())
        url = proxy.url(ask_for_tls(authority.ca), f"127.0.0.1:{proxy.port},localhost")
        with pytest.raises(ConnectionError) as refused:
            await hosts.connect(url, timeout=TIMEOUT_S)
        assert str(refused.value).count("an authority that is not in CCN_DATABASE_CA") == 2


BEYOND = "postgresql://ccn@db.example.org/ccn"


async def test_a_node_does_not_start_with_files_that_cannot_be_used(
    authority: LinkAuthority, stranger: LinkAuthority
) -> None:
    ca, (certificate, key) = authority.ca, authority.issue_client()
    wrong = {
        f"sslmode=verify-full&sslrootcert={ca}&sslcert={certificate}": "CCN_DATABASE_KEY must be set too",
        f"sslmode=verify-full&sslrootcert={ca.parent / 'none'}": "CCN_DATABASE_CA: .* cannot be read",
        f"sslmode=verify-full&sslrootcert={key}": "CCN_DATABASE_CA: the file holds no certificate",
        ask_for_tls(ca, (certificate, stranger.issue_client()[1])): "CCN_DATABASE_KEY is not the key",
        ask_for_tls(
            ca, authority.issue_client(since_days=ENDED)
        ): "CCN_DATABASE_CERTIFICATE is not valid now",
        ask_for_tls(ca) + "&sslcrl=crl.pem": "sslcrl is not known here",
    }
    for query, words in wrong.items():
        chosen = settings.DatabaseSettings(url=SecretStr(f"{BEYOND}?{query}"))
        with pytest.raises(errors.SettingsInvalid, match=words):
            servers.prepare_servers(settings.Settings(database=chosen))


async def test_files_are_renewed_and_the_authority_is_exchanged_under_load_and_nothing_is_lost(
    proxy: DatabaseProxy, authority: LinkAuthority, stranger: LinkAuthority, tmp_path: Path
) -> None:
    """The server is started again with the certificate of a new authority while rows are written."""
    async with proxy.running():
        old, new = authority, stranger
        ca, pair = tmp_path / "ca.pem", (tmp_path / "node.pem", tmp_path / "node.key")
        ca.write_bytes(old.ca.read_bytes())
        old.put_client(pair)
        told = settings.DatabaseSettings.from_url(proxy.url(ask_for_tls(ca, pair)))
        proxy.context = serving_context(old.issue_server(), ca)
        watches, stop = CertificateWatches(look_s=0.02), asyncio.Event()
        servers.watch_databases(told, watches)
        acknowledged = list[int]()
        async with pool.open(told, "load") as connections, asyncio.TaskGroup() as tasks:
            tasks.create_task(watches.watch_files(stop))
            await connections.value("CREATE TABLE kept (number integer PRIMARY KEY)")
            loads = [
                tasks.create_task(_write_rows(connections, acknowledged, stop, nth)) for nth in range(3)
            ]
            await _progress(acknowledged)
            ca.write_bytes(old.ca.read_bytes() + new.ca.read_bytes())  # both count on either side
            second = new.put_client(pair)
            proxy.context = serving_context(new.issue_server(), ca)
            await _restart_until(proxy, lambda: proxy.shown[-1] == second)
            await _progress(acknowledged)
            pair[1].write_bytes(b"-----BEGIN nothing")  # a bad pair: what was read before goes on
            await _restart_until(proxy, lambda: _is_refused() == 1)
            await _progress(acknowledged)
            assert proxy.shown[-1] == second
            third = new.put_client(pair)
            ca.write_bytes(new.ca.read_bytes())
            proxy.context = serving_context(new.issue_server(), ca)
            await _restart_until(proxy, lambda: proxy.shown[-1] == third and _is_refused() == 0)
            await _progress(acknowledged)
            stop.set()
            await asyncio.gather(*loads)
            kept = await connections.rows("SELECT number FROM kept")
        assert {*acknowledged} <= {row["number"] for row in kept}
        assert len(acknowledged) == len({*acknowledged})


async def _write_rows(
    connections: pool.Pool, acknowledged: list[int], stop: asyncio.Event, nth: int
) -> None:
    number = nth
    while not stop.is_set():
        number += 3
        try:
            await connections.value("INSERT INTO kept VALUES ($1)", number)
        except errors.CCNError:
            await asyncio.sleep(0.01)  # its outcome is unknown, so the number is not used again
        else:
            acknowledged.append(number)


async def _restart_until(proxy: DatabaseProxy, arrived: Callable[[], bool]) -> None:
    """Start the server again and again, until that is so and it has served since."""
    async with asyncio.timeout(TIMEOUT_S):
        while not arrived():
            await _restart(proxy)
    await _restart(proxy)


async def _restart(proxy: DatabaseProxy) -> None:
    """End all connections, and wait until one is there again: one cut at once never comes so far."""
    seen = len(proxy.shown)
    proxy.cut()
    async with asyncio.timeout(TIMEOUT_S):
        while len(proxy.shown) == seen:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)


def _is_refused() -> float | None:
    return metrics.series.registry.get_sample_value("ccn_certificate_refused", {"link": "database"})


async def _progress(acknowledged: list[int]) -> None:
    """Wait until more rows are there."""
    wanted = len(acknowledged) + 20
    async with asyncio.timeout(TIMEOUT_S):
        while len(acknowledged) < wanted:
            await asyncio.sleep(0.01)
