"""One other node as this one reaches it: a channel, and the calls that can be made over it.

Separate from the client, which knows all of them. Every call but `stay` has a deadline. It returns a
value that speaks for the node that was asked, or raises an error that says what is wrong with that node.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, TypeVar

import grpc  # type: ignore[import-untyped]
import grpc.aio  # type: ignore[import-untyped]

from ccn import errors
from ccn.certificates import identity
from ccn.certificates.identity import TlsIdentity
from ccn.core.chain.report import Report
from ccn.core.identity import address as core_address
from ccn.core.ids import NodeId
from ccn.core.ledger import note
from ccn.core.ledger.signed import Signed
from ccn.core.rounds.ballot import Vote
from ccn.core.rounds.refusal import Refusal
from ccn.peers import failure, methods
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
from ccn.peers.methods import PeerMethod

CONNECT_S = 2.0
KEEPALIVE_MS = 2_000

Q = TypeVar("Q")
A = TypeVar("A")
S = TypeVar("S", NodeIntroduction, Report, Vote)

# gRPC's own back-off grows to two minutes, and a node is back in a second, so reconnecting is bounded.
# Proxies and service configurations found in the environment or in DNS must not change whom we talk to.
# The caller decides whether something is asked again. Keepalive notices silence also without any call.
_OPTIONS = (
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.keepalive_time_ms", KEEPALIVE_MS),
    # Measured with gRPC 1.85: it does not heed keepalive_timeout_ms, and a frozen peer stays for a minute.
    ("grpc.http2.ping_timeout_ms", 2_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.enable_http_proxy", 0),
    ("grpc.enable_retries", 0),
    ("grpc.service_config_disable_resolution", 1),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_receive_message_length", methods.ANSWERED_LIMIT),
)


class Peer:
    """A node, where it listens, and the connection to it, which comes back by itself."""

    def __init__(self, node: NodeId, address: str, own: NodeId, shown: TlsIdentity | None) -> None:
        self.node = node
        self.address = address
        self.closed = False
        self._own = own
        self._channel: Any = _open_channel(node, address, shown)

    async def hello(self, within_s: float) -> NodeIntroduction:
        """Ask who listens at the address."""
        return self._check_speaker(await self._call_method(methods.HELLO, Greeting(self._own), within_s))

    async def report(self, request: ReportRequest, within_s: float) -> Signed[Report] | Refusal:
        """Ask for its report for a round."""
        answer = await self._call_method(methods.REPORT, request, within_s)
        if isinstance(answer, Signed):
            self._check_speaker(answer.statement)
        return answer

    async def propose(self, proposal: bytes, within_s: float) -> Signed[Vote] | Refusal:
        """Ask for its vote on a proposal, which the client has encoded once for all."""
        answer = await self._call_with_bytes(methods.PROPOSE, proposal, within_s)
        if isinstance(answer, Signed):
            self._check_speaker(answer.statement)
        return answer

    async def decide(self, notice: CommitNotice, within_s: float) -> note.Signature | Refusal:
        """Ask for its cosignature, which it gives once it has read the block back."""
        return await self._call_method(methods.DECIDE, notice, within_s)

    async def fetch_blocks(self, first: int, within_s: float) -> BlockPage:
        """Ask for a page of the blocks from this height on."""
        page = await self._call_method(methods.BLOCKS, BlocksRequest(self._own, first), within_s)
        if page.blocks and page.blocks[0].header.height != first:
            raise errors.PeerRefused(f"{self.node} was asked for block {first} and shows another")
        return page

    async def forward(self, request: ForwardedRequest, within_s: float) -> AsyncGenerator[bytes]:
        """Yield the frames of the host's answer.

        Raises `OutcomeUnknown` if they end before the host says so.
        """
        async with aclosing(self._stream_frames(methods.FORWARD, request, within_s)) as frames:
            async for frame in frames:
                yield frame

    async def serve(self, question: GatewayQuestion, within_s: float) -> AsyncGenerator[bytes]:
        """Yield the frames of a voter's answer to this gateway.

        Raises `OutcomeUnknown` if they end before the voter says so.
        """
        async with aclosing(self._stream_frames(methods.SERVE, question, within_s)) as frames:
            async for frame in frames:
                yield frame

    async def _stream_frames(
        self, method: PeerMethod[Q, bytes], request: Q, within_s: float
    ) -> AsyncGenerator[bytes]:
        data = method.asked.encode(request)
        await self._wait_connected(min(CONNECT_S, within_s))
        call = self._open_stream(method, data, within_s)
        try:
            with failure.translate_forwarded(self.node):
                async for frame in call:
                    with failure.require_readable(self.node):
                        body = method.answered.decode(frame)
                    yield body
        finally:
            call.cancel()

    async def stay(self) -> AsyncGenerator[NodeIntroduction]:
        """Yield who is there as soon as it is, and go on until the connection breaks.

        The only call without a deadline: gRPC's keepalive watches over it.
        """
        call = self._open_stream(methods.STAY, methods.STAY.asked.encode(Greeting(self._own)), None)
        try:
            with failure.translate_errors(self.node):
                async for frame in call:
                    with failure.require_readable(self.node):
                        introduction = self._check_speaker(methods.STAY.answered.decode(frame))
                    yield introduction
        finally:
            call.cancel()

    async def close(self, grace_s: float | None = None) -> None:
        """End the connection. Calls that use it have `grace_s` to end by themselves."""
        self.closed = True
        await self._channel.close(grace_s)

    async def _call_method(self, method: PeerMethod[Q, A], request: Q, within_s: float) -> A:
        return await self._call_with_bytes(method, method.asked.encode(request), within_s)

    async def _call_with_bytes(self, method: PeerMethod[Q, A], data: bytes, within_s: float) -> A:
        call = self._channel.unary_unary(method.path)
        with failure.translate_errors(self.node):
            answer: bytes = await call(data, timeout=within_s)
        with failure.require_readable(self.node):
            return method.answered.decode(answer)

    def _open_stream(self, method: PeerMethod[Q, A], data: bytes, within_s: float | None) -> Any:
        return self._channel.unary_stream(method.path)(data, timeout=within_s)

    async def _wait_connected(self, within_s: float) -> None:
        """Wait for the connection, so that a request that could not leave was certainly not executed."""
        with failure.translate_errors(self.node):
            try:
                async with asyncio.timeout(within_s):
                    await self._wait_until_ready()
            except TimeoutError:
                raise errors.PeerUnavailable(f"{self.node}: no connection to {self.address}") from None

    async def _wait_until_ready(self) -> None:
        while (state := self._channel.get_state(try_to_connect=True)) != grpc.ChannelConnectivity.READY:
            if state == grpc.ChannelConnectivity.TRANSIENT_FAILURE:
                raise errors.PeerUnavailable(f"{self.node}: no connection to {self.address}")
            await self._channel.wait_for_state_change(state)

    def _check_speaker(self, answer: S) -> S:
        if answer.node != self.node:
            raise errors.PeerRefused(f"{answer.node} answers at {self.address}, not {self.node}")
        return answer


def is_loopback(address: str) -> bool:
    """Whether host or host:port stays on this machine."""
    has_port = address.count(":") == 1 or "]" in address
    return core_address.is_loopback(address.rpartition(":")[0] if has_port else address)


def _open_channel(node: NodeId, address: str, shown: TlsIdentity | None) -> Any:
    if "://" in address or ":" not in address:
        raise errors.SettingsInvalid(
            f"the address {address!r} of {node} must be host:port, without a scheme"
        )
    if shown is not None:
        options = (*_OPTIONS, ("grpc.ssl_target_name_override", identity.server_name(node)))
        credentials = grpc.ssl_channel_credentials(shown.ca, shown.key, shown.certificate)
        return grpc.aio.secure_channel(address, credentials, options=options)
    if not is_loopback(address):
        raise errors.SettingsInvalid(f"{node} is at {address}: beyond this machine nodes need certificates")
    return grpc.aio.insecure_channel(address, options=_OPTIONS)
