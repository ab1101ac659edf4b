"""What can go wrong with a call to a cluster, from gRPC's statuses back to CCN's errors.

Separate from `channel`, because it is a table. A program meets errors of CCN's tree, and none of gRPC's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

import grpc  # type: ignore[import-untyped]
import grpc.aio  # type: ignore[import-untyped]

from ccn import cancellation, errors
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
"""What a status means of a call that ended without a code of ours. A broken connection tells nothing."""

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
"""Errors after which another try may help, here or at another node."""


@contextmanager
def translate_errors() -> Iterator[None]:
    """Turn what gRPC raises into the error tree, and a closed channel's cancellation into an error."""
    try:
        with cancellation.keep_cancellation():
            yield
    except grpc.aio.AioRpcError as failed:
        raise _error_from_status(failed) from failed
    except (grpc.aio.BaseError, asyncio.InvalidStateError) as closed:
        raise errors.Unavailable("the connection to the cluster is closed") from closed
    except asyncio.CancelledError as ended:
        # A channel that closes under a call cancels it, which looks like somebody cancelling this task.
        if cancellation.is_requested():
            raise
        raise errors.OutcomeUnknown("the connection to the cluster was closed during a call") from ended


def error_from_turn(code: str, detail: str) -> errors.CCNError:
    """Return the error of a turn that got no reply."""
    return (error_codes.error_from_code(code) or errors.ModelRefused)(detail)


def _error_from_status(failed: Any) -> errors.CCNError:
    metadata = dict(failed.trailing_metadata() or ())
    kind = error_codes.error_from_code(metadata.get("ccn-code", "")) or MEANING[failed.code()]
    words = failed.details() or failed.code().name.lower().replace("_", " ")
    if issubclass(kind, (errors.TooManyRequests, errors.BudgetSpent)):
        return kind(words, float(metadata.get("retry-after", 1)))
    return kind(words)
