"""What can go wrong between nodes, as gRPC says it and as the error tree says it, in both directions.

Separate from the client because the door needs the same table to answer. Only errors of a forwarded request
travel by name, since a client waits for them. What a peer says of itself in a round is its own affair.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import grpc  # type: ignore[import-untyped]
import grpc.aio  # type: ignore[import-untyped]

from ccn import cancellation, errors
from ccn.core.ids import NodeId

_Code = grpc.StatusCode

MEANING: Mapping[Any, type[errors.CCNError]] = MappingProxyType(
    {
        _Code.UNAVAILABLE: errors.PeerUnavailable,
        _Code.DEADLINE_EXCEEDED: errors.PeerUnavailable,
        _Code.CANCELLED: errors.PeerUnavailable,
        _Code.ABORTED: errors.PeerUnavailable,
        _Code.RESOURCE_EXHAUSTED: errors.PeerUnavailable,
        _Code.UNKNOWN: errors.PeerUnavailable,
        _Code.INTERNAL: errors.PeerUnavailable,
        _Code.DATA_LOSS: errors.PeerUnavailable,
        _Code.NOT_FOUND: errors.PeerRefused,
        _Code.ALREADY_EXISTS: errors.PeerRefused,
        _Code.INVALID_ARGUMENT: errors.PeerRefused,
        _Code.FAILED_PRECONDITION: errors.PeerRefused,
        _Code.OUT_OF_RANGE: errors.PeerRefused,
        _Code.PERMISSION_DENIED: errors.PeerRefused,
        _Code.UNAUTHENTICATED: errors.PeerRefused,
        _Code.UNIMPLEMENTED: errors.PeerRefused,
    }
)
"""What a status means to the node that asked."""

STATUS: Mapping[type[errors.CCNError], Any] = MappingProxyType(
    {
        errors.CCNError: _Code.INTERNAL,
        errors.InputInvalid: _Code.INVALID_ARGUMENT,
        errors.NotFound: _Code.NOT_FOUND,
        errors.Conflict: _Code.ABORTED,
        errors.Unavailable: _Code.UNAVAILABLE,
        errors.Overloaded: _Code.RESOURCE_EXHAUSTED,
        errors.TooManyRequests: _Code.RESOURCE_EXHAUSTED,
        errors.TooManyConversations: _Code.RESOURCE_EXHAUSTED,
        errors.OutcomeUnknown: _Code.UNKNOWN,
        errors.PeerRefused: _Code.PERMISSION_DENIED,
    }
)
"""With which status the door answers one of our errors. The nearest ancestor counts."""

TRAVELS: Mapping[str, type[errors.CCNError]] = MappingProxyType(
    {
        kind.__name__: kind
        for kind in (
            errors.InputInvalid,
            errors.IdempotencyConflict,
            errors.NotFound,
            errors.Conflict,
            errors.SequenceConflict,
            errors.StaleHost,
            errors.TurnRunning,
            errors.TransitionRefused,
            errors.DatabaseUnavailable,
            errors.DatabaseFull,
            errors.Overloaded,
            errors.TooManyConversations,
            errors.TooManyInstances,
            errors.TooManySpawns,
            errors.ShuttingDown,
            errors.OutcomeUnknown,
            errors.PlateInvalid,
            errors.MessageTooLong,
            errors.SpawnFailed,
            errors.AllowanceSpent,
            errors.BudgetSpent,
            errors.ModelUnavailable,
            errors.ModelRefused,
            errors.PromptRefused,
        )
    }
)
"""What a host may answer to a forwarded request, by the name in the trailing metadata."""

NAME = "ccn-error"


def error_to_status(error: type[errors.CCNError]) -> Any:
    """Find the gRPC status of one of our errors."""
    return next(
        STATUS[kind] for kind in error.__mro__ if issubclass(kind, errors.CCNError) and kind in STATUS
    )


@contextlib.contextmanager
def translate_errors(node: NodeId) -> Iterator[None]:
    """Turn what gRPC raises about a call to `node` into the error tree."""
    try:
        with cancellation.keep_cancellation():
            yield
    except grpc.aio.AioRpcError as failed:
        raise MEANING[failed.code()](_describe_failure(node, failed)) from failed
    except (grpc.aio.BaseError, asyncio.InvalidStateError) as closed:
        raise errors.PeerUnavailable(f"{node}: the connection is closed") from closed
    except asyncio.CancelledError as ended:
        # A channel that closes under a call cancels it, which looks like somebody cancelling this task.
        if cancellation.is_requested():
            raise
        raise errors.PeerUnavailable(f"{node}: the connection was closed during a call") from ended


@contextlib.contextmanager
def translate_forwarded(node: NodeId) -> Iterator[None]:
    """Do the same for a forwarded request. If its host did not say how it ended, nobody knows."""
    try:
        with translate_errors(node):
            yield
    except (errors.PeerUnavailable, errors.PeerRefused) as failed:
        cause = failed.__cause__
        named = _error_from_metadata(cause) if isinstance(cause, grpc.aio.AioRpcError) else None
        if named is not None:
            raise named from cause
        if isinstance(failed, errors.PeerRefused):
            raise
        raise errors.OutcomeUnknown(str(failed)) from cause


@contextlib.contextmanager
def require_readable(node: NodeId) -> Iterator[None]:
    """Blame the other node, not the caller, for an answer that cannot be read."""
    try:
        yield
    except errors.InputInvalid as strange:
        raise errors.PeerRefused(f"{node} answered what cannot be read: {strange}") from strange


def _error_from_metadata(failed: Any) -> errors.CCNError | None:
    name = dict(failed.trailing_metadata() or ()).get(NAME)
    kind = TRAVELS.get(name) if isinstance(name, str) else None
    return kind(failed.details() or "") if kind else None


def _describe_failure(node: NodeId, failed: Any) -> str:
    return f"{node}: {failed.details() or failed.code().name.lower().replace('_', ' ')}"
