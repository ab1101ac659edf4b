"""Checks every call of a client before the node answers it, and turns errors into statuses afterwards.

The credential is read from the metadata, and the call is counted against the caller's limit, as at the HTTP
door. The caller must have the tier of the method. A stream takes one of the caller's slots. Every call has
a deadline, whatever the client asks for. A call that ends early ends nothing else: an accepted turn goes
on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import grpc  # type: ignore[import-untyped]

from ccn import errors
from ccn.gateway import limiting
from ccn.gateway.accounts import access
from ccn.gateway.accounts.access import ANYBODY, Caller
from ccn.gateway.accounts.accounts import AccountDesk
from ccn.gateway.grpc import statuses
from ccn.gateway.grpc.slow_callers import STREAM_S, peer_address
from ccn.gateway.limiting import Limiter, LimitVerdict
from ccn.gateway.open_streams import OpenStream, OpenStreams
from ccn.store.accounts.users import Tier

CALL_S = 60.0
"""The longest that a call with a single answer may take."""

_BEARER = "bearer "
_REASON = "ccn-reason"


@dataclass(frozen=True, slots=True)
class ClientMethod:
    """The function that answers a call, and the tier it needs. A generator answers with a stream."""

    tier: Tier
    answer: Callable[[Caller, Any], Awaitable[Any] | AsyncGenerator[Any]]


@dataclass(frozen=True, slots=True)
class _CountedCall:
    """The caller, the verdict of their limit, and the error of their credential, if it has one."""

    caller: Caller
    verdict: LimitVerdict
    refusal: errors.Unauthenticated | None


class ClientCalls:
    """The calls of clients at one node."""

    def __init__(self, limiter: Limiter, accounts: AccountDesk, open_streams: OpenStreams) -> None:
        self._limiter, self._accounts, self._streams = limiter, accounts, open_streams

    def make_service(self, service: Any, methods: Mapping[str, ClientMethod]) -> Any:
        """Make the handlers of a service from its proto description. Every method needs an entry."""
        assert {each.name for each in service.methods} == methods.keys(), service.full_name
        handlers = {
            each.name: (self._stream_handler if each.server_streaming else self._unary_handler)(
                each, methods[each.name]
            )
            for each in service.methods
        }
        return grpc.method_handlers_generic_handler(service.full_name, handlers)

    def _unary_handler(self, descriptor: Any, method: ClientMethod) -> Any:
        async def handle_call(request: Any, context: Any) -> Any:
            try:
                async with asyncio.timeout(_deadline_s(context, CALL_S)):
                    call = await self._count_call(context)
                    await _send_limits(call.verdict, context)
                    answer: Any = method.answer(_let_in(call, method, context), request)
                    return await answer
            except Exception as failed:  # the root of the call: it is answered, and logged
                await statuses.refuse_call(descriptor.full_name, failed, context)
                raise

        return grpc.unary_unary_rpc_method_handler(handle_call, *_message_codecs(descriptor))

    def _stream_handler(self, descriptor: Any, method: ClientMethod) -> Any:
        async def handle_call(request: Any, context: Any) -> None:
            try:
                async with asyncio.timeout(_deadline_s(context, STREAM_S)) as limit:
                    call = await self._count_call(context)
                    try:
                        caller = _let_in(call, method, context)
                        stream = self._streams.open_stream(caller, peer_address(context.peer()))
                    except errors.CCNError:
                        await _send_limits(call.verdict, context)
                        raise
                    with stream:
                        # Answer only now that the stream has its slot. A client that has an answer may
                        # open other streams, and those must not take this slot.
                        await _send_limits(call.verdict, context)
                        stream.ended.add_done_callback(partial(_expire_now, limit))
                        await _write_values(method.answer(caller, request), stream, context)
            except Exception as failed:  # the root of the call: it is answered, and logged
                await statuses.refuse_call(descriptor.full_name, failed, context)
                raise

        return grpc.unary_stream_rpc_method_handler(handle_call, *_message_codecs(descriptor))

    async def _count_call(self, context: Any) -> _CountedCall:
        """Find out who calls and count the call, also if the credential is not valid."""
        credential, address = _read_credential(context), peer_address(context.peer())
        caller, refusal = ANYBODY, None
        try:
            caller = await self._accounts.identify_caller(credential) if credential else ANYBODY
        except errors.Unauthenticated as failed:
            refusal = failed
        verdict = await self._limiter.count_request(limiting.counting_key(caller, address))
        return _CountedCall(caller, verdict, refusal)


def _let_in(call: _CountedCall, method: ClientMethod, context: Any) -> Caller:
    """Return the caller with the reason they give, or raise why they are refused."""
    if not call.verdict.allowed:
        limit, wait_s = call.verdict.limit, call.verdict.reset_s
        raise errors.TooManyRequests(f"more than {limit} requests; wait for {wait_s} s", wait_s)
    if call.refusal is not None:
        raise call.refusal
    caller = call.caller
    if reason := _read_reason(context):
        caller = replace(caller, reason=access.clean_reason(reason))
    return access.require_tier(caller, method.tier)


async def _send_limits(verdict: LimitVerdict, context: Any) -> None:
    """Send the client what its limit leaves, in the initial metadata."""
    limits = {"limit": verdict.limit, "remaining": verdict.remaining, "reset": verdict.reset_s}
    await context.send_initial_metadata(
        tuple((f"x-ratelimit-{name}", str(value)) for name, value in limits.items())
    )


async def _write_values(answer: Any, stream: OpenStream, context: Any) -> None:
    """Send the values as they come, until the stream has to end."""
    try:
        async with aclosing(answer) as values:
            async for value in values:
                await context.write(value)
    except asyncio.CancelledError:
        if stream.ended.done() and (reason := stream.ended.exception()) is not None:
            raise reason from None
        raise


def _expire_now(limit: asyncio.Timeout, _: object) -> None:
    limit.reschedule(0.0)


def _message_codecs(descriptor: Any) -> tuple[Any, Any]:
    """The functions that read a request and write an answer."""
    request, answer = descriptor.input_type._concrete_class, descriptor.output_type._concrete_class  # noqa: SLF001 - as protobuf's own services do
    return request.FromString, answer.SerializeToString


def _deadline_s(context: Any, longest_s: float) -> float:
    remaining: float | None = context.time_remaining()
    return longest_s if remaining is None else min(remaining, longest_s)


def _read_credential(context: Any) -> str:
    """Read a token or an API key from the same fields as the HTTP door; empty if there is none."""
    metadata = {name: value for name, value in context.invocation_metadata() if isinstance(value, str)}
    authorization = metadata.get("authorization", "")
    if authorization[: len(_BEARER)].lower() == _BEARER:
        return authorization[len(_BEARER) :].strip()
    return metadata.get("x-api-key", "")


def _read_reason(context: Any) -> str:
    """Read the reason of an admin. The field with -bin is in UTF-8, for letters that ASCII lacks."""
    metadata = dict(context.invocation_metadata())
    return str(metadata.get(_REASON) or metadata.get(f"{_REASON}-bin", b"").decode(errors="replace"))
