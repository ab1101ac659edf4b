"""What every call of a client goes through before a node hears of it, and on its way back.

The credential is read from the metadata and counted against its limit, as at the HTTP door; the tier must
be the method's; nobody has more streams open than agreed; whatever the client says, a call has a deadline.
A call that ends early ends nothing but itself: what was accepted goes on.
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
from ccn.gateway.accounts.accounts import Accounts
from ccn.gateway.grpc import statuses
from ccn.gateway.grpc.slow_callers import STREAM_S, peer_address
from ccn.gateway.limiting import Limiter, LimitVerdict
from ccn.gateway.open_streams import OpenStream, OpenStreams
from ccn.store.accounts.users import Tier

CALL_S = 60.0
"""The longest that a single answer may take."""

_BEARER = "bearer "
_REASON = "ccn-reason"


@dataclass(frozen=True, slots=True)
class ClientMethod:
    """What answers a call, and whose calls: a value for one answer, a generator for a stream."""

    tier: Tier
    answer: Callable[[Caller, Any], Awaitable[Any] | AsyncGenerator[Any]]


@dataclass(frozen=True, slots=True)
class _CountedCall:
    """Who calls, what their limit leaves them, and what is wrong with their credential, if anything is."""

    caller: Caller
    verdict: LimitVerdict
    refusal: errors.Unauthenticated | None


class ClientCalls:
    """The calls of clients at one node."""

    def __init__(self, limiter: Limiter, accounts: Accounts, open_streams: OpenStreams) -> None:
        self._limiter, self._accounts, self._streams = limiter, accounts, open_streams

    def make_service(self, described: Any, methods: Mapping[str, ClientMethod]) -> Any:
        """Handlers for a service as its proto file describes it; every method needs one."""
        assert {each.name for each in described.methods} == methods.keys(), described.full_name
        answering = {
            each.name: (self._stream_handler if each.server_streaming else self._unary_handler)(
                each, methods[each.name]
            )
            for each in described.methods
        }
        return grpc.method_handlers_generic_handler(described.full_name, answering)

    def _unary_handler(self, described: Any, method: ClientMethod) -> Any:
        async def handle_call(asked: Any, context: Any) -> Any:
            try:
                async with asyncio.timeout(_deadline_s(context, CALL_S)):
                    call = await self._count_call(context)
                    await _send_limits(call.verdict, context)
                    answer: Any = method.answer(_let_in(call, method, context), asked)
                    return await answer
            except Exception as failed:  # the root of the call: it is answered, and logged
                await statuses.refuse_call(described.full_name, failed, context)
                raise

        return grpc.unary_unary_rpc_method_handler(handle_call, *_message_codecs(described))

    def _stream_handler(self, described: Any, method: ClientMethod) -> Any:
        async def handle_call(asked: Any, context: Any) -> None:
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
                        # Not before the stream has its place: a client that has heard from it may open
                        # others, and those must not take this place from it.
                        await _send_limits(call.verdict, context)
                        stream.ended.add_done_callback(partial(_expire_now, limit))
                        await _write_values(method.answer(caller, asked), stream, context)
            except Exception as failed:  # the root of the call: it is answered, and logged
                await statuses.refuse_call(described.full_name, failed, context)
                raise

        return grpc.unary_stream_rpc_method_handler(handle_call, *_message_codecs(described))

    async def _count_call(self, context: Any) -> _CountedCall:
        """Find out who calls, and count the call, whether or not the credential counts."""
        credential, address = _read_credential(context), peer_address(context.peer())
        caller, refusal = ANYBODY, None
        try:
            caller = await self._accounts.identify_caller(credential) if credential else ANYBODY
        except errors.Unauthenticated as failed:
            refusal = failed
        verdict = await self._limiter.count_request(limiting.counting_key(caller, address))
        return _CountedCall(caller, verdict, refusal)


def _let_in(call: _CountedCall, method: ClientMethod, context: Any) -> Caller:
    """The caller with the reason they give; raises what they are refused for."""
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
    """Tell the client what its limit leaves, in the metadata that come first."""
    limits = {"limit": verdict.limit, "remaining": verdict.remaining, "reset": verdict.reset_s}
    await context.send_initial_metadata(
        tuple((f"x-ratelimit-{name}", str(value)) for name, value in limits.items())
    )


async def _write_values(answer: Any, opened: OpenStream, context: Any) -> None:
    """Send the values as they come, for as long as the stream may last."""
    try:
        async with aclosing(answer) as values:
            async for value in values:
                await context.write(value)
    except asyncio.CancelledError:
        if opened.ended.done() and (why := opened.ended.exception()) is not None:
            raise why from None
        raise


def _expire_now(limit: asyncio.Timeout, _: object) -> None:
    limit.reschedule(0.0)


def _message_codecs(described: Any) -> tuple[Any, Any]:
    """How the question is read and the answer written."""
    asked, answered = described.input_type._concrete_class, described.output_type._concrete_class  # noqa: SLF001 - as protobuf's own services do
    return asked.FromString, answered.SerializeToString


def _deadline_s(context: Any, longest_s: float) -> float:
    remaining: float | None = context.time_remaining()
    return longest_s if remaining is None else min(remaining, longest_s)


def _read_credential(context: Any) -> str:
    """A token or an API key, as the HTTP door takes them too; empty if there is none."""
    shown = {name: value for name, value in context.invocation_metadata() if isinstance(value, str)}
    said = shown.get("authorization", "")
    if said[: len(_BEARER)].lower() == _BEARER:
        return said[len(_BEARER) :].strip()
    return shown.get("x-api-key", "")


def _read_reason(context: Any) -> str:
    """Why somebody opens what is not theirs; as -bin in UTF-8, for letters that ASCII lacks."""
    shown = dict(context.invocation_metadata())
    return str(shown.get(_REASON) or shown.get(f"{_REASON}-bin", b"").decode(errors="replace"))
