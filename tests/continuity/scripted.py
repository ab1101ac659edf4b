"""Nodes that answer what a test tells them to, over real gRPC: they fail, fall silent or die."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from types import MappingProxyType
from typing import Any
from uuid import UUID

import grpc  # type: ignore[import-untyped]
import grpc.aio  # type: ignore[import-untyped]

from ccn.pb import instances_pb2 as pb

CONVERSATION = UUID("01900000-0000-7000-8000-0000000000cc")
BEGUN = pb.BeginAnswer(conversation=pb.Conversation(id=str(CONVERSATION)))
KNOWN = pb.GetAnswer(conversation=pb.Conversation(id=str(CONVERSATION)))

_REQUESTS: Mapping[str, Any] = MappingProxyType(
    {
        "Begin": pb.BeginRequest,
        "Get": pb.GetRequest,
        "Record": pb.RecordRequest,
        "Converse": pb.ConverseRequest,
        "Follow": pb.FollowRequest,
    }
)
_STREAMS = frozenset({"Converse", "Follow"})

Answer = Callable[[Any, Any], Any]
"""From the request and gRPC's context: a coroutine of the answer, or a generator of events."""


class ScriptedNode(grpc.GenericRpcHandler):  # type: ignore[misc]
    """One node. `answers` has, by the name of each call, what it does; `requests` what it was asked."""

    def __init__(self, **answers: Answer) -> None:
        self.answers = {"Get": answer_with(KNOWN), "Begin": answer_with(BEGUN)} | answers
        self.requests: list[Any] = []
        self.target = ""
        self._asked = asyncio.Event()
        self._dying: asyncio.Task[None] | None = None
        self._server: Any = grpc.aio.server()
        self._server.add_generic_rpc_handlers((self,))

    def service(self, details: Any) -> Any:
        """Find the handler of a call, as gRPC asks for it."""
        name = details.method.rpartition("/")[2]
        request_of, bytes_of = _REQUESTS[name].FromString, lambda message: message.SerializeToString()
        if name in _STREAMS:
            return grpc.unary_stream_rpc_method_handler(partial(self._stream, name), request_of, bytes_of)
        return grpc.unary_unary_rpc_method_handler(partial(self._answer, name), request_of, bytes_of)

    async def wait_until_asked(self) -> None:
        """Return when the first request has arrived."""
        await asyncio.wait_for(self._asked.wait(), 30)

    async def die(self) -> None:
        """End every connection without a word to those who wait."""
        await self._begin_to_die()

    async def die_now(self) -> None:
        """Do the same from within an answer, which never goes on."""
        self._begin_to_die()
        await asyncio.Event().wait()

    def _begin_to_die(self) -> asyncio.Task[None]:
        if self._dying is None:
            self._dying = asyncio.ensure_future(self._server.stop(None))
        return self._dying

    async def start(self) -> None:
        port = self._server.add_insecure_port("127.0.0.1:0")
        self.target = f"127.0.0.1:{port}"
        await self._server.start()

    async def _answer(self, name: str, request: Any, context: Any) -> Any:
        self._note(request)
        return await self.answers[name](request, context)

    async def _stream(self, name: str, request: Any, context: Any) -> AsyncIterator[Any]:
        self._note(request)
        async for event in self.answers[name](request, context):
            yield event

    def _note(self, request: Any) -> None:
        self.requests.append(request)
        self._asked.set()


@asynccontextmanager
async def run_nodes(*nodes: ScriptedNode) -> AsyncIterator[str]:
    """Start the nodes; yields their addresses with commas between."""
    async with AsyncExitStack() as stack:
        for node in nodes:
            await node.start()
            stack.push_async_callback(node.die)
        yield ",".join(node.target for node in nodes)


def answer_with(message: Any) -> Answer:
    """Answer every request alike."""

    async def answer(_request: Any, _context: Any) -> Any:
        return message

    return answer


def refuse_with(status: grpc.StatusCode, words: str, **metadata: str) -> Answer:
    """Refuse every request with a status, and what else stands in the trailing metadata."""

    async def refuse(_request: Any, context: Any) -> Any:
        trailing = tuple((name.replace("_", "-"), value) for name, value in metadata.items())
        await context.abort(status, words, trailing)

    return refuse


async def stay_silent(_request: Any, _context: Any) -> Any:
    """Take a request and never answer it."""
    await asyncio.Event().wait()


def stream_events(*events: pb.Event, then: Callable[[], Awaitable[object]] | None = None) -> Answer:
    """Stream these events; `then` comes before the end."""

    async def stream(_request: Any, _context: Any) -> AsyncIterator[pb.Event]:
        for event in events:
            yield event
        if then is not None:
            await then()

    return stream
