"""Asking the node that hosts an instance, and answering when others ask: JSON inside of opaque frames.

What may be asked is a table of methods; each yields values, which arrive one by one. Errors arrive as what
they were. Separate from what is asked, so that neither knows the other's node from its own.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import Any

import orjson

from ccn import errors
from ccn.core.ids import InstanceId, NodeId
from ccn.peers.client import PeerClient
from ccn.peers.exchange import ForwardedRequest

Body = Mapping[str, Any]
Method = Callable[[Body], AsyncGenerator[object]]


class Forwarding:
    """Both ends of what one node forwards to another. Without peers there is nobody to ask."""

    def __init__(self, node: NodeId, peers: PeerClient | None) -> None:
        self.node = node
        self.methods: dict[str, Method] = {}
        self._peers = peers

    async def stream_values(
        self, host: NodeId, instance: InstanceId, method: str, body: Body, within_s: float
    ) -> AsyncGenerator[Any]:
        """The values with which the host answers, as they come."""
        if self._peers is None:
            raise errors.PeerUnavailable("this node knows no others")
        asked = ForwardedRequest(self.node, instance, method, orjson.dumps(body))
        async with aclosing(self._peers.find_peer(host).forward(asked, within_s)) as frames:
            async for frame in frames:
                yield _parse_frame(host, frame)

    async def ask_host(
        self, host: NodeId, instance: InstanceId, method: str, body: Body, within_s: float
    ) -> Any:
        """The last value of an answer; None if there is none."""
        told = None
        async with aclosing(self.stream_values(host, instance, method, body, within_s)) as values:
            async for value in values:
                told = value
        return told

    async def answer_request(self, request: ForwardedRequest) -> AsyncGenerator[bytes]:
        """What this node says to a request that another forwards."""
        method = self.methods.get(request.method)
        if method is None:
            raise errors.InputInvalid(f"nobody answers to {request.method!r} here")
        async with aclosing(method(_parse_body(request.body))) as values:
            async for value in values:
                yield orjson.dumps(value)


def _parse_frame(host: NodeId, frame: bytes) -> Any:
    try:
        return orjson.loads(frame)
    except orjson.JSONDecodeError:
        raise errors.PeerRefused(f"{host} answered what cannot be read") from None


def _parse_body(data: bytes) -> Body:
    try:
        body = orjson.loads(data)
    except orjson.JSONDecodeError:
        raise errors.InputInvalid("the body of a forwarded request is JSON") from None
    if not isinstance(body, dict):
        raise errors.InputInvalid("the body of a forwarded request is an object")
    return body
