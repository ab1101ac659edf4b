"""Calling a method at the node that hosts an instance, and answering such calls: JSON in opaque frames.

Each node has a table of methods. A method yields values, which arrive one by one. An error arrives as the
same error. Separate from the methods, which need not know on which node their caller is.
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
    """Calls methods at other nodes, and answers their calls. Without peers it can call no node."""

    def __init__(self, node: NodeId, peers: PeerClient | None) -> None:
        self.node = node
        self.methods: dict[str, Method] = {}
        self._peers = peers

    async def stream_values(
        self, host: NodeId, instance: InstanceId, method: str, body: Body, within_s: float
    ) -> AsyncGenerator[Any]:
        """Yield the values with which the host answers, as they come."""
        if self._peers is None:
            raise errors.PeerUnavailable("this node knows no other nodes")
        request = ForwardedRequest(self.node, instance, method, orjson.dumps(body))
        async with aclosing(self._peers.find_peer(host).forward(request, within_s)) as frames:
            async for frame in frames:
                yield _parse_frame(host, frame)

    async def ask_host(
        self, host: NodeId, instance: InstanceId, method: str, body: Body, within_s: float
    ) -> Any:
        """Return the last value of the answer, or None if there is none."""
        last = None
        async with aclosing(self.stream_values(host, instance, method, body, within_s)) as values:
            async for value in values:
                last = value
        return last

    async def answer_request(self, request: ForwardedRequest) -> AsyncGenerator[bytes]:
        """Answer a request that another node forwards."""
        method = self.methods.get(request.method)
        if method is None:
            raise errors.InputInvalid(f"this node has no method {request.method!r}")
        async with aclosing(method(_parse_body(request.body))) as values:
            async for value in values:
                yield orjson.dumps(value)


def _parse_frame(host: NodeId, frame: bytes) -> Any:
    try:
        return orjson.loads(frame)
    except orjson.JSONDecodeError:
        raise errors.PeerRefused(f"{host} sent an answer that is not JSON") from None


def _parse_body(data: bytes) -> Body:
    try:
        body = orjson.loads(data)
    except orjson.JSONDecodeError:
        raise errors.InputInvalid("the body of a forwarded request must be JSON") from None
    if not isinstance(body, dict):
        raise errors.InputInvalid("the body of a forwarded request must be an object")
    return body
