"""A plan says of each file who may serve beside it, how it runs, what it locks and how large that is."""

from __future__ import annotations

import asyncpg

from ccn import settings
from ccn.store.connection import migrate, upgrade_plan
from ccn.store.schema import schema_files
from tests.store.connection.test_online import make_files


async def test_a_plan_tells_what_each_pending_file_needs(database: settings.DatabaseSettings) -> None:
    url = database.url.get_secret_value()
    connection = await asyncpg.connect(url)
    await connection.execute("CREATE TABLE kept AS SELECT n FROM generate_series(1, 5000) n")
    await connection.execute("ANALYZE kept")
    await connection.close()
    files = make_files(
        "ALTER TABLE kept ADD COLUMN more text;",
        "-- transaction: none\nUPDATE kept SET more = '' WHERE n IN (SELECT n FROM kept LIMIT 9);",
        "-- transaction: none\nCREATE INDEX CONCURRENTLY kept_more ON kept (more);",
    )
    shutting = f"-- oldest program: {len(files) + 1}\nDROP TABLE missing;"
    files = (*files, schema_files.parse_migration(f"{len(files) + 1:04}_gone.sql", shutting))
    plan, steps = await upgrade_plan.load_steps(url, files)
    assert [step.migration for step in steps] == list(plan.pending)
    assert [step.old_programs_serve for step in steps] == [True, True, True, False]
    assert [step.runs for step in steps] == [
        "in a short transaction",
        "in batches",
        "outside of a transaction",
        "in a short transaction",
    ]
    assert [step.locks[0].lock.blocks for step in steps] == [
        "reads and writes",
        "nobody",
        "nobody",
        "reads and writes",
    ]
    assert steps[0].sizes["kept"].rows == 5000
    assert steps[0].sizes["kept"].bytes > 100_000
    assert steps[3].sizes == {}, "a table that is not there has no size"
    assert (await migrate.load_plan(url)).pending == (), "nothing ran"
