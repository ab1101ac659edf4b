"""Certificates that are renewed while nodes run: read, shown, and warned about when nobody renews them."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from ccn import settings
from ccn.certificates import identity, inspection, issuing
from ccn.certificates.identity import TlsIdentity
from ccn.certificates.issuing import IssuedCertificate
from ccn.certificates.watch import CertificateWatch
from ccn.gateway.grpc.peer import PeerServer
from ccn.peers import client
from ccn.peers.exchange import NodeIntroduction
from tests.support.peers import peer_node
from tests.support.peers.peer_node import ONE, TWO, Node, identity_of

WITHIN_S = 30.0


def now() -> datetime:
    """Asked for each time: in a long run this module is read long before its certificates are made."""
    return datetime.now(UTC)


@pytest.fixture(scope="module")
def authority() -> IssuedCertificate:
    return issuing.issue_authority(now())


class Files:
    """Where a node finds what it shows."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tls = settings.TlsSettings(
            ca=folder / "ca", certificate=folder / "certificate", key=folder / "key"
        )

    def put(self, shown: TlsIdentity) -> TlsIdentity:
        for name in ("ca", "certificate", "key"):
            (self.folder / name).write_bytes(getattr(shown, name))
        return shown


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def watch(files: Files, clock: Callable[[], datetime] = now) -> CertificateWatch[TlsIdentity]:
    return CertificateWatch("peers", lambda: identity.read_identity(files.tls, ONE, clock()), clock)


def serial(shown: TlsIdentity) -> str:
    return inspection.summarise_certificate(shown.certificate).serial


def test_files_are_read_again_when_they_hold_something_else(
    files: Files, authority: IssuedCertificate
) -> None:
    first = files.put(identity_of(authority, ONE))
    shows = watch(files)
    assert shows.current == first
    assert not shows.read_again()
    second = files.put(identity_of(authority, ONE))
    assert shows.read_again()
    assert shows.current == second


def test_files_that_cannot_be_used_change_nothing_and_are_told_of_once(
    files: Files, authority: IssuedCertificate
) -> None:
    good = files.put(identity_of(authority, ONE))
    shows = watch(files)
    with capture_logs() as logs:
        for wrong in (
            lambda: (files.folder / "key").write_bytes(identity_of(authority, ONE).key),
            lambda: files.put(identity_of(authority, TWO)),
            (files.folder / "certificate").unlink,
        ):
            wrong()
            assert not shows.read_again()
            assert not shows.read_again()
            assert shows.current == good
    assert len(logs) == 3
    assert "CCN_TLS_KEY is not the key" in logs[0]["reason"]


def test_a_certificate_that_ends_soon_is_warned_about_once_a_day(
    files: Files, authority: IssuedCertificate
) -> None:
    files.put(identity_of(authority, ONE, days=20))
    began = now()
    clock = [began]
    with capture_logs() as logs:
        shows = watch(files, lambda: clock[0])
        for hours in (0, 12 * 24, 13 * 24, 13 * 24 + 1, 14 * 24 + 1):
            clock[0] = began + timedelta(hours=hours)
            shows.read_again()
    assert [line["event"] for line in logs] == ["a certificate of this node ends soon"] * 2
    files.put(identity_of(authority, ONE, clock[0], days=30))
    with capture_logs() as logs:
        clock[0] += timedelta(days=2)
        assert shows.read_again()
    assert [line["event"] for line in logs] == ["certificate renewed"]


async def test_a_change_is_told_while_the_node_runs(files: Files, authority: IssuedCertificate) -> None:
    files.put(identity_of(authority, ONE))
    stop, told = asyncio.Event(), asyncio.Queue[TlsIdentity]()
    shows = watch(files)
    shows.on_change(told.put)
    watching = asyncio.create_task(shows.watch_files(stop, 0.02))
    renewed = files.put(identity_of(authority, ONE))
    assert await asyncio.wait_for(told.get(), WITHIN_S) == renewed
    stop.set()
    await asyncio.wait_for(watching, WITHIN_S)


def served(address: str) -> str:
    """The certificate that a door shows to whoever comes."""
    host, port = address.split(":")
    return inspection.summarise_certificate(ssl.get_server_certificate((host, int(port))).encode()).serial


async def test_a_renewed_certificate_is_shown_by_both_ends_without_a_restart(
    authority: IssuedCertificate,
) -> None:
    old, new = ({n: identity_of(authority, n) for n in (ONE, TWO)} for _ in range(2))
    node = Node()
    door = PeerServer(node, old[TWO])
    async with peer_node.serving(door) as address, client.open_client(ONE, old[ONE]) as peers:
        await peers.set_addresses({TWO: address})
        staying = peers.find_peer(TWO).stay()
        assert await anext(staying)
        assert await asyncio.to_thread(served, address) == serial(old[TWO])
        await door.show_identity(new[TWO])
        changing = asyncio.create_task(peers.replace_identity(new[ONE]))
        await asyncio.sleep(0)  # from here on it has changed, and waits for calls to end
        assert isinstance((await peers.hello(WITHIN_S))[TWO], NodeIntroduction)
        shown = [each.serial for each in node.certificates if each is not None]
        assert shown == [serial(old[ONE]), serial(new[ONE])]
        assert await asyncio.to_thread(served, address) == serial(new[TWO])
        await staying.aclose()
        await asyncio.wait_for(changing, WITHIN_S)
