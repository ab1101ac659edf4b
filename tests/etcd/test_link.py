"""The way to etcd over TLS: why it fails in words, and certificates that are renewed while it is used."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ccn import errors, metrics, settings
from ccn.certificates.watch import CertificateWatches
from ccn.etcd import access, members, session
from ccn.etcd.endpoint import EtcdTls
from ccn.etcd.entry import WriteExecuted
from ccn.etcd.link import EtcdLink
from ccn.service import servers
from tests.support.certificates.link_authority import ENDED, LinkAuthority, Pair, serving_context
from tests.support.certificates.tls_proxy import TlsProxy
from tests.support.etcd.load import Load
from tests.support.etcd.servers import Server

TIMEOUT_S = 30.0


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> LinkAuthority:
    return LinkAuthority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> LinkAuthority:
    """An authority that nobody here trusts at first."""
    return LinkAuthority(tmp_path_factory.mktemp("stranger"))


@pytest.fixture
def proxy(calm_etcd: Server, authority: LinkAuthority) -> TlsProxy:
    """An etcd that asks its clients for certificates."""
    return TlsProxy(calm_etcd.endpoint, serving(authority.issue_server(), authority.ca))


def serving(pair: Pair, clients: Path | None = None) -> ssl.SSLContext:
    context = serving_context(pair, clients)
    context.set_alpn_protocols(["h2"])
    return context


def chosen(endpoint: str, ca: Path, pair: Pair | None = None) -> settings.EtcdSettings:
    shown = {"certificate": pair[0], "key": pair[1]} if pair else {}
    return settings.EtcdSettings(endpoints=(endpoint,), ca=ca, **shown)  # type: ignore[arg-type]


def reach(endpoint: str, ca: Path, pair: Pair | None = None) -> EtcdLink:
    return EtcdLink(access.read_access(chosen(endpoint, ca, pair), datetime.now(UTC)))


async def refusal(link: EtcdLink, server: str) -> str:
    """What is said when a write is not even sent."""
    async with link.open_client() as caller:
        with pytest.raises(errors.CoordinationUnavailable) as refused:
            await caller.put_entry("/a", b"", lease=0, if_modified=0)
    head = f"no etcd server can be reached: etcd at {server} "
    assert str(refused.value).startswith(head), str(refused.value)
    return str(refused.value).removeprefix(head)


async def test_everything_goes_through_tls_1_3(proxy: TlsProxy, authority: LinkAuthority) -> None:
    async with proxy.running():
        link = reach(proxy.endpoint, authority.ca, authority.issue_client())
        async with link.open_client() as caller, session.open_session(caller) as held:
            written = await caller.put_entry("/over-tls", b"1", lease=held.lease, if_modified=0)
            assert isinstance(written, WriteExecuted)
            async with contextlib.aclosing(members.watch_registrations(caller)) as registrations:
                assert await anext(registrations) == ()
        assert {*proxy.versions} == {"TLSv1.3"}


async def test_what_etcd_has_against_this_node_is_said(
    proxy: TlsProxy, authority: LinkAuthority, stranger: LinkAuthority
) -> None:
    shown = {
        None: "asks for a certificate: set CCN_ETCD_CERTIFICATE and CCN_ETCD_KEY",
        stranger.issue_client(): "does not know the authority of CCN_ETCD_CERTIFICATE",
        authority.issue_server(): "refuses CCN_ETCD_CERTIFICATE",
    }
    async with proxy.running():
        for pair, words in shown.items():
            assert await refusal(reach(proxy.endpoint, authority.ca, pair), proxy.endpoint) == words
    ended = chosen(proxy.endpoint, authority.ca, authority.issue_client(since_days=ENDED))
    with pytest.raises(errors.SettingsInvalid, match="CCN_ETCD_CERTIFICATE is not valid now; it ended"):
        access.read_access(ended, datetime.now(UTC))


async def test_a_server_that_is_not_the_one_is_refused_for_a_reason(
    proxy: TlsProxy, authority: LinkAuthority, stranger: LinkAuthority
) -> None:
    older = serving(authority.issue_server())
    older.maximum_version = ssl.TLSVersion.TLSv1_2
    wrong = {
        serving(authority.issue_server("etcd.example.org")): "that is not for 127.0.0.1, the name in "
        "CCN_ETCD_ENDPOINTS",
        serving(authority.issue_server(since_days=ENDED)): "that has ended: renew the server's",
        serving(authority.issue_server(since_days=2)): "that is not valid yet: look at the clocks of both "
        "machines",
        serving(stranger.issue_server()): "of an authority that is not in CCN_ETCD_CA",
    }
    said = {context: f"shows a certificate {words}" for context, words in wrong.items()}
    said[older] = "speaks no TLS 1.3, and nothing older is agreed on"
    async with proxy.running():
        for proxy.context, words in said.items():
            link = reach(proxy.endpoint, authority.ca, authority.issue_client())
            assert await refusal(link, proxy.endpoint) == words


async def test_an_etcd_without_tls_is_named(calm_etcd: Server, authority: LinkAuthority) -> None:
    link = reach(calm_etcd.endpoint, authority.ca, authority.issue_client())
    words = "ends the connection when TLS begins: it may speak none there"
    assert await refusal(link, calm_etcd.endpoint) == words


def test_a_private_key_is_never_shown() -> None:
    assert "secret" not in repr(EtcdTls(b"ca", b"certificate", b"secret"))


async def wait_until(arrived: Callable[[], bool]) -> None:
    async with asyncio.timeout(TIMEOUT_S):
        while not arrived():
            await asyncio.sleep(0.01)


def refused() -> bool:
    return metrics.series.registry.get_sample_value("ccn_certificate_refused", {"link": "etcd"}) == 1


async def test_certificates_are_exchanged_under_load_and_nothing_is_lost(
    proxy: TlsProxy, authority: LinkAuthority, stranger: LinkAuthority, tmp_path: Path
) -> None:
    """Etcd is started again with the certificate of another authority; both count meanwhile."""
    old, new = authority, stranger
    ca, pair = tmp_path / "ca.pem", (tmp_path / "node.pem", tmp_path / "node.key")
    ca.write_bytes(old.ca.read_bytes())
    old.put_client(pair)
    watches, stop = CertificateWatches(look_s=0.05), asyncio.Event()
    async with proxy.running():
        link = servers.watch_etcd(chosen(proxy.endpoint, ca, pair), watches)
        async with (
            link.open_client() as caller,
            session.open_session(caller, ttl_s=30.0) as held,
            asyncio.TaskGroup() as tasks,
        ):
            load = Load(caller)
            tasks.create_task(watches.watch_files(stop))
            writing = tasks.create_task(load.write(stop))
            watching = tasks.create_task(load.watch())
            await load.progress()
            first = link.access
            new.put_client(pair)  # etcd does not know its authority yet
            await wait_until(refused)
            assert link.access is first
            await load.progress()
            assert load.unknown == []  # nothing noticed it
            ca.write_bytes(old.ca.read_bytes() + new.ca.read_bytes())
            proxy.context = serving(new.issue_server(), ca)
            proxy.cut()
            await wait_until(lambda: link.access is not first and not refused())
            await load.progress()
            lost, second = len(load.unknown), link.access
            shown = new.put_client(pair)
            await wait_until(lambda: link.access is not second and shown in proxy.shown)
            await load.progress()
            assert len(load.unknown) == lost  # a renewal alone loses no write
            assert held.alive
            stop.set()
            await writing
            watching.cancel()
            kept = {entry.key for entry in (await caller.read_prefix(load.prefix)).entries}
    assert {*load.acknowledged} <= kept <= {*load.acknowledged, *load.unknown}
    assert len(load.seen) == len({*load.seen})
