"""Turns errors into gRPC statuses for clients: one table, and a code for each error that never changes.

Separate from `peers/failure`, which does the same between nodes. A client learns less of what happens
inside. It may be written in any language, so it decides by a code in the metadata and not by a class.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import grpc  # type: ignore[import-untyped]
import structlog

from ccn import errors
from ccn.core import error_codes

log = structlog.get_logger(__name__)

_Code = grpc.StatusCode

STATUS: Mapping[type[errors.CCNError], Any] = MappingProxyType(
    {
        errors.CCNError: _Code.INTERNAL,
        errors.InputInvalid: _Code.INVALID_ARGUMENT,
        errors.IdempotencyConflict: _Code.ALREADY_EXISTS,
        errors.Unauthenticated: _Code.UNAUTHENTICATED,
        errors.NotAllowed: _Code.PERMISSION_DENIED,
        errors.NotFound: _Code.NOT_FOUND,
        errors.Conflict: _Code.ABORTED,
        errors.TurnRunning: _Code.FAILED_PRECONDITION,
        errors.Quarantined: _Code.FAILED_PRECONDITION,
        errors.Unavailable: _Code.UNAVAILABLE,
        errors.BudgetSpent: _Code.RESOURCE_EXHAUSTED,
        errors.Overloaded: _Code.RESOURCE_EXHAUSTED,
        errors.TooManyRequests: _Code.RESOURCE_EXHAUSTED,
        errors.TooManyConversations: _Code.RESOURCE_EXHAUSTED,
        errors.OutcomeUnknown: _Code.UNKNOWN,
        errors.SpawnFailed: _Code.FAILED_PRECONDITION,
    }
)
"""An error has the status of its nearest ancestor here. Its code is made from the name of its own class."""

CODE = "ccn-code"
RETRY_AFTER = "retry-after"
DEADLINE, INTERNAL = "deadline_exceeded", "internal"


def status_of_error(error: type[errors.CCNError]) -> Any:
    """The gRPC status of one of our errors."""
    return next(
        STATUS[kind] for kind in error.__mro__ if issubclass(kind, errors.CCNError) and kind in STATUS
    )


async def refuse_call(method: str, failed: Exception, context: Any) -> None:
    """End the call with what a client may know of the failure."""
    match failed:
        case TimeoutError():
            text = "no answer within the deadline; the request may still be carried out"
            await context.abort(_Code.DEADLINE_EXCEEDED, text, ((CODE, DEADLINE),))
        case errors.CCNError() if (status := status_of_error(type(failed))) is not _Code.INTERNAL:
            await context.abort(status, str(failed), _error_trailers(failed))
        case _:
            log.error("call failed", method=method, exc_info=failed)
            text = "this is a defect of the server; its log tells more"
            await context.abort(_Code.INTERNAL, text, ((CODE, INTERNAL),))


def _error_trailers(failed: errors.CCNError) -> tuple[tuple[str, str], ...]:
    trailers = [(CODE, error_codes.code_from_name(type(failed).__name__))]
    match failed:
        case errors.TooManyRequests(retry_after_s=wait_s) | errors.BudgetSpent(retry_after_s=float(wait_s)):
            trailers.append((RETRY_AFTER, str(math.ceil(wait_s))))
        case errors.Overloaded() | errors.ShuttingDown():
            trailers.append((RETRY_AFTER, "1"))
    return tuple(trailers)
