"""Values come back as they were sent, and no connection asks the server what they are."""

from __future__ import annotations

from datetime import UTC, date, datetime
from uuid import UUID

import asyncpg
import pytest

from ccn import settings
from ccn.store.connection import pool


async def test_json_travels_as_values(shared_database: settings.DatabaseSettings) -> None:
    value = {"a": [1, "é", None, 2.5, True], "b": {}}
    async with pool.open(shared_database, "test") as connections:
        assert await connections.value("SELECT $1::jsonb", value) == value


ARRAYS: dict[str, list[object]] = {
    "bool": [True, None],
    "bytea": [b"\0x"],
    "int4": [1, -1],
    "int8": [2**40],
    "float4": [0.5],
    "float8": [0.1],
    "date": [date(2026, 1, 5)],
    "timestamptz": [datetime(2026, 1, 5, tzinfo=UTC)],
    "uuid": [UUID(int=1)],
    "jsonb": [{"a": ["é"]}, None],
    "text": ["{}", None],
}


async def test_no_connection_asks_the_server_what_an_array_is(
    shared_database: settings.DatabaseSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def asked(*_: object) -> None:
        raise AssertionError("asyncpg asks the server about types")

    monkeypatch.setattr(asyncpg.Connection, "_introspect_types", asked)
    async with pool.open(shared_database, "test") as connections:
        for name, values in ARRAYS.items():
            assert await connections.value(f"SELECT $1::{name}[]", values) == values
    lone = await pool.connect(shared_database, "test")
    assert await lone.fetchval("SELECT $1::uuid[]", ARRAYS["uuid"]) == ARRAYS["uuid"]
    await lone.close()
