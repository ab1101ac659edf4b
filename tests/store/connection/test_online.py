"""Schema files run beside nodes at work: nobody waits long for them, and a kill is no harm."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import asyncpg
import pytest
import pytest_asyncio

from ccn import errors, settings
from ccn.store.connection import migrate, online
from ccn.store.schema import schema_files
from ccn.store.schema.schema_files import Migration

MARGIN_S = 1.5
"""What a crowded machine may add to the two seconds."""


@pytest_asyncio.fixture(loop_scope="session")
async def url(database: settings.DatabaseSettings) -> AsyncIterator[str]:
    """A database of this version with a table of a thousand rows."""
    address = database.url.get_secret_value()
    async with _connection(address) as connection:
        await connection.execute("CREATE TABLE kept (id int PRIMARY KEY, word text, more text)")
        await connection.execute("INSERT INTO kept SELECT n, 'word' FROM generate_series(1, 1000) n")
    yield address


def make_files(*bodies: str) -> tuple[Migration, ...]:
    """The files of this version and new ones after them."""
    known = schema_files.list_migrations()
    new = [
        schema_files.parse_migration(
            f"{number:04}_new.sql", f"-- oldest program: {schema_files.HEADLESS}\n{body}"
        )
        for number, body in enumerate(bodies, len(known) + 1)
    ]
    return (*known, *new)


@contextlib.asynccontextmanager
async def _connection(url: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        connection.terminate()


async def test_beside_a_long_reader_no_writer_waits_longer_than_a_file_may(url: str) -> None:
    files, waits, stop = make_files("ALTER TABLE kept ADD COLUMN new text;"), list[float](), asyncio.Event()
    clock = asyncio.get_running_loop().time

    async def write() -> None:
        async with _connection(url) as connection:
            while not stop.is_set():
                began = clock()
                await connection.execute("UPDATE kept SET word = word || '.' WHERE id = 1")
                waits.append(clock() - began)
                await asyncio.sleep(0.01)

    async with _connection(url) as reader, reader.transaction():
        await reader.execute("SELECT FROM kept LIMIT 1")
        writing = asyncio.create_task(write())
        with pytest.raises(errors.SchemaRefused, match=r"_new found no moment within 0 s"):
            await migrate.apply_pending(url, files, patience_s=0)
        migrating = asyncio.create_task(migrate.apply_pending(url, files))
        await asyncio.sleep(1)
    assert len((await migrating).pending) == 1, "the reader went, and it found its moment"
    stop.set()
    await writing
    assert online.HOLD_S / 2 < max(waits) < online.HOLD_S + MARGIN_S
    async with _connection(url) as connection:
        assert await connection.fetchval("SELECT count(new) FROM kept") == 0


async def test_an_index_whose_building_was_killed_is_built_anew_and_rows_are_not_filled_in_twice(
    url: str,
) -> None:
    files = make_files(
        "-- transaction: none\n"
        "UPDATE kept SET more = word || more WHERE id IN (SELECT id FROM kept WHERE more = '' LIMIT 300);\n"
        "CREATE INDEX CONCURRENTLY kept_more ON kept (more);\n"
    )
    async with _connection(url) as connection:
        await connection.execute("UPDATE kept SET more = ''")
        async with _connection(url) as other, other.transaction():
            await other.execute("LOCK TABLE kept IN ROW EXCLUSIVE MODE")  # as who writes there for long
            migrating = asyncio.create_task(migrate.apply_pending(url, files))
            while not await connection.fetchval(_INVALID):
                await asyncio.sleep(0.05)
            await connection.execute(_END_BUILDER)
            with pytest.raises(errors.Unavailable):
                await migrating
        assert await connection.fetchval(_INVALID), "a kill leaves it so"
        assert await connection.fetchval("SELECT max(number) FROM schema_migrations") < files[-1].number
        await migrate.apply_pending(url, files)
        assert not await connection.fetchval(_INVALID)
        assert await connection.fetchval("SELECT to_regclass('kept_more') IS NOT NULL")
        assert await connection.fetchval("SELECT count(*) FROM kept WHERE more = 'word'") == 1000
    assert (await migrate.load_plan(url, files)).pending == ()


async def test_three_migrators_at_once_do_not_wait_for_each_other_for_ever(url: str) -> None:
    files = make_files(
        "ALTER TABLE kept ADD CONSTRAINT short CHECK (length(word) < 9) NOT VALID;",
        "-- transaction: none\nALTER TABLE kept VALIDATE CONSTRAINT short;\n"
        "CREATE INDEX CONCURRENTLY kept_word ON kept (word);",
        "ALTER TABLE kept ADD COLUMN new text;",
    )
    plans = await asyncio.gather(*[migrate.apply_pending(url, files) for _ in range(3)])
    ran = sorted(each.number for plan in plans for each in plan.pending)
    assert ran == [each.number for each in files[-3:]], "each ran once"
    async with _connection(url) as connection:
        assert await connection.fetchval("SELECT convalidated FROM pg_constraint WHERE conname = 'short'")


async def test_a_constraint_that_rows_break_is_refused_and_mended_without_a_new_file(url: str) -> None:
    files = make_files(
        "ALTER TABLE kept ADD CONSTRAINT long CHECK (length(word) > 9) NOT VALID;",
        "-- transaction: none\nALTER TABLE kept VALIDATE CONSTRAINT long;",
    )
    with pytest.raises(errors.SchemaRefused, match=r"_new failed: .*long"):
        await migrate.apply_pending(url, files)
    assert len((await migrate.load_plan(url, files)).pending) == 1, "the first file stands"
    async with _connection(url) as connection:
        await connection.execute("UPDATE kept SET word = 'longer than nine'")
    assert len((await migrate.apply_pending(url, files)).pending) == 1


async def test_a_newer_schema_that_allows_it_is_served_on_and_another_is_refused_by_name(url: str) -> None:
    allowing = make_files("ALTER TABLE kept ADD COLUMN new text;")
    await migrate.apply_pending(url, allowing)
    plan = await migrate.apply_pending(url)
    assert (plan.pending, [each.number for each in plan.newer]) == ((), [allowing[-1].number])
    number = len(allowing) + 1
    head = f"-- oldest program: {number - 1}\n"
    shutting = schema_files.parse_migration(
        f"{number:04}_gone.sql", head + "ALTER TABLE kept DROP COLUMN more;"
    )
    await migrate.apply_pending(url, (*allowing, shutting))
    for refuses in (migrate.load_plan, migrate.apply_pending):
        with pytest.raises(errors.SchemaRefused) as refused:
            await refuses(url)
        assert (
            f"{shutting.title}, beside which only a program may serve that knows {allowing[-1].title}"
            in (str(refused.value))
        )
    assert (await migrate.apply_pending(url, allowing)).newer[0].name == "gone", "that one knows the file"


_INVALID = "SELECT count(*) > 0 FROM pg_index WHERE NOT indisvalid"
_END_BUILDER = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'CREATE INDEX CONCURRENTLY%'
"""


async def test_a_commit_that_takes_long_is_waited_for(url: str) -> None:
    """As on a busy disk: given up, it would leave the connection in a transaction that nobody began."""
    body = f"""
        CREATE FUNCTION take_long() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_sleep({online.HOLD_S + 0.5}); RETURN NULL; END $$;
        CREATE TABLE slow (id int);
        CREATE CONSTRAINT TRIGGER slowly AFTER INSERT ON slow DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION take_long();
        INSERT INTO slow VALUES (1);
    """
    done = await migrate.apply_pending(url, make_files(body), patience_s=5)
    assert [each.name for each in done.pending] == ["new"]
