"""What can go wrong with a call to a cluster, from gRPC's statuses back to CCN's errors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

import grpc  # type: ignore[import-untyped]
import grpc.aio  # type: ignore[import-untyped]

from ccn import errors
from ccn.core import error_codes

_Code = grpc.StatusCode

MEANING: Mapping[Any, type[errors.CCNError]] = MappingProxyType(
    {
        _Code.CANCELLED: errors.OutcomeUnknown,
        _Code.UNKNOWN: errors.OutcomeUnknown,
        _Code.INVALID_ARGUMENT: errors.InputInvalid,
        _Code.DEADLINE_EXCEEDED: errors.OutcomeUnknown,
        _Code.NOT_FOUND: errors.NotFound,
        _Code.ALREADY_EXISTS: errors.IdempotencyConflict,
        _Code.PERMISSION_DENIED: errors.Forbidden,
        _Code.RESOURCE_EXHAUSTED: errors.Overloaded,
        _Code.FAILED_PRECONDITION: errors.Conflict,
        _Code.ABORTED: errors.Conflict,
        _Code.OUT_OF_RANGE: errors.InputInvalid,
        _Code.UNIMPLEMENTED: errors.InputInvalid,
        _Code.INTERNAL: errors.CCNError,
        _Code.UNAVAILABLE: errors.OutcomeUnknown,
        _Code.DATA_LOSS: errors.CCNError,
        _Code.UNAUTHENTICATED: errors.Unauthenticated,
    }
)
"""For a call that ended without a code of ours; a connection that broke does not tell what was done."""

ELSEWHERE = frozenset(
    {
        errors.Unavailable,
        errors.OutcomeUnknown,
        errors.ShuttingDown,
        errors.DatabaseUnavailable,
        errors.PeerUnavailable,
        errors.StaleHost,
    }
)
"""Worth another try, here or at another node; everything that is written carries a key, so it is safe."""


@contextmanager
def translate_errors() -> Iterator[None]:
    """Turn what gRPC raises into the error tree."""
    try:
        yield
    except grpc.aio.AioRpcError as failed:
        raise _error_from_status(failed) from failed


def error_from_turn(code: str, detail: str) -> errors.CCNError:
    """Why a turn got no reply."""
    return (error_codes.error_from_code(code) or errors.ModelRefused)(detail)


def _error_from_status(failed: Any) -> errors.CCNError:
    told = dict(failed.trailing_metadata() or ())
    kind = error_codes.error_from_code(told.get("ccn-code", "")) or MEANING[failed.code()]
    said = failed.details() or failed.code().name.lower().replace("_", " ")
    if issubclass(kind, (errors.TooManyRequests, errors.BudgetSpent)):
        return kind(said, float(told.get("retry-after", 1)))
    return kind(said)
