"""PostgreSQL's and asyncpg's errors, translated once into CCN's own, from one table.

The table is searched from the most special class to the most general one, so an error that a later
server invents still finds its class. A test walks every exception asyncpg has.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
from asyncpg import exceptions as pg

from ccn import errors

OURS: dict[str, type[errors.CCNError]] = {
    "CCN01": errors.StoreBroken,  # history was to be changed
    "CCN02": errors.SequenceConflict,  # rows do not follow the head they were numbered after
    "CCN03": errors.Conflict,  # a version was made from a stale one
    "CCN04": errors.TransitionRefused,  # an arrow that does not exist, of a turn or a host
    "CCN05": errors.StoreBroken,  # a protected row without its leaf
    "CCN06": errors.StaleTerm,  # a term that does not grow, or is over
    "CCN07": errors.BudgetSpent,  # a reservation that the budget of its day does not hold
    "CCN08": errors.TooManyConversations,  # one more than their owner may have open
    "CCN09": errors.TooManyInstances,  # one more than their owner may have alive
    "CCN10": errors.AllowanceSpent,  # a reservation that what its user may spend in a day does not hold
}
"""The SQLSTATEs that the triggers in `schema/` raise."""

_NUMBERED = ("messages_pkey", "turn_events_pkey")
"""Keys that end in a number which follows a head. Another writer took it first: the triggers, which look at
the head, come after the keys."""

_DEFECTS = (
    "FatalPostgresError",
    "SQLStatementNotYetCompleteError",
    "TriggeredActionError",
    "FeatureNotSupportedError",
    "InvalidTransactionInitiationError",
    "LocatorError",
    "InvalidGrantorError",
    "InvalidRoleSpecificationError",
    "DiagnosticsError",
    "InvalidArgumentForXqueryError",
    "CaseNotFoundError",
    "CardinalityViolationError",
    "DataError",
    "IntegrityConstraintViolationError",
    "InvalidCursorStateError",
    "InvalidTransactionStateError",
    "InvalidSQLStatementNameError",
    "TriggeredDataChangeViolationError",
    "DependentPrivilegeDescriptorsStillExistError",
    "InvalidTransactionTerminationError",
    "SQLRoutineError",
    "InvalidCursorNameError",
    "ExternalRoutineError",
    "ExternalRoutineInvocationError",
    "SavepointError",
    "InvalidSchemaNameError",
    "SyntaxOrAccessError",
    "WithCheckOptionViolationError",
    "SnapshotTooOldError",
    "ConfigFileError",
    "FDWError",
    "PLPGSQLError",
    "InternalServerError",
    "InterfaceWarning",
    "UnsupportedClientFeatureError",
    "UnsupportedServerFeatureError",
)
"""Classes of errors that no caller can cause and none can mend."""

TABLE: dict[type[BaseException], type[errors.CCNError]] = {
    **{getattr(pg, name): errors.StoreBroken for name in _DEFECTS},
    pg.PostgresConnectionError: errors.DatabaseUnavailable,
    pg.OperatorInterventionError: errors.DatabaseUnavailable,
    pg.InvalidAuthorizationSpecificationError: errors.DatabaseUnavailable,
    pg.InvalidCatalogNameError: errors.DatabaseUnavailable,
    pg.InsufficientResourcesError: errors.DatabaseFull,
    pg.ConfigurationLimitExceededError: errors.DatabaseFull,
    pg.PostgresSystemError: errors.DatabaseUnavailable,
    pg.TransactionRollbackError: errors.Unavailable,
    pg.LockNotAvailableError: errors.Unavailable,
    pg.ObjectInUseError: errors.Unavailable,
    pg.ObjectNotInPrerequisiteStateError: errors.Unavailable,  # a database that lets nobody in just now
    pg.InvalidCachedStatementError: errors.Unavailable,  # the schema has just changed
    pg.OutdatedSchemaCacheError: errors.Unavailable,
    pg.UniqueViolationError: errors.Conflict,
    pg.ExclusionViolationError: errors.Conflict,
    pg.ForeignKeyViolationError: errors.NotFound,
    pg.CharacterNotInRepertoireError: errors.InputInvalid,
    pg.UntranslatableCharacterError: errors.InputInvalid,
    pg.ProgramLimitExceededError: errors.InputInvalid,
    pg.TransactionResolutionUnknownError: errors.OutcomeUnknown,
    pg.ReadOnlySQLTransactionError: errors.DatabaseUnavailable,  # a standby, until it is promoted
    pg.IdleInTransactionSessionTimeoutError: errors.DatabaseUnavailable,
    # asyncpg lost track of what a dying connection said last: only a new one helps.
    pg.InternalClientError: errors.DatabaseUnavailable,
    pg.InterfaceError: errors.DatabaseUnavailable,  # asyncpg's word for a closed connection or pool
    OSError: errors.DatabaseUnavailable,
    TimeoutError: errors.DatabaseUnavailable,
}

_ADVICE = {
    "connection requires a valid client certificate": ": set CCN_DATABASE_CERTIFICATE and CCN_DATABASE_KEY"
}
"""What PostgreSQL asks for itself once TLS stands, and which setting gives it."""
_OF_A_POOLER = (pg.InvalidSQLStatementNameError, pg.DuplicatePreparedStatementError)
_CACHE = "CCN_DATABASE_STATEMENT_CACHE=0"

FOREIGN = (asyncpg.PostgresError, pg.InterfaceError, pg.InternalClientError, OSError, TimeoutError)


@asynccontextmanager
async def translate_errors() -> AsyncIterator[None]:
    """Whatever asyncpg raises inside leaves as an error of CCN's tree, with its cause attached.

    A task that was cancelled inside leaves as cancelled: what asyncpg does then (ROLLBACK, giving the
    connection back) fails where the server is silent, and that error would take the cancellation's place.
    """
    task = asyncio.current_task()
    before = task.cancelling() if task else 0
    try:
        yield
    except FOREIGN as foreign:
        if task and task.cancelling() > before:
            raise asyncio.CancelledError from foreign
        raise translate_error(foreign) from foreign


def translate_error(foreign: BaseException) -> errors.CCNError:
    """The error of ours that says what the caller can do about it; it and its cause quote no row."""
    state = getattr(foreign, "sqlstate", None) or ""
    error_class = OURS.get(state) or error_class_of(type(foreign))
    if _is_unsendable(foreign):
        error_class = errors.InputInvalid
    elif getattr(foreign, "constraint_name", None) in _NUMBERED:
        error_class = errors.SequenceConflict
    description = describe_error(foreign)
    _remove_values(foreign, description)
    return error_class(description)


def error_class_of(foreign: type[BaseException]) -> type[errors.CCNError]:
    """The nearest entry of the table, walking from the class up to its ancestors."""
    for ancestor in foreign.__mro__:
        if ancestor in TABLE:
            return TABLE[ancestor]
    return errors.StoreBroken


def lost_connection(foreign: BaseException) -> bool:
    """Whether the connection is gone, so that nobody knows how far the server came."""
    return error_class_of(type(foreign)) is errors.DatabaseUnavailable


def describe_error(foreign: BaseException) -> str:
    """What happened, without PostgreSQL's DETAIL and asyncpg's values: they may be somebody's words."""
    if _is_unsendable(foreign):
        return "a value has no form in PostgreSQL: " + str(foreign).partition(":")[0]
    if isinstance(foreign, ssl.SSLError):  # whose number is one of OpenSSL
        return f"TLS with PostgreSQL broke: {foreign.reason or foreign}"
    if isinstance(foreign, OSError) and foreign.errno is not None and foreign.errno > 0:
        return (
            f"PostgreSQL does not answer: {os.strerror(foreign.errno)}"  # asyncio adds numbers and brackets
        )
    if isinstance(foreign, TimeoutError):
        return "PostgreSQL does not answer in time"
    message = getattr(foreign, "message", None) or str(foreign)
    if isinstance(foreign, _OF_A_POOLER):
        message += "; behind a pooler that gives each transaction another connection, set " + _CACHE
    message = f"{message}{_ADVICE.get(message, '')}"
    constraint = getattr(foreign, "constraint_name", None)
    text = message or type(foreign).__name__
    return f"{text} [{constraint}]" if constraint and constraint not in text else text


def _remove_values(foreign: BaseException, description: str) -> None:
    # A traceback prints the cause as well.
    if _is_unsendable(foreign):
        foreign.args = (description,)
        foreign.__cause__ = None
    elif isinstance(foreign, asyncpg.PostgresError):
        foreign.detail = None


def _is_unsendable(foreign: BaseException) -> bool:
    # What asyncpg could not encode it reports as the server's DataError, but without the server's severity.
    return isinstance(foreign, asyncpg.DataError) and foreign.severity is None
