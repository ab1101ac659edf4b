"""An etcd that itself demands TLS 1.3, certificates of clients, and users with passwords.

It takes `tls_etcd`; where there is no such etcd it is not collected, and the head of the output says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import grpc.aio  # type: ignore[import-untyped]
import pytest
import pytest_asyncio
from pydantic import SecretStr

from ccn import errors, settings
from ccn.certificates.client_link import ClientLink
from ccn.certificates.identity import LinkFiles
from ccn.certificates.watch import CertificateWatches
from ccn.etcd import access, members, session
from ccn.etcd.access import EtcdAccess
from ccn.etcd.endpoint import EtcdTls
from ccn.etcd.entry import WriteExecuted
from ccn.etcd.link import EtcdLink
from ccn.service import servers
from tests.support.certificates import link_authority
from tests.support.certificates.link_authority import ENDED, LinkAuthority, Pair
from tests.support.etcd import encrypting, users
from tests.support.etcd.load import Load
from tests.support.etcd.servers import Server
from tests.support.etcd.users import CCN, STRANGER

pytestmark = pytest.mark.asyncio(loop_scope="module")

EXCHANGES = 10
WITHIN_S = 60.0


@dataclass
class EncryptingEtcd:
    """The server, and the files of both ends."""

    server: Server
    authority: LinkAuthority
    stranger: LinkAuthority
    shown: Pair
    own: Pair

    @property
    def endpoint(self) -> str:
        return self.server.endpoint

    def choose(self, *, user: bool = True) -> settings.EtcdSettings:
        """What an operator sets for a node."""
        named = {"user": CCN.name, "password": SecretStr(CCN.password)} if user else {}
        return settings.EtcdSettings(
            endpoints=(f"https://{self.endpoint}",),
            ca=self.authority.ca,
            certificate=self.own[0],
            key=self.own[1],
            **named,  # type: ignore[arg-type]
        )

    def reach(self, pair: Pair | None) -> EtcdAccess:
        """The way to it with another certificate, which a node would not even begin to use if it ended."""
        files = LinkFiles("etcd", "CCN_ETCD", self.authority.ca, *(pair or (None, None)))
        texts = (None, None) if pair is None else (pair[0].read_bytes(), pair[1].read_bytes())
        link = ClientLink("etcd", files, "CCN_ETCD_ENDPOINTS")
        return EtcdAccess((self.endpoint,), EtcdTls(self.authority.ca.read_bytes(), *texts), CCN, link)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def tls_etcd(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EncryptingEtcd]:
    folder = tmp_path_factory.mktemp("encrypting etcd")
    authority, stranger = LinkAuthority(folder / "authority"), LinkAuthority(folder / "stranger")
    shown, own = ((folder / f"{end}.pem", folder / f"{end}.key") for end in ("server", "node"))
    link_authority.put_pair(shown, authority.issue_member())
    authority.put_client(own)
    with encrypting.run_server(folder, shown, authority.ca) as server:
        await users.ask_for_users(open_channel(server, authority))
        yield EncryptingEtcd(server, authority, stranger, shown, own)


@pytest.fixture
def good_server(tls_etcd: EncryptingEtcd) -> Iterator[None]:
    """Whatever it is made to show, afterwards it shows what is good again."""
    yield
    link_authority.put_pair(tls_etcd.shown, tls_etcd.authority.issue_member())


def open_channel(server: Server, authority: LinkAuthority) -> grpc.aio.Channel:
    certificate, key = (file.read_bytes() for file in authority.issue_client("root"))
    credentials = grpc.ssl_channel_credentials(authority.ca.read_bytes(), key, certificate)
    return grpc.aio.secure_channel(server.endpoint, credentials)


async def write(link: EtcdLink, key: str) -> None:
    async with link.open_client() as caller:
        assert isinstance(await caller.put_entry(key, b"", lease=0, if_modified=0), WriteExecuted)


async def find_refusal(reached: EtcdAccess) -> str:
    """What is said when a write is not even sent."""
    async with EtcdLink(reached).open_client() as caller:
        with pytest.raises(errors.CoordinationUnavailable) as refused:
            await caller.put_entry("/ccn/a", b"", lease=0, if_modified=0)
    head = f"no etcd server can be reached: etcd at {reached.servers[0]} "
    assert str(refused.value).startswith(head), str(refused.value)
    return str(refused.value).removeprefix(head)


async def test_a_node_is_served_by_its_certificate_and_its_password(tls_etcd: EncryptingEtcd) -> None:
    link = EtcdLink(access.read_access(tls_etcd.choose(), datetime.now(UTC)))
    async with link.open_client() as caller, session.open_session(caller) as held:
        written = await caller.put_entry("/ccn/leased", b"1", lease=held.lease, if_modified=0)
        assert isinstance(written, WriteExecuted)
        async with contextlib.aclosing(members.watch_registrations(caller)) as registrations:
            assert await anext(registrations) == ()
        with pytest.raises(errors.CoordinationRefused, match="permission denied"):
            await caller.put_entry("/elsewhere", b"", lease=0, if_modified=0)


async def test_a_certificate_alone_is_the_user_whom_it_names(tls_etcd: EncryptingEtcd) -> None:
    alone = replace(tls_etcd.reach(tls_etcd.authority.issue_client(CCN.name)), user=None)
    await write(EtcdLink(alone), "/ccn/by-certificate")
    for name, words in ((STRANGER.name, "permission denied"), ("nobody", "permission denied|user name")):
        reached = replace(tls_etcd.reach(tls_etcd.authority.issue_client(name)), user=None)
        async with EtcdLink(reached).open_client() as caller:
            with pytest.raises(errors.CoordinationRefused, match=words):
                await caller.put_entry("/ccn/b", b"", lease=0, if_modified=0)


async def test_a_good_certificate_makes_no_wrong_password_right(tls_etcd: EncryptingEtcd) -> None:
    wrong = replace(tls_etcd.reach(tls_etcd.own), user=replace(CCN, password="hunter4"))
    async with EtcdLink(wrong).open_client() as caller:
        with pytest.raises(errors.CoordinationRefused, match="look at CCN_ETCD_USER and CCN_ETCD_PASSWORD"):
            await caller.get_entry("/ccn/a")


async def test_nothing_older_than_tls_1_3_is_agreed_on(tls_etcd: EncryptingEtcd) -> None:
    own, ca = tls_etcd.own, tls_etcd.authority.ca
    newest = ClientLink("etcd", LinkFiles("etcd", "CCN_ETCD", ca, *own), "").context
    assert await asyncio.to_thread(shake_hands, tls_etcd.endpoint, newest) == "TLSv1.3"
    older = ClientLink("etcd", LinkFiles("etcd", "CCN_ETCD", ca, *own), "", ssl.TLSVersion.TLSv1_2).context
    older.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):
        await asyncio.to_thread(shake_hands, tls_etcd.endpoint, older)


def shake_hands(endpoint: str, context: ssl.SSLContext) -> str | None:
    host, _, port = endpoint.partition(":")
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection((host, int(port)), 30) as plain,
        context.wrap_socket(plain, server_hostname=host) as held,
    ):
        return held.version()


async def test_what_it_has_against_a_node_is_said(tls_etcd: EncryptingEtcd) -> None:
    ours = tls_etcd.authority
    for pair, words in (
        (None, "asks for a certificate: set CCN_ETCD_CERTIFICATE and CCN_ETCD_KEY"),
        (tls_etcd.stranger.issue_client(), "does not know the authority of CCN_ETCD_CERTIFICATE"),
        (ours.issue_client(since_days=ENDED), "says that CCN_ETCD_CERTIFICATE has ended"),
        (ours.issue_server(), "refuses CCN_ETCD_CERTIFICATE"),
    ):
        assert await find_refusal(tls_etcd.reach(pair)) == words


@pytest.mark.usefixtures("good_server")
async def test_what_a_node_has_against_it_is_said(tls_etcd: EncryptingEtcd) -> None:
    ours, name = tls_etcd.authority, "the name in CCN_ETCD_ENDPOINTS"
    for pair, words in (
        (ours.issue_member("etcd.example.org"), f"that is not for 127.0.0.1, {name}"),
        (ours.issue_member(since_days=ENDED), "that has ended: renew the server's"),
        (tls_etcd.stranger.issue_member(), "of an authority that is not in CCN_ETCD_CA"),
    ):
        link_authority.put_pair(tls_etcd.shown, pair)
        said = await find_refusal(tls_etcd.reach(tls_etcd.own))
        assert said == f"shows a certificate {words}"


async def test_certificates_of_both_ends_are_exchanged_under_load_and_nothing_is_refused(
    tls_etcd: EncryptingEtcd,
) -> None:
    watches, stop = CertificateWatches(look_s=0.05), asyncio.Event()
    link = servers.watch_etcd(tls_etcd.choose(), watches)
    async with link.open_client() as caller, session.open_session(caller, ttl_s=30.0) as held:
        load = Load(caller)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(watches.watch_files(stop))
            writing = tasks.create_task(load.write(stop))
            watching = tasks.create_task(load.watch())
            await load.progress()
            for _ in range(EXCHANGES):
                before = link.access
                link_authority.put_pair(tls_etcd.shown, tls_etcd.authority.issue_member())
                tls_etcd.authority.put_client(tls_etcd.own)
                async with asyncio.timeout(WITHIN_S):
                    while link.access is before:
                        await asyncio.sleep(0.01)
                await load.progress()
            stop.set()
            await writing
            watching.cancel()
        kept = {entry.key for entry in (await caller.read_prefix(load.prefix)).entries}
        assert held.alive
    assert (load.refused, load.unknown) == (0, [])
    assert kept == {*load.acknowledged}
    assert len(load.seen) == len({*load.seen})
