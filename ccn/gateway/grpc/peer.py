"""The door for the other nodes: finds out who asks, translates, lets the node answer, translates back.

A node is believed to be the one it says with that node's certificate only, and let in only while it takes
part in the cluster; without certificates the door listens on loopback, where whoever can call could as well
read the key. It has a port of its own, because its messages are far larger than those of any client and
every caller has to show a certificate.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Any, Protocol

import grpc  # type: ignore[import-untyped]
import grpc.aio  # type: ignore[import-untyped]

from ccn import errors, settings
from ccn.certificates.identity import TlsIdentity
from ccn.core.chain.report import Report
from ccn.core.identity.revocation import PresentedCertificate
from ccn.core.ids import NodeId
from ccn.core.ledger import note
from ccn.core.ledger.signed import Signed
from ccn.core.rounds.ballot import Proposal, Vote
from ccn.core.rounds.readback import ShownBlock
from ccn.core.rounds.refusal import Refusal
from ccn.gateway.grpc import connection_limit, peer_calls
from ccn.gateway.grpc.peer_calls import PeerCalls
from ccn.peers import limits, methods, wire
from ccn.peers.exchange import (
    BlockPage,
    BlocksRequest,
    CommitNotice,
    ForwardedRequest,
    Greeting,
    NodeIntroduction,
    ReportRequest,
)
from ccn.peers.peer import is_loopback

CONNECTIONS = 256
"""All there may be; nodes are 64 at most, with a few connections each."""
_OF_ONE = 128  # all nodes of a cluster may be on one machine
_CALLS = 2_048
_OPTIONS = (
    # Two nodes on one port would each get half of the calls and nobody an error.
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", methods.ASKED_LIMIT),
    # Peers ping to learn that this node is alive; as often as they do is welcome, without a call too.
    ("grpc.http2.min_ping_interval_without_data_ms", 1_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.max_allowed_incoming_connections", CONNECTIONS),
    ("grpc.server_handshake_timeout_ms", 5_000),
)


class PeerNode(Protocol):
    """The node behind the door. Who asks has been checked; whether it may is for the node to say."""

    async def admit(self, node: NodeId, shown: PresentedCertificate | None) -> None:
        """Refuse whoever takes no part in the cluster; asked before every call, and while it goes on."""

    async def identify(self) -> NodeIntroduction:
        """Who this node is, and how far its record goes."""

    async def report(self, ask: ReportRequest) -> Signed[Report] | Refusal:
        """This node's part of the round, if it takes part."""

    async def vote_on(self, proposed: Signed[Proposal]) -> Signed[Vote] | Refusal:
        """This node's vote, which is on its disk by then."""

    async def confirm_block(self, decision: CommitNotice) -> note.Signature | Refusal:
        """Read the block back; this node's cosignature of the checkpoint after it."""

    async def load_blocks(self, first: int, count: int) -> tuple[Sequence[ShownBlock], int]:
        """Committed blocks from a height on, `count` at most, and the height of the last there is."""

    def forward(self, request: ForwardedRequest) -> AsyncGenerator[bytes]:
        """Answer a client's request for an instance of this node."""


class PeerServer:
    """The peer door of one node."""

    def __init__(
        self, voting: PeerNode, shown: TlsIdentity | None, *, look_s: float = peer_calls.LOOK_S
    ) -> None:
        self._shown, self._look_s = shown, look_s
        self._showing = shown
        self._stopping = asyncio.Event()
        self._port = 0
        self._server = grpc.aio.server(options=_OPTIONS, maximum_concurrent_rpcs=_CALLS)
        self._calls = PeerCalls(voting.admit, plain=shown is None)
        handlers = _make_handlers(voting, self._stopping, self._calls)
        self._server.add_generic_rpc_handlers((handlers,))

    async def show_identity(self, shown: TlsIdentity) -> None:
        """Show this to whoever connects from now on."""
        self._shown = shown

    def listen(self, door: settings.PeersSettings) -> int:
        """Take the port; which one matters when the setting is 0."""
        if self._shown is None and not is_loopback(door.host):
            raise errors.SettingsInvalid(
                f"CCN_PEERS_HOST: {door.host} is beyond this machine, and CCN_TLS_CERTIFICATE is not set"
            )
        try:
            self._port = int(self._bind_port(_join_address(door.host, door.port)))
        except RuntimeError as refused:
            raise errors.SettingsInvalid(
                f"CCN_PEERS_PORT: {door.host}:{door.port} is in use or cannot be used"
            ) from refused
        return self._port

    async def serve(self, stop: asyncio.Event, grace_s: float) -> None:
        """Answer calls until `stop`; then finish those that are running, for `grace_s` at most."""
        await self._server.start()
        looking = asyncio.create_task(self._calls.recheck_callers(self._look_s), name="calls of peers")
        keeping = asyncio.create_task(
            connection_limit.keep_limit("peers", self._port, _OF_ONE), name="peers doorkeeper"
        )
        try:
            await stop.wait()
        finally:
            looking.cancel()
            keeping.cancel()
            self._stopping.set()
            await self._server.stop(grace_s)
            await asyncio.gather(looking, keeping, return_exceptions=True)

    def _bind_port(self, address: str) -> int:
        if self._shown is None:
            return int(self._server.add_insecure_port(address))
        credentials = grpc.dynamic_ssl_server_credentials(
            self._make_configuration(), self._renew_configuration, require_client_authentication=True
        )
        return int(self._server.add_secure_port(address, credentials))

    def _make_configuration(self) -> Any:
        shown = self._showing = self._shown
        assert shown is not None
        return grpc.ssl_server_certificate_configuration([(shown.key, shown.certificate)], shown.ca)

    def _renew_configuration(self) -> Any:
        """What gRPC asks for each connection, in a thread of its own; None if nothing has changed."""
        return self._make_configuration() if self._shown is not self._showing else None


def advertised_address(door: settings.PeersSettings, port: int) -> str:
    """Where the other nodes find this door, once it listens on a port."""
    return door.advertise or _join_address(door.host, port)


def _join_address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _make_handlers(voting: PeerNode, stopping: asyncio.Event, under_way: PeerCalls) -> Any:
    async def answer_hello(_: Greeting) -> NodeIntroduction:
        return await voting.identify()

    async def answer_stay(_: Greeting) -> AsyncGenerator[NodeIntroduction]:
        yield await voting.identify()
        await stopping.wait()

    async def answer_blocks(missing: BlocksRequest) -> BlockPage:
        found, height = await voting.load_blocks(missing.first, limits.PAGE_BLOCKS)
        return wire.fill_page(tuple(found), height)

    answering = {
        methods.HELLO.name: under_way.unary_handler(methods.HELLO, answer_hello),
        methods.STAY.name: under_way.stream_handler(methods.STAY, answer_stay, endless=True),
        methods.REPORT.name: under_way.unary_handler(methods.REPORT, voting.report),
        methods.PROPOSE.name: under_way.unary_handler(methods.PROPOSE, voting.vote_on),
        methods.DECIDE.name: under_way.unary_handler(methods.DECIDE, voting.confirm_block),
        methods.BLOCKS.name: under_way.unary_handler(methods.BLOCKS, answer_blocks),
        methods.FORWARD.name: under_way.stream_handler(methods.FORWARD, voting.forward),
    }
    return grpc.method_handlers_generic_handler(methods.SERVICE, answering)
