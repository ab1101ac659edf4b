"""Every error of PostgreSQL and asyncpg means something here, and none repeats somebody's words."""

from __future__ import annotations

import ssl
import traceback
from collections.abc import Iterator
from typing import TYPE_CHECKING

import asyncpg
import pytest
from asyncpg import exceptions as pg

from ccn import errors, settings
from ccn.store.connection import failure, pool
from ccn.store.conversations.turns import EmitEvents, TurnEvent

if TYPE_CHECKING:
    from tests.support.store.open_store import Store

SECRET = "the words nobody else should read"


def _below(top: type[BaseException]) -> Iterator[type[BaseException]]:
    for each in top.__subclasses__():
        yield each
        yield from _below(each)


EVERYTHING = sorted(
    {
        each
        for top in (asyncpg.PostgresError, pg.InterfaceError, pg.InternalClientError, pg.InterfaceWarning)
        for each in (top, *_below(top))
        if each not in {asyncpg.PostgresError, pg.UnknownPostgresError}
    },
    key=lambda each: each.__name__,
)


def test_asyncpg_has_about_as_many_errors_as_the_table_was_written_for() -> None:
    assert len(EVERYTHING) > 230


def test_every_error_lands_on_an_entry_that_was_put_there_for_its_kind() -> None:
    strays = [
        each.__name__
        for each in EVERYTHING
        if not any(ancestor in failure.TABLE for ancestor in each.__mro__ if ancestor is not Exception)
    ]
    assert not strays


def test_the_table_names_no_catch_all() -> None:
    assert not {Exception, BaseException, asyncpg.PostgresError} & failure.TABLE.keys()


def test_an_error_that_a_later_server_invents_is_a_broken_store_until_somebody_decides() -> None:
    assert failure.error_class_of(pg.UnknownPostgresError) is errors.StoreBroken
    assert failure.error_class_of(type("NewDataError", (asyncpg.DataError,), {})) is errors.StoreBroken


@pytest.mark.parametrize(
    ("raised", "meant"),
    [
        (pg.UniqueViolationError, errors.Conflict),
        (pg.ForeignKeyViolationError, errors.NotFound),
        (pg.CheckViolationError, errors.StoreBroken),
        (pg.NotNullViolationError, errors.StoreBroken),
        (pg.DeadlockDetectedError, errors.Unavailable),
        (pg.SerializationError, errors.Unavailable),
        (pg.LockNotAvailableError, errors.Unavailable),
        (pg.StatementCompletionUnknownError, errors.Unavailable),
        (pg.TooManyConnectionsError, errors.DatabaseFull),
        (pg.DiskFullError, errors.DatabaseFull),
        (pg.OutOfMemoryError, errors.DatabaseFull),
        (pg.AdminShutdownError, errors.DatabaseUnavailable),
        (pg.CrashShutdownError, errors.DatabaseUnavailable),
        (pg.CannotConnectNowError, errors.DatabaseUnavailable),
        (pg.QueryCanceledError, errors.DatabaseUnavailable),
        (pg.ConnectionDoesNotExistError, errors.DatabaseUnavailable),
        (pg.InvalidPasswordError, errors.DatabaseUnavailable),
        (pg.InvalidCatalogNameError, errors.DatabaseUnavailable),
        (pg.ReadOnlySQLTransactionError, errors.DatabaseUnavailable),
        (pg.TransactionResolutionUnknownError, errors.OutcomeUnknown),
        (pg.StatementTooComplexError, errors.InputInvalid),
        (pg.UndefinedTableError, errors.StoreBroken),
        (pg.InsufficientPrivilegeError, errors.StoreBroken),
        (pg.InvalidCachedStatementError, errors.Unavailable),
        (pg.DataCorruptedError, errors.StoreBroken),
        (pg.InternalClientError, errors.DatabaseUnavailable),
        (pg.ProtocolError, errors.DatabaseUnavailable),
        (pg.OutdatedSchemaCacheError, errors.Unavailable),
        (pg.InterfaceError, errors.DatabaseUnavailable),
        (ConnectionRefusedError, errors.DatabaseUnavailable),
        (TimeoutError, errors.DatabaseUnavailable),
    ],
)
def test_an_error_means_what_its_reader_can_do_about_it(
    raised: type[BaseException], meant: type[errors.CCNError]
) -> None:
    assert failure.error_class_of(raised) is meant


@pytest.mark.parametrize(("state", "meant"), sorted(failure.OURS.items()))
def test_the_states_of_our_own_triggers_have_their_errors(state: str, meant: type[errors.CCNError]) -> None:
    said = asyncpg.PostgresError.new({"C": state, "M": "refused", "S": "ERROR"})
    assert type(failure.translate_error(said)) is meant


async def test_every_state_that_the_schema_raises_is_in_the_table_and_the_other_way_round(
    shared: object, direct: asyncpg.Connection[asyncpg.Record]
) -> None:
    raised = await direct.fetch(
        "SELECT DISTINCT (regexp_matches(prosrc, 'CCN[0-9]{2}', 'g'))[1] AS state FROM pg_proc"
        " WHERE proname LIKE 'ccn%'"
    )
    assert {row["state"] for row in raised} == failure.OURS.keys()


