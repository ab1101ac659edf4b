"""Over TLS the client trusts one authority and shows who it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ccn import errors
from ccn.etcd import client, members, session
from ccn.etcd.endpoint import EtcdTls
from ccn.etcd.entry import WriteExecuted
from tests.support.etcd.authority import Authority, flags
from tests.support.etcd.servers import PATIENT_S

if TYPE_CHECKING:
    from tests.support.etcd.servers import Server

    StartTls = Callable[[list[str]], Server]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


async def test_everything_works_over_mutual_tls(authority: Authority, start_tls_etcd: StartTls) -> None:
    server = start_tls_etcd(flags(authority))
    async with (
        client.open_client(
            [server.endpoint], tls=authority.identity("node-1"), deadline_s=PATIENT_S
        ) as caller,
        session.open_session(caller) as held,
    ):
        assert isinstance(
            await caller.put_entry("/a", b"1", lease=held.lease, if_modified=0), WriteExecuted
        )
        async for present in members.watch_registrations(caller):
            assert present == ()
            break


async def test_who_shows_no_certificate_or_a_strangers_is_not_served(
    authority: Authority, start_tls_etcd: StartTls, tmp_path: Path
) -> None:
    server = start_tls_etcd(flags(authority))
    stranger = Authority(tmp_path / "stranger").identity("node-1")
    for tls in (
        None,
        EtcdTls(authority.certificate),
        EtcdTls(authority.certificate, stranger.certificate, stranger.key),
    ):
        async with client.open_client([server.endpoint], tls=tls, deadline_s=PATIENT_S) as caller:
            with pytest.raises(errors.CoordinationUnavailable):
                await caller.get_entry("/a")
            with pytest.raises((errors.CoordinationUnavailable, errors.OutcomeUnknown)):
                await caller.put_entry("/a", b"", lease=0, if_modified=0)


async def test_a_server_of_another_authority_is_not_trusted(
    authority: Authority, start_tls_etcd: StartTls, tmp_path: Path
) -> None:
    server = start_tls_etcd(flags(Authority(tmp_path / "stranger")))
    async with client.open_client(
        [server.endpoint], tls=authority.identity("node-1"), deadline_s=PATIENT_S
    ) as caller:
        with pytest.raises(errors.CoordinationUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
            await caller.get_entry("/a")


async def test_a_server_with_a_certificate_for_another_address_is_not_trusted(
    authority: Authority, start_tls_etcd: StartTls
) -> None:
    server = start_tls_etcd(flags(authority, address="127.0.0.2"))
    async with client.open_client(
        [server.endpoint], tls=authority.identity("node-1"), deadline_s=PATIENT_S
    ) as caller:
        with pytest.raises(errors.CoordinationUnavailable):
            await caller.get_entry("/a")


def test_a_private_key_is_never_shown() -> None:
    assert "secret" not in repr(EtcdTls(b"ca", b"certificate", b"secret"))
