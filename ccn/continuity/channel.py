"""The way to a cluster: one connection for each node, and the next node when one does not answer.

Separate from `conversation`, which knows what is asked. This module decides where, how often, and when to
stop. Whatever is asked here can be asked twice: what is written carries an idempotency key.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import Any

import grpc  # type: ignore[import-untyped]
import grpc.aio  # type: ignore[import-untyped]

from ccn import errors
from ccn.certificates import trust
from ccn.continuity import failure
from ccn.pb import instances_pb2_grpc

PATIENCE_S = 60.0
"""How long a call is tried while nodes die and come back."""
CALL_S = 45.0
"""How long one node may take for one answer: spawning waits for the interview."""
_CONNECT_S = 2.0
_PAUSE_S = 0.2
# The client leaves a node that died at once, and one that is gone without a word within a minute.
_OPTIONS = (
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.http2.ping_timeout_ms", 5_000),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_receive_message_length", 16 << 20),
)


@dataclass(frozen=True, slots=True)
class ClientTls:
    """Whom to trust over TLS."""

    ca: bytes | None
    """PEM; without it, the authorities that gRPC brings along."""


class NodeChannel:
    """A connection to one node, and the calls that can be made over it."""

    def __init__(self, target: str, tls: ClientTls | None) -> None:
        self.target = target
        self._tls = tls
        self.channel: Any = (
            grpc.aio.insecure_channel(target, options=_OPTIONS)
            if tls is None
            else grpc.aio.secure_channel(target, grpc.ssl_channel_credentials(tls.ca), options=_OPTIONS)
        )
        self.instances = instances_pb2_grpc.InstancesStub(self.channel)
        self.continuity = instances_pb2_grpc.ContinuityStub(self.channel)

    async def connect(self) -> None:
        """Return when the connection stands; do not wait for a node that is not there."""
        with failure.translate_errors():
            try:
                async with asyncio.timeout(_CONNECT_S):
                    await self._wait_until_ready()
            except TimeoutError:
                raise errors.Unavailable(
                    f"no connection to {self.target} within {_CONNECT_S:g} s"
                ) from None

    async def _wait_until_ready(self) -> None:
        while (state := self.channel.get_state(True)) is not grpc.ChannelConnectivity.READY:
            if state is grpc.ChannelConnectivity.TRANSIENT_FAILURE:
                raise errors.Unavailable(f"no connection to {self.target}{await self._find_reason()}")
            await self.channel.wait_for_state_change(state)

    async def _find_reason(self) -> str:
        """Say why the certificate was not trusted, if that is why; gRPC only says that nothing is there."""
        if self._tls is None:
            return ""
        host, _, port = self.target.rpartition(":")
        reason = await asyncio.to_thread(
            trust.find_reason, host.strip("[]"), int(port), self._tls.ca, _CONNECT_S / 2
        )
        return f": {reason}" if reason else ""


Method = Callable[[NodeChannel], Any]
"""Chooses, of the calls that can be made over a connection, the one to make."""


class ClusterChannel:
    """Connections to all nodes that were named. Calls go to the node that answered last."""

    def __init__(
        self,
        targets: tuple[str, ...],
        api_key: str,
        tls: ClientTls | None,
        patience_s: float,
    ) -> None:
        self._patience_s = patience_s
        self._nodes = [NodeChannel(target, tls) for target in targets]
        self._metadata = (("x-api-key", api_key),)
        self._current = 0
        self._is_closed = False

    async def close(self) -> None:
        """End the connections, and the calls that use them."""
        self._is_closed = True
        await asyncio.gather(*(node.channel.close() for node in self._nodes))

    async def ask_once(self, method: Method, request: Any) -> Any:
        """Return one answer, from whichever node gives it first."""
        deadline = _TryDeadline(self._patience_s)
        while True:
            node = self._nodes[self._current]
            try:
                await node.connect()
                with failure.translate_errors():
                    return await method(node)(request, timeout=CALL_S, metadata=self._metadata)
            except errors.CCNError as failed:
                await self._turn_to_next(failed, deadline)

    async def read_stream(self, next_call: Callable[[], tuple[Method, Any]]) -> AsyncGenerator[Any]:
        """Yield what a stream brings. Whenever it breaks, `next_call` tells how it goes on."""
        deadline = _TryDeadline(self._patience_s)
        while True:
            node = self._nodes[self._current]
            method, request = next_call()
            try:
                await node.connect()
                call = method(node)(request, metadata=self._metadata)
                try:
                    with failure.translate_errors():
                        async for value in call:
                            deadline = _TryDeadline(self._patience_s)
                            yield value
                    return
                finally:
                    call.cancel()
            except errors.CCNError as failed:
                await self._turn_to_next(failed, deadline)

    async def _turn_to_next(self, failed: errors.CCNError, deadline: _TryDeadline) -> None:
        """Turn to the next node if that may help and there is time; else raise what failed."""
        if self._is_closed or type(failed) not in failure.ELSEWHERE or deadline.is_over():
            raise failed
        self._current = (self._current + 1) % len(self._nodes)
        await asyncio.sleep(_PAUSE_S)


class _TryDeadline:
    """Until when something is tried, counted from when it last went well."""

    def __init__(self, patience_s: float) -> None:
        self._until = asyncio.get_running_loop().time() + patience_s

    def is_over(self) -> bool:
        return asyncio.get_running_loop().time() > self._until


def new_idempotency_key() -> str:
    """Make a key for a write that came without one, so that it can be asked twice."""
    return uuid.uuid4().hex
