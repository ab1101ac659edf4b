"""Limits how long a call may wait for its message, and the library's own streams by address.

The library waits for a message for ever, and such a call takes one of the slots that all callers share. So
every method is registered as one that reads many messages, which looks the same on the wire. It then waits
for the first message for a limited time. Health and reflection ask for no credential, so their streams are
limited by address.
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
"""The longest that one stream may last. A client that needs more opens another one."""
PATIENCE_S = 15.0
_ADDRESS_LIMIT = 100
_LIBRARY_PREFIX = "/grpc."
_AT_ONCE = "streams of your address are open at this node: end one of them first"

Handle = Callable[[Any, Any], Awaitable[Any]]


class SlowCallers(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """Wraps every method of a server."""

    def __init__(self, patience_s: float = PATIENCE_S, address_limit: int = _ADDRESS_LIMIT) -> None:
        self._patience_s = patience_s
        self._per_address = ConcurrencyLimit(address_limit, 0, errors.TooManyStreams, _AT_ONCE)
        self._handlers = dict[str, Any]()

    async def intercept_service(self, continuation: Any, details: Any) -> Any:
        """Wrap the handler of the method that was called. Each method is wrapped once."""
        method: str = details.method
        if (wrapped := self._handlers.get(method)) is None:
            handler = await continuation(details)
            if handler is None:
                return None
            wrapped = self._handlers[method] = self._wrap_handler(method, handler)
        return wrapped

    def _wrap_handler(self, method: str, handler: Any) -> Any:
        codecs = handler.request_deserializer, handler.response_serializer
        if handler.request_streaming:
            return grpc.stream_stream_rpc_method_handler(
                self._limit_streams(
                    method,
                    lambda messages, context: _write_answers(handler.stream_stream, messages, context),
                ),
                *codecs,
            )
        if not handler.response_streaming:
            return grpc.stream_unary_rpc_method_handler(self._await_message(handler.unary_unary), *codecs)
        handle = self._await_message(handler.unary_stream)
        if method.startswith(_LIBRARY_PREFIX):
            handle = self._limit_streams(method, handle)
        return grpc.stream_stream_rpc_method_handler(handle, *codecs)

    def _await_message(self, answer: Handle) -> Handle:
        async def handle_call(messages: Any, context: Any) -> Any:
            return await answer(await self._first_message(messages, context), context)

        return handle_call

    async def _first_message(self, messages: Any, context: Any) -> Any:
        try:
            async with asyncio.timeout(self._patience_s):
                return await anext(messages)
        except TimeoutError:
            text = f"no message came within {self._patience_s:g} s"
            await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, text)
        except StopAsyncIteration:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "a call has a message")

    def _limit_streams(self, method: str, answer: Handle) -> Handle:
        async def handle_call(messages: Any, context: Any) -> None:
            try:
                with self._take_slot(limiting.normalise_address(peer_address(context.peer()))):
                    async with asyncio.timeout(STREAM_S):
                        await answer(messages, context)
            except (errors.TooManyStreams, TimeoutError) as ended:
                await statuses.refuse_call(method, ended, context)

        return handle_call

    @contextlib.contextmanager
    def _take_slot(self, address: str) -> Iterator[None]:
        slot = self._per_address.take_slot_now(address)
        try:
            yield
        finally:
            slot.leave()


def peer_address(peer: str) -> str:
    """Read the address from gRPC's name of the other end: ipv4:1.2.3.4:5, ipv6:%5B::1%5D:5."""
    return unquote(peer).partition(":")[2].rpartition(":")[0].strip("[]")


async def _write_answers(answer: Any, messages: Any, context: Any) -> None:
    async for value in answer(messages, context):
        await context.write(value)
