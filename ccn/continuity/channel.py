"""The way to a cluster: one connection for each node, and the next node when one does not answer."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator, Callable
from typing import Any

import grpc  # type: ignore[import-untyped]
import grpc.aio  # type: ignore[import-untyped]

from ccn import errors
from ccn.continuity import failure
from ccn.pb import instances_pb2_grpc

PATIENCE_S = 60.0
"""How long a call is tried while nodes die and come back."""
CALL_S = 45.0
"""How long one node may take for one answer: spawning waits for the interview."""
_CONNECT_S = 2.0
_AGAIN_S = 0.2
# A node that died is left at once, and one that is gone without a word within a minute.
_OPTIONS = (
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.http2.ping_timeout_ms", 5_000),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_receive_message_length", 16 << 20),
)


class NodeChannel:
    """One node: a channel, and the calls that can be made over it."""

    def __init__(self, target: str, shown: grpc.ChannelCredentials | None) -> None:
        self.target = target
        self.channel: Any = (
            grpc.aio.insecure_channel(target, options=_OPTIONS)
            if shown is None
            else grpc.aio.secure_channel(target, shown, options=_OPTIONS)
        )
        self.instances = instances_pb2_grpc.InstancesStub(self.channel)
        self.continuity = instances_pb2_grpc.ContinuityStub(self.channel)

    async def connect(self) -> None:
        """Return when the connection stands; a node that is not there is not waited for."""
        try:
            async with asyncio.timeout(_CONNECT_S):
                while (state := self.channel.get_state(True)) is not grpc.ChannelConnectivity.READY:
                    if state is grpc.ChannelConnectivity.TRANSIENT_FAILURE:
                        raise errors.Unavailable(f"no connection to {self.target}")
                    await self.channel.wait_for_state_change(state)
        except TimeoutError:
            raise errors.Unavailable(f"no connection to {self.target} within {_CONNECT_S:g} s") from None


class ClusterChannel:
    """All nodes that were named; calls go to the one that answered last."""

    def __init__(
        self,
        targets: tuple[str, ...],
        api_key: str,
        shown: grpc.ChannelCredentials | None,
        patience_s: float,
    ) -> None:
        self._patience_s = patience_s
        self._nodes = [NodeChannel(target, shown) for target in targets]
        self._metadata = (("x-api-key", api_key),)
        self._at = 0

    async def close(self) -> None:
        """End the connections."""
        await asyncio.gather(*(node.channel.close() for node in self._nodes))

    async def ask_once(self, method: Callable[[NodeChannel], Any], asked: Any) -> Any:
        """One answer, from whichever node gives it first. What is asked can be asked twice."""
        trying = _TryDeadline(self._patience_s)
        while True:
            node = self._nodes[self._at]
            try:
                await node.connect()
                with failure.translate_errors():
                    return await method(node)(asked, timeout=CALL_S, metadata=self._metadata)
            except errors.CCNError as failed:
                await self._turn_to_next(failed, trying)

    async def read_stream(
        self, ask: Callable[[], tuple[Callable[[NodeChannel], Any], Any]]
    ) -> AsyncGenerator[Any]:
        """A stream, continued by what `ask` says then whenever it breaks."""
        trying = _TryDeadline(self._patience_s)
        while True:
            node = self._nodes[self._at]
            method, asked = ask()
            try:
                await node.connect()
                call = method(node)(asked, metadata=self._metadata)
                try:
                    with failure.translate_errors():
                        async for value in call:
                            trying = _TryDeadline(self._patience_s)
                            yield value
                    return
                finally:
                    call.cancel()
            except errors.CCNError as failed:
                await self._turn_to_next(failed, trying)

    async def _turn_to_next(self, failed: errors.CCNError, trying: _TryDeadline) -> None:
        """Turn to the next node, if that may help and there is time."""
        if type(failed) not in failure.ELSEWHERE or trying.is_over():
            raise failed
        self._at = (self._at + 1) % len(self._nodes)
        await asyncio.sleep(_AGAIN_S)


class _TryDeadline:
    """How long something has been tried since it last went well."""

    def __init__(self, patience_s: float) -> None:
        self._until = asyncio.get_running_loop().time() + patience_s

    def is_over(self) -> bool:
        return asyncio.get_running_loop().time() > self._until


def new_idempotency_key() -> str:
    """An idempotency key for whatever is written without one."""
    return uuid.uuid4().hex
