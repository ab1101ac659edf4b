"""PostgreSQL's and asyncpg's errors, translated once into CCN's own, from one table.

The table is searched from the most special class to the most general one, so an error that a later
server invents still finds its class. A test walks every exception asyncpg has.
"""

from __future__ import annotations

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
    "CCN06": errors.StaleTerm,  # a term that does not grow
}
"""The SQLSTATEs that the triggers in `schema/` raise."""

TABLE: dict[type[BaseException], type[errors.CCNError]] = {
    asyncpg.PostgresError: errors.StoreBroken,
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
    pg.UniqueViolationError: errors.Conflict,
    pg.ExclusionViolationError: errors.Conflict,
    pg.ForeignKeyViolationError: errors.NotFound,
    pg.CharacterNotInRepertoireError: errors.InputInvalid,
    pg.UntranslatableCharacterError: errors.InputInvalid,
    pg.ProgramLimitExceededError: errors.InputInvalid,
    pg.TransactionResolutionUnknownError: errors.OutcomeUnknown,
    pg.ReadOnlySQLTransactionError: errors.DatabaseUnavailable,  # a standby, until it is promoted
    pg.IdleInTransactionSessionTimeoutError: errors.DatabaseUnavailable,
    pg.InternalClientError: errors.StoreBroken,
    pg.InterfaceError: errors.DatabaseUnavailable,  # asyncpg's word for a closed connection or pool
    pg.InterfaceWarning: errors.StoreBroken,
    pg.DataError: errors.StoreBroken,
    pg.UnsupportedClientFeatureError: errors.StoreBroken,
    pg.UnsupportedServerFeatureError: errors.StoreBroken,
    OSError: errors.DatabaseUnavailable,
    TimeoutError: errors.DatabaseUnavailable,
}

FOREIGN = (asyncpg.PostgresError, pg.InterfaceError, pg.InternalClientError, OSError, TimeoutError)


@asynccontextmanager
async def translated() -> AsyncIterator[None]:
    """Whatever asyncpg raises inside leaves as an error of CCN's tree, with its cause attached."""
    try:
        yield
    except FOREIGN as foreign:
        raise translate(foreign) from foreign


def translate(foreign: BaseException) -> errors.CCNError:
    """The error of ours that says what the caller can do about it."""
    ours = OURS.get(getattr(foreign, "sqlstate", None) or "") or kind(type(foreign))
    return ours(_words(foreign))


def kind(foreign: type[BaseException]) -> type[errors.CCNError]:
    """The nearest entry of the table, walking from the class up to its ancestors."""
    for ancestor in foreign.__mro__:
        if ancestor in TABLE:
            return TABLE[ancestor]
    return errors.StoreBroken


def severed(foreign: BaseException) -> bool:
    """Whether the connection is gone, so that nobody knows how far the server came."""
    return kind(type(foreign)) is errors.DatabaseUnavailable


def _words(foreign: BaseException) -> str:
    # The message only: PostgreSQL's DETAIL repeats the values of the row, which may be somebody's words.
    said = getattr(foreign, "message", None) or str(foreign)
    constraint = getattr(foreign, "constraint_name", None)
    text = said or type(foreign).__name__
    return f"{text} [{constraint}]" if constraint and constraint not in text else text
