"""The schema knows which kind of server it is on, and uses what that kind can do."""

from __future__ import annotations

import asyncpg

from ccn import settings

SERIES = {"character_evolution", "consciousness_metrics"}


async def test_the_schema_takes_each_server_for_what_it_is(
    database: settings.DatabaseSettings, database_mode: str
) -> None:
    assert await _ask(database, "SELECT ccn_database_mode()") == database_mode


async def test_time_series_are_hypertables_wherever_there_are_any(
    database: settings.DatabaseSettings, database_mode: str
) -> None:
    if database_mode == "plain":
        assert await _ask(database, "SELECT count(*) FROM pg_extension WHERE extname = 'timescaledb'") == 0
        return
    named = await _ask(
        database, "SELECT array_agg(hypertable_name) FROM timescaledb_information.hypertables"
    )
    assert isinstance(named, list)
    assert set(named) >= SERIES


async def _ask(database: settings.DatabaseSettings, sql: str) -> object:
    connection = await asyncpg.connect(database.url.get_secret_value())
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()
