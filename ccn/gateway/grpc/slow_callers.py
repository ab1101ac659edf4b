"""How long a call may wait for its message, and how many streams an address has of what asks nobody's name.

The library waits for a message for ever, and such a call takes one of the places that there are for all. So
every method here reads its message as if there could be many, which looks the same on the wire, and waits
for the first one only so long.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from typing import Any
from urllib.parse import unquote

import grpc  # type: ignore[import-untyped]
import grpc.aio  # type: ignore[import-untyped]

from ccn import errors
from ccn.gateway import limiting
from ccn.gateway.grpc import statuses
from ccn.node.spending.concurrency import ConcurrencyLimit

STREAM_S = 3_600.0
"""The longest that one stream may last; whoever wants more continues with another."""
PATIENCE_S = 15.0
_OF_ONE = 100
_LIBRARYS = "/grpc."
_AT_ONCE = "streams of your address are open at this node: end one of them first"

Handle = Callable[[Any, Any], Awaitable[Any]]


class SlowCallers(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """Stands before every method of a server."""

    def __init__(self, patience_s: float = PATIENCE_S, of_one: int = _OF_ONE) -> None:
        self._patience_s = patience_s
        self._of_one = ConcurrencyLimit(of_one, 0, errors.TooManyStreams, _AT_ONCE)
        self._known = dict[str, Any]()

    async def intercept_service(self, continuation: Any, details: Any) -> Any:
        """The method that was called, made patient; each is made so once."""
        method: str = details.method
        if (known := self._known.get(method)) is None:
            found = await continuation(details)
            if found is None:
                return None
            known = self._known[method] = self._wrap_handler(method, found)
        return known

    def _wrap_handler(self, method: str, found: Any) -> Any:
        coded = found.request_deserializer, found.response_serializer
        if found.request_streaming:
            return grpc.stream_stream_rpc_method_handler(
                self._limit_streams(
                    method, lambda asked, context: _write_answers(found.stream_stream, asked, context)
                ),
                *coded,
            )
        if not found.response_streaming:
            return grpc.stream_unary_rpc_method_handler(self._await_message(found.unary_unary), *coded)
        handle = self._await_message(found.unary_stream)
        if method.startswith(_LIBRARYS):
            handle = self._limit_streams(method, handle)
        return grpc.stream_stream_rpc_method_handler(handle, *coded)

    def _await_message(self, answer: Handle) -> Handle:
        async def handle_call(messages: Any, context: Any) -> Any:
            return await answer(await self._first_message(messages, context), context)

        return handle_call

    async def _first_message(self, messages: Any, context: Any) -> Any:
        try:
            async with asyncio.timeout(self._patience_s):
                return await anext(messages)
        except TimeoutError:
            said = f"no message came within {self._patience_s:g} s"
            await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, said)
        except StopAsyncIteration:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "a call has a message")

    def _limit_streams(self, method: str, answer: Handle) -> Handle:
        async def handle_call(messages: Any, context: Any) -> None:
            try:
                with self._take_place(limiting.normalise_address(peer_address(context.peer()))):
                    async with asyncio.timeout(STREAM_S):
                        await answer(messages, context)
            except (errors.TooManyStreams, TimeoutError) as ended:
                await statuses.refuse_call(method, ended, context)

        return handle_call

    @contextlib.contextmanager
    def _take_place(self, whose: str) -> Iterator[None]:
        place = self._of_one.take_slot_now(whose)
        try:
            yield
        finally:
            place.leave()


def peer_address(peer: str) -> str:
    """The address in how gRPC names the other end: ipv4:1.2.3.4:5, ipv6:%5B::1%5D:5."""
    return unquote(peer).partition(":")[2].rpartition(":")[0].strip("[]")


async def _write_answers(answers: Any, asked: Any, context: Any) -> None:
    async for each in answers(asked, context):
        await context.write(each)
