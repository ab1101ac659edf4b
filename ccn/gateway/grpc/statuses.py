"""Every way a call can fail: one table from CCN's errors to statuses, and a code that never changes.

Separate from what nodes tell each other (`peers/failure`): a client is told less of what happens inside,
and may be written in any language, so it decides by a word in the metadata and not by a class.
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
"""The nearest ancestor counts; the code is the name of the class itself."""

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
            said = "no answer within the deadline; what was asked may still happen"
            await context.abort(_Code.DEADLINE_EXCEEDED, said, ((CODE, DEADLINE),))
        case errors.CCNError() if (found := status_of_error(type(failed))) is not _Code.INTERNAL:
            await context.abort(found, str(failed), _error_trailers(failed))
        case _:
            log.error("call failed", method=method, exc_info=failed)
            said = "this is a defect of the server; its log tells more"
            await context.abort(_Code.INTERNAL, said, ((CODE, INTERNAL),))


def _error_trailers(failed: errors.CCNError) -> tuple[tuple[str, str], ...]:
    told = [(CODE, error_codes.code_from_name(type(failed).__name__))]
    match failed:
        case errors.TooManyRequests(retry_after_s=wait_s) | errors.BudgetSpent(retry_after_s=float(wait_s)):
            told.append((RETRY_AFTER, str(math.ceil(wait_s))))
        case errors.Overloaded() | errors.ShuttingDown():
            told.append((RETRY_AFTER, "1"))
    return tuple(told)