@pytest.mark.parametrize(
    "sql",
    [
        """INSERT INTO messages (conversation_id, seq, role, content, created_at, leaf_node, leaf_number)
           VALUES (gen_random_uuid(), 1, 'user', $1, now(), 'n', 1)""",
        "INSERT INTO characters (id, name) SELECT 'Not A Label', $1",
        """WITH a AS (INSERT INTO users (id, name, tier) VALUES (gen_random_uuid(), $1, 'user'))
           INSERT INTO users (id, name, tier) VALUES (gen_random_uuid(), $1, 'nobody')""",
    ],
)
async def test_what_the_row_held_appears_neither_in_the_error_nor_in_its_cause(
    shared_database: settings.DatabaseSettings, sql: str
) -> None:
    async with pool.open(shared_database, "test") as connections:
        with pytest.raises(errors.CCNError) as refused:
            await connections.rows(sql, SECRET)
    told = "".join(traceback.format_exception(refused.value))
    assert "DETAIL" not in told
    assert SECRET not in told


async def test_a_value_that_cannot_be_sent_is_the_callers_fault_and_is_not_repeated(
    shared_database: settings.DatabaseSettings,
) -> None:
    async with pool.open(shared_database, "test") as connections:
        with pytest.raises(errors.InputInvalid) as refused:
            await connections.rows("SELECT $1::text", SECRET + "\ud800")
        with pytest.raises(errors.InputInvalid):
            await connections.rows("SELECT $1::bigint", 2**80)
    told = "".join(traceback.format_exception(refused.value))
    assert SECRET not in told
    assert "argument $1" in told


async def test_an_error_names_the_constraint_that_was_hit(
    shared_database: settings.DatabaseSettings,
) -> None:
    async with pool.open(shared_database, "test") as connections:
        with pytest.raises(errors.StoreBroken, match="users_tier_check"):
            await connections.rows(
                "INSERT INTO users (id, name, tier) VALUES (gen_random_uuid(), 'x', 'nobody')"
            )


async def test_nobody_waits_for_a_connection_for_ever(shared_database: settings.DatabaseSettings) -> None:
    small = shared_database.model_copy(update={"pool_size": 1, "statement_timeout_s": 0.1})
    async with pool.open(small, "test") as connections, connections.transaction():
        with pytest.raises(errors.DatabaseUnavailable):
            await connections.value("SELECT 1")


async def test_a_server_that_is_not_there_is_unavailable(
    shared_database: settings.DatabaseSettings,
) -> None:
    nowhere = shared_database.url.get_secret_value().rpartition("/")[0] + "/there_is_no_such_database"
    with pytest.raises(errors.DatabaseUnavailable):
        async with pool.open(settings.DatabaseSettings.model_validate({"url": nowhere}), "test"):
            raise AssertionError("opened")


async def test_an_exception_inside_a_transaction_undoes_it(
    shared_database: settings.DatabaseSettings,
) -> None:
    async def interrupted(connections: pool.Pool) -> None:
        async with connections.transaction() as connection:
            await connection.execute("INSERT INTO characters (id, name) VALUES ('gone', 'Gone')")
            raise ZeroDivisionError

    async with pool.open(shared_database, "test") as connections:
        with pytest.raises(ZeroDivisionError):
            await interrupted(connections)
        assert await connections.value("SELECT count(*) FROM characters WHERE id = 'gone'") == 0


async def test_a_number_that_another_writer_took_first_is_a_conflict_of_the_sequence(shared: Store) -> None:
    """Whoever numbered after an old head reads it again; other keys that are taken stay a conflict."""
    here = await shared.conversation()
    turn = await shared.turn(await shared.host(here))
    await shared.writer.submit(EmitEvents(turn.id, turn.epoch, [TurnEvent(1, "delta", "Well")]))
    for table, column, named in (
        ("messages", "conversation_id", here),
        ("turn_events", "turn_id", turn.id),
    ):
        with pytest.raises(errors.SequenceConflict):
            await shared.pool.rows(f"INSERT INTO {table} SELECT * FROM {table} WHERE {column} = $1", named)
    with pytest.raises(errors.Conflict) as taken:
        await shared.pool.rows("INSERT INTO turns SELECT * FROM turns WHERE id = $1", turn.id)
    assert not isinstance(taken.value, errors.SequenceConflict)


def test_behind_a_pooler_the_setting_that_helps_is_named() -> None:
    for foreign in (pg.InvalidSQLStatementNameError, pg.DuplicatePreparedStatementError):
        said = str(
            failure.translate_error(foreign('prepared statement "__asyncpg_stmt_1__" already exists'))
        )
        assert "set CCN_DATABASE_STATEMENT_CACHE=0" in said


def test_a_server_that_is_away_is_told_of_without_numbers() -> None:
    refused = ConnectionRefusedError(111, "Connect call failed ('127.0.0.1', 1)")
    assert str(failure.translate_error(refused)) == "PostgreSQL does not answer: Connection refused"


def test_a_certificate_that_the_server_asks_for_itself_names_its_settings() -> None:
    asked = pg.InvalidAuthorizationSpecificationError("connection requires a valid client certificate")
    told = failure.translate_error(asked)
    assert isinstance(told, errors.DatabaseUnavailable)
    assert str(told).endswith(": set CCN_DATABASE_CERTIFICATE and CCN_DATABASE_KEY")


def test_tls_that_breaks_is_told_of_without_numbers() -> None:
    broken = ssl.SSLError(1, "[SSL: DECRYPTION_FAILED] decryption failed")
    broken.reason = "DECRYPTION_FAILED"
    assert str(failure.translate_error(broken)) == "TLS with PostgreSQL broke: DECRYPTION_FAILED"
