"""Migrations run once, together, in order, or not at all."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import asyncpg
import pytest
import pytest_asyncio

from ccn import errors
from ccn.store.connection import migrate
from ccn.store.schema import schema_files


@asynccontextmanager
async def _made(server: str, options: str = "") -> AsyncIterator[str]:
    name = f"empty_{secrets.token_hex(6)}"
    connection = await asyncpg.connect(server)
    try:
        await connection.execute(f"CREATE DATABASE {name} TEMPLATE template0 {options}")
        yield f"{server.rpartition('/')[0]}/{name}"
        await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await connection.close()


@pytest_asyncio.fixture(loop_scope="session")
async def empty(database_server: str) -> AsyncIterator[str]:
    """The address of a database without a schema."""
    async with _made(database_server) as url:
        yield url


async def _ask(url: str, sql: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


async def test_an_empty_database_gets_everything_and_a_second_run_nothing(empty: str) -> None:
    first = await migrate.apply_pending(empty)
    assert first.pending == schema_files.list_migrations()
    second = await migrate.apply_pending(empty)
    assert second.pending == ()
    assert [each.checksum for each in second.applied] == [
        each.checksum for each in schema_files.list_migrations()
    ]


async def test_three_nodes_that_start_at_once_run_every_file_once_between_them(empty: str) -> None:
    plans = await asyncio.gather(*[migrate.apply_pending(empty) for _ in range(3)])
    ran = [migration.number for plan in plans for migration in plan.pending]
    assert sorted(ran) == [migration.number for migration in schema_files.list_migrations()]
    assert (await migrate.load_plan(empty)).pending == ()


async def test_a_plan_shows_what_would_run_and_does_none_of_it(empty: str) -> None:
    assert (await migrate.load_plan(empty)).pending == schema_files.list_migrations()
    assert await _ask(empty, "SELECT to_regclass('schema_migrations') IS NULL")
    await migrate.apply_pending(empty)
    assert (await migrate.load_plan(empty)).pending == ()


async def test_a_file_edited_after_it_ran_is_refused_by_name(database_server: str, empty: str) -> None:
    await migrate.apply_pending(empty)
    await _ask(empty, "UPDATE schema_migrations SET checksum = 'other' WHERE number = 2")
    for refuses in (migrate.apply_pending, migrate.load_plan):
        with pytest.raises(errors.SchemaRefused, match="0002_people_and_characters was edited"):
            await refuses(empty)


async def test_a_database_of_a_newer_version_is_refused(empty: str) -> None:
    await migrate.apply_pending(empty)
    await _ask(
        empty,
        "INSERT INTO schema_migrations (number, name, checksum)"
        " SELECT max(number) + 1, 'from_the_future', 'x' FROM schema_migrations",
    )
    with pytest.raises(errors.SchemaRefused, match="from_the_future"):
        await migrate.apply_pending(empty)


async def test_a_file_that_fails_leaves_nothing_behind_and_tells_no_rows(empty: str) -> None:
    await _ask(empty, "CREATE TABLE messages (content text)")  # stands in the way of the third file
    with pytest.raises(errors.SchemaRefused, match="0003_conversations failed"):
        await migrate.apply_pending(empty)
    assert await _ask(empty, "SELECT to_regclass('users') IS NULL")
    assert await _ask(empty, "SELECT to_regclass('schema_migrations') IS NULL")
    await _ask(empty, "DROP TABLE messages")
    assert (await migrate.apply_pending(empty)).pending == schema_files.list_migrations()


async def test_a_database_in_another_encoding_is_refused(database_server: str) -> None:
    async with _made(database_server, "ENCODING 'LATIN1' LOCALE 'C'") as url:
        with pytest.raises(errors.SchemaRefused, match="LATIN1"):
            await migrate.apply_pending(url)


async def test_a_server_that_does_not_answer_is_unavailable() -> None:
    with pytest.raises(errors.DatabaseUnavailable):
        await migrate.load_plan("postgresql://nobody@127.0.0.1:1/nothing")


@pytest.mark.parametrize(("version", "refused"), [("150013", True), ("160000", False), ("180001", False)])
async def test_a_server_older_than_sixteen_is_refused(version: str, refused: bool) -> None:
    server = await asyncio.start_server(_Pretender(version).speak, "127.0.0.1", 0)
    url = f"postgresql://ccn@127.0.0.1:{server.sockets[0].getsockname()[1]}/ccn?sslmode=disable"
    with pytest.raises(errors.CCNError) as answer:
        await migrate.load_plan(url)
    server.close()
    assert ("too old" in str(answer.value)) == refused


class _Pretender:
    """Says which version it is, as PostgreSQL does when a client logs in, and hangs up."""

    def __init__(self, version: str) -> None:
        major, minor = int(version[:2]), int(version[2:])
        self._version = f"{major}.{minor}"

    async def speak(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        length = int.from_bytes(await reader.readexactly(4), "big")
        await reader.readexactly(length - 4)
        settings = {"server_version": self._version, "client_encoding": "UTF8", "TimeZone": "UTC"}
        settings |= {"in_hot_standby": "off", "default_transaction_read_only": "off"}
        writer.write(_packet(b"R", bytes(4)))
        for name, value in settings.items():
            writer.write(_packet(b"S", f"{name}\0{value}\0".encode()))
        writer.write(_packet(b"K", bytes(8)) + _packet(b"Z", b"I"))
        await writer.drain()
        await reader.read(1)
        writer.close()


def _packet(kind: bytes, body: bytes) -> bytes:
    return kind + (len(body) + 4).to_bytes(4, "big") + body


async def test_what_an_earlier_version_kept_has_its_owner_and_its_secrets_are_gone(
    empty: str,
) -> None:
    early = [each for each in schema_files.list_migrations() if each.number <= 16]
    late = [each for each in schema_files.list_migrations() if each.number > 16]
    connection = await asyncpg.connect(empty)
    try:
        for each in early:
            await connection.execute(each.sql)
        async with connection.transaction():
            await connection.execute(_KEPT)
        async with connection.transaction():
            for each in late:
                await connection.execute(each.sql)
        for kept in ("instance_registry", "usage"):
            found = await connection.fetch(f"SELECT DISTINCT owner_id FROM {kept}")
            assert [row[0] for row in found] == [UUID(int=1)]
        assert await connection.fetchval("SELECT count(*) FROM token_keys") == 0
        assert await connection.fetchval("SELECT count(*) FROM refresh_tokens") == 1, "who has one renews"
        with pytest.raises(asyncpg.PostgresError, match="CCN_LIMITS_INSTANCES"):
            await connection.execute(_MORE)
    finally:
        await connection.close()


_KEPT = """
    INSERT INTO users (id, name, tier) VALUES (lpad('1', 32, '0')::uuid, 'ada', 'user');
    INSERT INTO token_keys (id, secret) VALUES ('0123456789abcdef', decode(repeat('07', 64), 'hex'));
    INSERT INTO refresh_tokens (hash, family, user_id, generation, expires_at)
    SELECT sha256('r'), id, id, 1, now() + interval '1 day' FROM users;
    INSERT INTO characters (id, name) VALUES ('wren', 'Wren');
    INSERT INTO leaf_sources (node_id) VALUES ('node-1');
    INSERT INTO leaves (node_id, number, kind, body)
    SELECT 'node-1', n, 'any', '' FROM generate_series(1, 3) AS n;
    INSERT INTO plates (character_id, version, hash, content, imported_by, leaf_node, leaf_number)
    VALUES ('wren', 1, sha256('# Wren'), '# Wren', 'ada', 'node-1', 1);
    INSERT INTO conversations (id, character_id, owner_id, plate_version, created_at, changed_at)
    SELECT lpad(n::text, 32, '0')::uuid, 'wren', lpad('1', 32, '0')::uuid, 1, now(), now()
    FROM generate_series(2, 4) AS n;
    INSERT INTO instance_registry (id, conversation_id, character_id, host, epoch, status, model,
                                   plate_version, heartbeat_at, spawned_at)
    SELECT c.id, c.id, 'wren', 'node-1', 1, 'running', 'model-1', 1, now(), now()
    FROM conversations c ORDER BY id LIMIT 2;
    INSERT INTO instance_lives (instance_id, version, at, host, epoch, status, reason, leaf_node,
                                leaf_number)
    SELECT id, 1, now(), host, epoch, status, 'spawned', 'node-1', 1 + row_number() OVER ()
    FROM instance_registry;
    INSERT INTO usage (day, character_id, conversation_id, model, calls)
    SELECT current_date, 'wren', id, 'model-1', 1 FROM conversations;
"""
_MORE = """
    INSERT INTO quotas SELECT id, 9, 2 FROM users;
    INSERT INTO instance_registry (id, conversation_id, character_id, host, epoch, status, model,
                                   plate_version, heartbeat_at, spawned_at)
    SELECT c.id, c.id, 'wren', 'node-1', 1, 'running', 'model-1', 1, now(), now()
    FROM conversations c ORDER BY id DESC LIMIT 1;
"""
