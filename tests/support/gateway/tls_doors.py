"""The three doors of a node with certificates from files, and nothing behind them but what a test needs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from starlette.responses import StreamingResponse

from ccn import settings
from ccn.certificates import identity, issuing
from ccn.certificates.issuing import IssuedCertificate, LinkUse
from ccn.certificates.watch import CertificateWatches
from ccn.gateway import readiness
from ccn.gateway.grpc.peer import PeerServer
from ccn.gateway.grpc.server import GrpcServer
from ccn.gateway.http import app as http_app
from ccn.gateway.http import server as http_server
from tests.support.peers import peer_node
from tests.support.peers.peer_node import TWO, Node

LOOK_S = 0.02
NAMES = (*identity.LOOPBACK, identity.server_name(TWO))


@dataclass
class Pair:
    """Where a door finds its certificate, and the authority that issues it."""

    folder: Path
    authority: IssuedCertificate
    serials: list[str] = field(default_factory=list)

    @property
    def ca(self) -> Path:
        return self.folder / "ca.pem"

    def put(
        self,
        names: tuple[str, ...] = NAMES,
        now: datetime | None = None,
        days: int = 1,
        by: IssuedCertificate | None = None,
    ) -> IssuedCertificate:
        """Issue a certificate and put it in place as one does: the key first, each file as a whole."""
        moment = now or datetime.now(UTC)
        made = issuing.issue_link_certificate(by or self.authority, TWO, names, LinkUse.BOTH, moment, days)
        self.write("ca.pem", self.authority.certificate)
        self.write("door.key", made.key)
        self.write("door.pem", made.certificate)
        return made

    def write(self, name: str, text: bytes) -> None:
        beside = self.folder / f".{name}"
        beside.write_bytes(text)
        beside.replace(self.folder / name)


@dataclass
class TlsDoors:
    """The ports at which they listen, by link."""

    ports: Mapping[str, int]
    stopping: asyncio.Event
    node: Node


@asynccontextmanager
async def open_doors(
    pair: Pair, now: datetime | None = None, *, mutual: bool = False, **more: Any
) -> AsyncIterator[TlsDoors]:
    """Open all three with the same files; `more` is for that of HTTP. With `now`, their clock stands still.

    If `mutual`, the doors for clients want a certificate too, as that for nodes always does.
    """

    def clock() -> datetime:
        return now or datetime.now(UTC)

    files: dict[str, Any] = {
        "tls_certificate": pair.folder / "door.pem",
        "tls_key": pair.folder / "door.key",
    }
    doors = files | ({"tls_ca": pair.ca} if mutual else {})
    http = settings.HttpSettings(port=0, **doors, **more)
    tls = settings.TlsSettings(ca=pair.ca, certificate=files["tls_certificate"], key=files["tls_key"])
    certificates, stop, node = CertificateWatches(clock, LOOK_S), asyncio.Event(), Node()
    app = http_app.create_bare_app(http)

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        async def pieces() -> AsyncIterator[bytes]:
            while not stop.is_set():
                yield b"."
                await asyncio.sleep(0.01)

        return StreamingResponse(pieces())

    @app.get("/status")
    async def status() -> dict[str, str]:
        return {"node": TWO}

    rpc = GrpcServer(readiness.Readiness({}))
    grpc_port = rpc.listen(settings.GrpcSettings(port=0, **doors), certificates)
    peers = certificates.add_link("peers", lambda: identity.read_identity(tls, TWO, clock()))
    door = PeerServer(node, peers.current)
    peers.on_change(door.show_identity)
    async with AsyncExitStack() as stack:
        listening = stack.enter_context(http_server.listen_on_port(http))
        context = http_server.read_certificate(http, certificates)
        peers_port = door.listen(settings.PeersSettings(port=0))
        parts = [
            http_server.serve_app(app, listening, stop, 1.0, http, tls=context),
            rpc.serve(stop, 0.2),
            door.serve(stop, 0.2),
            certificates.watch_files(stop),
        ]
        tasks = [asyncio.create_task(part) for part in parts]
        ports = {"http": listening.getsockname()[1], "grpc": grpc_port, "peers": peers_port}
        try:
            yield TlsDoors(ports, stop, node)
        finally:
            stop.set()
            await asyncio.wait_for(asyncio.gather(*tasks), 30)


def client_of(pair: Pair) -> identity.TlsIdentity:
    """What another node shows at the door for nodes."""
    return peer_node.identity_of(pair.authority, peer_node.ONE)
