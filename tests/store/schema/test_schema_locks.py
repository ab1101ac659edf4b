"""What a schema file locks is what PostgreSQL locks when it runs."""

from __future__ import annotations

import asyncpg

from ccn import settings
from ccn.store.schema import schema_files, schema_locks
from ccn.store.schema.schema_locks import Lock, TableLock


def _list_locks(sql: str, head: str = "") -> tuple[TableLock, ...]:
    text = f"-- oldest program: 27{head}\n{sql};"
    return schema_locks.list_locks(schema_files.parse_migration("0028_more.sql", text))


async def test_what_is_told_of_a_statement_is_what_postgresql_takes(
    database: settings.DatabaseSettings,
) -> None:
    connection = await asyncpg.connect(database.url.get_secret_value())
    try:
        for sql in _STATEMENTS:
            transaction = connection.transaction()
            await transaction.start()
            await connection.execute(sql)
            locks = _list_locks(sql)
            assert locks, sql
            for told in locks:
                held = await connection.fetch(_HELD, told.table)
                wanted = told.lock.value.title().replace(" ", "") + "Lock"
                assert wanted in {row["mode"] for row in held}, told
            await transaction.rollback()
    finally:
        await connection.close()


def test_of_several_locks_on_a_table_the_strongest_counts_and_new_tables_not_at_all() -> None:
    sql = "INSERT INTO nodes VALUES (1); ALTER TABLE public.nodes ADD more text; CREATE TABLE own (a int);"
    assert _list_locks(sql + "CREATE INDEX ON own (a); DO $$ BEGIN END $$") == (
        TableLock("", Lock.UNKNOWN),
        TableLock("nodes", Lock.EXCLUSIVE),
    )


def test_what_runs_outside_of_a_transaction_blocks_no_node() -> None:
    sql = "CREATE INDEX CONCURRENTLY more ON turns (model); ALTER TABLE nodes VALIDATE CONSTRAINT short"
    locks = _list_locks(sql, "\n-- transaction: none")
    assert [(each.table, each.lock.blocks) for each in locks] == [("nodes", "nobody"), ("turns", "nobody")]


_HELD = "SELECT mode FROM pg_locks WHERE pid = pg_backend_pid() AND relation = to_regclass($1)"
_STATEMENTS = (
    "ALTER TABLE conversations ADD COLUMN more text",
    'ALTER TABLE ONLY "conversations" DROP COLUMN title',
    "ALTER TABLE conversations ADD CONSTRAINT a FOREIGN KEY (title) REFERENCES nodes (node_id) NOT VALID",
    "CREATE INDEX more ON conversations (title)",
    "CREATE TRIGGER more BEFORE UPDATE OF title ON conversations EXECUTE FUNCTION ccn_refuse_change()",
    "DROP TRIGGER nodes_stay ON nodes",
    "CREATE TABLE more (of text REFERENCES nodes)",
    "TRUNCATE token_keys CASCADE",
    "DELETE FROM token_keys",
    "UPDATE nodes SET key = key",
)
