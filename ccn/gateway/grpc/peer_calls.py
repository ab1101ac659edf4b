"""Checks every call between nodes before the node answers it, and turns errors into statuses afterwards.

The request must fit its limit. The caller must be the node in its certificate, and must take part in the
cluster for as long as the call runs. A node may not have too many calls under way. A call without a
deadline, or past it, is not begun. An error leaves as a status and its name. The text of a defect stays
here.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import grpc  # type: ignore[import-untyped]
import grpc.aio  # type: ignore[import-untyped]
import structlog

from ccn import errors
from ccn.certificates import identity
from ccn.core.identity.revocation import PresentedCertificate
from ccn.core.ids import NodeId
from ccn.core.ledger.signed import Signed
from ccn.peers import failure
from ccn.peers.methods import PeerMethod

log = structlog.get_logger(__name__)

Q = TypeVar("Q")
A = TypeVar("A")

Admit = Callable[[NodeId, PresentedCertificate | None], Awaitable[None]]
"""Refuses nodes that take no part in the cluster, and certificates that are revoked."""

RECHECK_S = 2.0
"""How often the door checks that the callers of running calls still take part in the cluster."""
GATEWAY_CALLS = 8_192
"""Calls that all gateways together may have under way: however many streams they have, rounds go on."""
_ALTERNATIVE_NAMES = "x509_subject_alternative_name"
_CERTIFICATE = "x509_pem_cert"


@dataclass(eq=False, slots=True)
class _PeerCall:
    """A call that is under way."""

    node: NodeId
    admit: Admit
    certificate: PresentedCertificate | None
    limit: asyncio.Timeout
    refused: errors.CCNError | None = None


class PeerCalls:
    """The calls that are under way. With `plain` there are no certificates, and every name is trusted."""

    def __init__(self, admit: Admit, admit_gateway: Admit, *, plain: bool, gateway_calls: int) -> None:
        self._admit, self._admit_gateway, self._plain = admit, admit_gateway, plain
        self._of_gateways, self._gateway_calls = 0, gateway_calls
        self._running = Counter[tuple[NodeId, str]]()
        self._open = set[_PeerCall]()

    async def recheck_callers(self, every_s: float) -> None:
        """End the calls of nodes that take no part any more. Runs until cancelled."""
        while True:
            await asyncio.sleep(every_s)
            for call in list(self._open):
                try:
                    await call.admit(call.node, call.certificate)
                except errors.PeerRefused as refused:
                    call.refused = refused
                    call.limit.reschedule(0)
                except errors.Unavailable:
                    pass  # the list of nodes is not known now, so the call goes on

    def unary_handler(self, method: PeerMethod[Q, A], answer: Callable[[Q], Awaitable[A]]) -> Any:
        """Make a handler that answers a request with one value."""

        async def handle_call(data: bytes, context: Any) -> bytes:
            try:
                async with (
                    asyncio.timeout(_remaining_s(context)) as limit,
                    self._admit_call(method, data, context, limit) as request,
                ):
                    return _encode_answer(method, await answer(request))
            except Exception as failed:  # the root of the call: it is answered, and logged
                await _refuse_call(method.name, failed, context)
                raise

        return grpc.unary_unary_rpc_method_handler(handle_call)

    def stream_handler(
        self, method: PeerMethod[Q, A], answer: Callable[[Q], AsyncGenerator[A]], *, endless: bool = False
    ) -> Any:
        """Make a handler that answers with a stream of values, as fast as the caller takes them."""

        async def handle_call(data: bytes, context: Any) -> None:
            try:
                async with (
                    asyncio.timeout(None if endless else _remaining_s(context)) as limit,
                    self._admit_call(method, data, context, limit) as request,
                    aclosing(answer(request)) as values,
                ):
                    async for value in values:
                        await context.write(_encode_answer(method, value))
            except Exception as failed:  # the root of the call: it is answered, and logged
                await _refuse_call(method.name, failed, context)
                raise

        return grpc.unary_stream_rpc_method_handler(handle_call)

    @asynccontextmanager
    async def _admit_call(
        self, method: PeerMethod[Q, A], data: bytes, context: Any, limit: asyncio.Timeout
    ) -> AsyncIterator[Q]:
        """Decode the request, check its sender, and count the call as under way until the block ends."""
        request = method.asked.decode(data)
        count_key = node, _ = _read_sender(request), method.name
        # A certificate is a node's or a gateway's, and lets its owner make the calls of that kind alone.
        name, admit = self._find_kind(method, node)
        if not self._plain and name not in _certificate_names(context):
            kind = "gateway " if method.by_gateways else ""
            raise errors.PeerRefused(f"the certificate shown is not that of {kind}{node}")
        call = _PeerCall(node, admit, None if self._plain else _read_certificate(context), limit)
        await admit(node, call.certificate)
        if self._running[count_key] >= method.at_once:
            raise errors.Overloaded(f"{method.at_once} calls of {method.name} are under way already")
        if method.by_gateways and self._of_gateways >= self._gateway_calls:
            raise errors.Overloaded(f"{self._gateway_calls} calls of gateways are under way already")
        self._running[count_key] += 1
        self._of_gateways += method.by_gateways
        self._open.add(call)
        try:
            yield request
        except asyncio.CancelledError:
            if call.refused is None:
                raise
            raise call.refused from None
        finally:
            self._open.discard(call)
            self._of_gateways -= method.by_gateways
            self._running[count_key] -= 1
            if not self._running[count_key]:
                del self._running[count_key]

    def _find_kind(self, method: PeerMethod[Q, A], caller: NodeId) -> tuple[str, Admit]:
        """The name in the certificate of a caller who may make this call, and who decides about it."""
        if method.by_gateways:
            return identity.gateway_name(caller), self._admit_gateway
        return identity.server_name(caller), self._admit


def _encode_answer(method: PeerMethod[Q, A], value: A) -> bytes:
    """Encode an answer. One that cannot be encoded is a defect of this node, not an error of the caller."""
    try:
        return method.answered.encode(value)
    except errors.InputInvalid as defect:
        raise ValueError(f"the answer to {method.name} cannot be sent: {defect}") from defect


def _read_sender(request: Any) -> NodeId:
    """Read the node that a request names as its sender: for a proposal, the leader that signed it."""
    node: NodeId = request.statement.node if isinstance(request, Signed) else request.node
    return node


def _certificate_names(context: Any) -> set[str]:
    names: list[bytes] = context.auth_context().get(_ALTERNATIVE_NAMES, [])
    return {name.decode(errors="replace") for name in names}


def _read_certificate(context: Any) -> PresentedCertificate:
    from ccn.certificates import inspection  # noqa: PLC0415 - a large library, needed only with certificates

    (certificate,) = context.auth_context()[_CERTIFICATE]
    return inspection.read_presented(certificate)


def _remaining_s(context: Any) -> float:
    remaining: float | None = context.time_remaining()
    if remaining is None:
        raise errors.InputInvalid("a call between nodes has a deadline")
    return remaining


async def _refuse_call(method: str, failed: Exception, context: Any) -> None:
    """End the call with a status, and with what a peer may know of the failure."""
    if isinstance(failed, TimeoutError):
        await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "no answer within the deadline")
        return
    if not isinstance(failed, errors.CCNError):
        log.error("peer call failed", method=method, exc_info=failed)
        await context.abort(grpc.StatusCode.INTERNAL, "a defect, which the log of this node describes")
        return
    kind, name = type(failed), type(failed).__name__
    log.info("peer call refused", method=method, error=name, reason=str(failed))
    text = str(failed) if name in failure.TRAVELS or kind is errors.PeerRefused else name
    await context.abort(failure.error_to_status(kind), text, ((failure.NAME, name),))
