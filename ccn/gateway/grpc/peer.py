"""The door for other nodes: checks who calls, decodes the call, lets the node answer, encodes the answer.

A caller has to show the certificate of the node that it names. It is let in only while that node takes part
in the cluster. Without certificates the door listens on loopback only: a process there could read the key
as well. The door has a port of its own for two reasons: its messages are far larger than those of clients,
and every caller has to show a certificate.
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
from ccn.gateway.grpc.door_credentials import DoorCredentials
from ccn.gateway.grpc.peer_calls import PeerCalls
from ccn.peers import limits, methods, wire
from ccn.peers.exchange import (
    BlockPage,
    BlocksRequest,
    CommitNotice,
    ForwardedRequest,
    GatewayQuestion,
    Greeting,
    NodeIntroduction,
    ReportRequest,
)
from ccn.peers.peer import is_loopback

CONNECTIONS = 256
"""The most connections that this door accepts: of 64 nodes one or two each, of a gateway one."""
_ADDRESS_LIMIT = 128  # connections of one address: all nodes of a cluster may be on one machine
_CONCURRENT_CALLS = 2_048 + peer_calls.GATEWAY_CALLS
_OPTIONS = (
    # Without this, two nodes could take the same port: each would get half of the calls, and none an error.
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", methods.ASKED_LIMIT),
    # Peers ping to learn whether this node is alive, also while no call runs. Allow it as often as they do.
    ("grpc.http2.min_ping_interval_without_data_ms", 1_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.max_allowed_incoming_connections", CONNECTIONS),
    ("grpc.server_handshake_timeout_ms", 5_000),
)


class PeerNode(Protocol):
    """The node behind the door. The door checks who calls; the node decides in `admit` whether it may."""

    async def admit(self, node: NodeId, shown: PresentedCertificate | None) -> None:
        """Refuse a node that takes no part in the cluster. Runs before every call, and again during it."""

    async def identify(self) -> NodeIntroduction:
        """Introduce this node: its id, and how far its record goes."""

    async def report(self, ask: ReportRequest) -> Signed[Report] | Refusal:
        """Give this node's report for the round, or refuse."""

    async def vote_on(self, proposed: Signed[Proposal]) -> Signed[Vote] | Refusal:
        """Vote on a proposal, or refuse. The vote is on this node's disk before it is returned."""

    async def confirm_block(self, decision: CommitNotice) -> note.Signature | Refusal:
        """Read the block back and cosign the checkpoint after it, or refuse."""

    async def load_blocks(self, first_height: int, count: int) -> tuple[Sequence[ShownBlock], int]:
        """Load committed blocks from a height on, `count` at most, and the height of the last block."""

    def forward(self, request: ForwardedRequest) -> AsyncGenerator[bytes]:
        """Answer the request of another node's client for an instance of this node."""

    async def admit_gateway(self, gateway: NodeId, shown: PresentedCertificate | None) -> None:
        """Refuse a gateway whose certificate was revoked, before each call and while it runs."""

    def serve(self, question: GatewayQuestion) -> AsyncGenerator[bytes]:
        """Answer what a gateway asks in the name of a client."""


class PeerServer:
    """The peer door of one node."""

    def __init__(
        self,
        node: PeerNode,
        identity: TlsIdentity | None,
        *,
        recheck_s: float = peer_calls.RECHECK_S,
        gateway_calls: int = peer_calls.GATEWAY_CALLS,
    ) -> None:
        self._credentials = DoorCredentials(identity) if identity is not None else None
        self._recheck_s = recheck_s
        self._stopping = asyncio.Event()
        self._port = 0
        self._server = grpc.aio.server(options=_OPTIONS, maximum_concurrent_rpcs=_CONCURRENT_CALLS)
        self._calls = PeerCalls(
            node.admit, node.admit_gateway, plain=identity is None, gateway_calls=gateway_calls
        )
        handlers = _make_handlers(node, self._stopping, self._calls)
        self._server.add_generic_rpc_handlers((handlers,))

    async def show_identity(self, identity: TlsIdentity) -> None:
        """Show this certificate on connections that begin from now on."""
        assert self._credentials is not None, "a door in the clear shows nothing"
        await self._credentials.show_identity(identity)

    def listen(self, peers: settings.PeersSettings) -> int:
        """Take the port and return its number, which the system chooses if the setting is 0."""
        if self._credentials is None and not is_loopback(peers.host):
            raise errors.SettingsInvalid(
                f"CCN_PEERS_HOST: {peers.host} is beyond this machine, and CCN_TLS_CERTIFICATE is not set"
            )
        try:
            self._port = int(self._bind_port(_join_address(peers.host, peers.port)))
        except RuntimeError as refused:
            raise errors.SettingsInvalid(
                f"CCN_PEERS_PORT: {peers.host}:{peers.port} is in use or cannot be used"
            ) from refused
        return self._port

    async def serve(self, stop: asyncio.Event, grace_s: float) -> None:
        """Answer calls until `stop`; then let running calls finish, for `grace_s` at most."""
        await self._server.start()
        rechecking = asyncio.create_task(
            self._calls.recheck_callers(self._recheck_s), name="peers recheck callers"
        )
        limiting = asyncio.create_task(
            connection_limit.keep_limit("peers", self._port, _ADDRESS_LIMIT), name="peers connection limit"
        )
        try:
            await stop.wait()
        finally:
            rechecking.cancel()
            limiting.cancel()
            self._stopping.set()
            await self._server.stop(grace_s)
            await asyncio.gather(rechecking, limiting, return_exceptions=True)

    def _bind_port(self, address: str) -> int:
        if self._credentials is None:
            return int(self._server.add_insecure_port(address))
        return int(self._server.add_secure_port(address, self._credentials.make_credentials()))


def advertised_address(peers: settings.PeersSettings, port: int) -> str:
    """The address that other nodes use for this door, once it listens on a port."""
    return peers.advertise or _join_address(peers.host, port)


def _join_address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _make_handlers(node: PeerNode, stopping: asyncio.Event, calls: PeerCalls) -> Any:
    async def answer_hello(_: Greeting) -> NodeIntroduction:
        return await node.identify()

    async def answer_stay(_: Greeting) -> AsyncGenerator[NodeIntroduction]:
        yield await node.identify()
        await stopping.wait()

    async def answer_blocks(request: BlocksRequest) -> BlockPage:
        blocks, height = await node.load_blocks(request.first, limits.PAGE_BLOCKS)
        return wire.fill_page(tuple(blocks), height)

    handlers = {
        methods.HELLO.name: calls.unary_handler(methods.HELLO, answer_hello),
        methods.STAY.name: calls.stream_handler(methods.STAY, answer_stay, endless=True),
        methods.REPORT.name: calls.unary_handler(methods.REPORT, node.report),
        methods.PROPOSE.name: calls.unary_handler(methods.PROPOSE, node.vote_on),
        methods.DECIDE.name: calls.unary_handler(methods.DECIDE, node.confirm_block),
        methods.BLOCKS.name: calls.unary_handler(methods.BLOCKS, answer_blocks),
        methods.FORWARD.name: calls.stream_handler(methods.FORWARD, node.forward),
        methods.SERVE.name: calls.stream_handler(methods.SERVE, node.serve),
    }
    return grpc.method_handlers_generic_handler(methods.SERVICE, handlers)
