"""An etcd that asks for users serves this one, whatever becomes of its tokens."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import grpc.aio  # type: ignore[import-untyped]
import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from ccn import errors, settings
from ccn.etcd import access, client, members, session
from ccn.etcd.access import EtcdAccess
from ccn.etcd.client import EtcdClient
from ccn.etcd.endpoint import EtcdTls
from ccn.etcd.entry import WriteExecuted
from ccn.etcd.signin import EtcdUser
from tests.support.certificates.link_authority import LinkAuthority, serving_context
from tests.support.certificates.tls_proxy import TlsProxy
from tests.support.core.registrations import registration, shown
from tests.support.etcd import users
from tests.support.etcd.servers import PATIENT_S, Server, servers_in
from tests.support.etcd.users import CCN, STRANGER


@contextlib.asynccontextmanager
async def _opened(reached: EtcdAccess) -> AsyncIterator[EtcdClient]:
    async with client.open_client(
        reached.servers, tls=reached.tls, user=reached.user, deadline_s=PATIENT_S
    ) as opened:
        yield opened


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    quick = ["--bcrypt-cost", "4"]
    with servers_in(tmp_path_factory.mktemp("asking etcd"), ["asking"], [], quick) as servers:
        yield servers[0]


@pytest.fixture
async def asking(started: Server) -> Server:
    with contextlib.suppress(grpc.aio.AioRpcError):  # it does already
        await users.ask_for_users(grpc.aio.insecure_channel(started.endpoint))
    return started


async def test_over_mutual_tls_with_a_password_everything_works(tmp_path: Path, asking: Server) -> None:
    authority = LinkAuthority(tmp_path / "authority")
    certificate, key = authority.issue_client("ccn")
    proxy = TlsProxy(asking.endpoint, _serving_over_http2(authority))
    async with proxy.running():
        chosen = settings.EtcdSettings(
            endpoints=(f"https://{proxy.endpoint}",),
            user=CCN.name,
            password=SecretStr(CCN.password),
            ca=authority.ca,
            certificate=certificate,
            key=key,
        )
        reached = access.read_access(chosen, datetime.now(UTC))
        async with _opened(reached) as caller, session.open_session(caller) as held:
            written = await caller.put_entry("/ccn/over-tls", b"1", lease=held.lease, if_modified=0)
            assert isinstance(written, WriteExecuted)
            async for present in members.watch_registrations(caller):
                assert present == ()
                break


def _serving_over_http2(authority: LinkAuthority) -> ssl.SSLContext:
    context = serving_context(authority.issue_server(), authority.ca)
    context.set_alpn_protocols(["h2"])
    return context


@pytest.mark.parametrize(
    ("user", "words"),
    [
        (None, "user name is empty (it asks for a user: set CCN_ETCD_USER and CCN_ETCD_PASSWORD)"),
        (replace(CCN, password="hunter4"), "etcd does not know the user 'ccn' with this password"),
        (replace(CCN, name="nobody"), "look at CCN_ETCD_USER and CCN_ETCD_PASSWORD"),
        (STRANGER, "permission denied (grant this user to read and write the keys under /ccn/)"),
    ],
)
async def test_who_may_not_is_told_what_to_mend(asking: Server, user: EtcdUser | None, words: str) -> None:
    async with _opened(EtcdAccess((asking.endpoint,), None, user)) as caller:
        with pytest.raises(errors.CoordinationRefused) as refused:
            await caller.get_entry("/ccn/a")
        with pytest.raises(errors.CoordinationRefused):
            await caller.put_entry("/ccn/a", b"", lease=0, if_modified=0)
    assert words in str(refused.value)
    assert "hunter" not in str(refused.value)


async def test_a_token_that_etcd_forgot_is_renewed_and_nothing_is_written_twice(asking: Server) -> None:
    async with _opened(EtcdAccess((asking.endpoint,), None, CCN)) as caller:
        assert isinstance(await caller.put_entry("/ccn/b", b"1", lease=0, if_modified=0), WriteExecuted)
        asking.stop()
        asking.start()  # with the keys, and without any token
        found = await caller.get_entry("/ccn/b")
        assert found is not None
        asking.stop()
        asking.start()
        again = await caller.put_entry("/ccn/b", b"2", lease=0, if_modified=found.modified)
        assert isinstance(again, WriteExecuted)
        assert again.revision == found.modified + 1


async def test_a_watch_goes_on_with_another_token(asking: Server) -> None:
    async with (
        _opened(EtcdAccess((asking.endpoint,), None, CCN)) as caller,
        contextlib.aclosing(members.watch_registrations(caller)) as lists,
    ):
        assert await anext(lists) == ()
        asking.stop()
        asking.start()
        async with session.open_session(caller) as held:
            said = registration("node-1", held.lease)
            await members.register_node(held, said, lambda _: True)
            assert await anext(lists) == (shown(said),)


async def test_an_etcd_that_asks_nobody_takes_a_user_all_the_same_until_it_asks(etcd: Server) -> None:
    async with _opened(EtcdAccess((etcd.endpoint,), None, CCN)) as caller:
        with capture_logs() as logs:
            assert await caller.get_entry("/ccn/a") is None
            assert await caller.get_entry("/ccn/a") is None
        warned = "etcd asks nobody for a password, although CCN_ETCD_USER is set"
        assert [line["event"] for line in logs if line["log_level"] == "warning"] == [warned]
        await users.ask_for_users(grpc.aio.insecure_channel(etcd.endpoint))
        assert await caller.get_entry("/ccn/a") is None


async def test_a_server_that_is_not_reached_says_why(asking: Server, tmp_path: Path) -> None:
    proxy = TlsProxy(asking.endpoint, _serving_over_http2(LinkAuthority(tmp_path / "stranger")))
    trusted = EtcdTls(LinkAuthority(tmp_path / "authority").ca.read_bytes())
    async with proxy.running():
        for tls, why in ((trusted, "CERTIFICATE_VERIFY_FAILED"), (None, "if it wants TLS, write https://")):
            async with _opened(EtcdAccess((proxy.endpoint,), tls)) as caller:
                with pytest.raises(errors.CoordinationUnavailable, match=why):
                    await caller.grant_lease(5)
