"""Schema files that would stop nodes at work are refused before they are anywhere."""

from __future__ import annotations

import pytest

from ccn.store.schema import online_rules, schema_files
from ccn.store.schema.schema_files import HEADLESS, parse_migration

EXEMPT = 27
"""Files from before there were rules. This number may only become smaller."""


def test_no_file_is_exempt_but_those_from_before_there_were_rules() -> None:
    assert HEADLESS <= EXEMPT


def test_every_later_file_of_the_schema_keeps_the_rules() -> None:
    for migration in schema_files.list_migrations():
        assert online_rules.find_faults(migration) == (), migration.title


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE more (id int, of text REFERENCES nodes CHECK (of <> '')); INSERT INTO more SELECT 1",
        "CREATE TABLE more (id int); CREATE INDEX more_id ON more (id); ALTER TABLE more ADD UNIQUE (id)",
        "ALTER TABLE turns ADD COLUMN more text",
        "ALTER TABLE turns ADD more integer NOT NULL DEFAULT 0, ADD COLUMN less timestamptz DEFAULT now()",
        "ALTER TABLE turns ADD COLUMN kind text NOT NULL DEFAULT 'any, more'::text",
        "ALTER TABLE turns ADD CONSTRAINT is_short CHECK (length(more) < 9) NOT VALID",
        "ALTER TABLE turns ADD CONSTRAINT of_node FOREIGN KEY (more) REFERENCES nodes (node_id) NOT VALID",
        "ALTER TABLE turns ADD CONSTRAINT once UNIQUE USING INDEX turns_more",
        "ALTER TABLE turns DROP COLUMN more",
        "CREATE OR REPLACE FUNCTION f() RETURNS void LANGUAGE sql AS $$ UPDATE turns SET more = 1 $$",
        "CREATE TRIGGER turns_more BEFORE UPDATE ON turns FOR EACH ROW EXECUTE FUNCTION f()",
        "INSERT INTO series_key VALUES (true)",
        "DO $$ BEGIN PERFORM 1; END $$",
    ],
)
def test_what_takes_a_moment_may_run_in_a_transaction(sql: str) -> None:
    assert _find_faults(sql) == ()


@pytest.mark.parametrize(
    ("sql", "advice"),
    [
        ("SET lock_timeout = '1h'", "sets the time"),
        ("COMMIT", "begins and ends"),
        ("CREATE INDEX turns_more ON turns (more)", "CONCURRENTLY"),
        ("CREATE INDEX CONCURRENTLY turns_more ON turns (more)", "cannot run in a transaction"),
        ("ALTER TABLE turns ALTER COLUMN more TYPE bigint", "add a column"),
        ("ALTER TABLE turns ALTER more SET NOT NULL", "reads the whole table"),
        ("ALTER TABLE turns ADD CONSTRAINT is_short CHECK (length(more) < 9)", "NOT VALID"),
        ("ALTER TABLE turns ADD FOREIGN KEY (more) REFERENCES nodes (node_id)", "NOT VALID"),
        ("ALTER TABLE turns ADD CONSTRAINT once UNIQUE (more)", "USING INDEX"),
        ("ALTER TABLE turns ADD CONSTRAINT one EXCLUDE USING gist (more WITH =)", "builds an index"),
        ("ALTER TABLE turns VALIDATE CONSTRAINT is_short", "transaction: none"),
        ("ALTER TABLE turns ADD COLUMN more uuid DEFAULT gen_random_uuid()", "not a constant"),
        (
            "ALTER TABLE turns ADD COLUMN a int, ADD more double precision DEFAULT random()",
            "not a constant",
        ),
        ("ALTER TABLE turns ADD COLUMN more bigint GENERATED ALWAYS AS IDENTITY", "writes the table anew"),
        ("ALTER TABLE turns ADD COLUMN more bigserial", "writes the table anew"),
        ("ALTER TABLE turns ADD COLUMN more text REFERENCES nodes", "add the column first"),
        ("ALTER TABLE turns ADD COLUMN more text NOT NULL", "constant DEFAULT"),
        ("ALTER TABLE turns SET UNLOGGED", "writes the table anew"),
        ("UPDATE turns SET more = 1", "LIMIT"),
        ("INSERT INTO nodes SELECT * FROM more", "LIMIT"),
        ("WITH old AS (SELECT 1) DELETE FROM turns", "LIMIT"),
        ("DO $$ BEGIN UPDATE turns SET more = 1; END $$", "hides"),
        ("LOCK TABLE turns", "as long as it takes"),
        ("TRUNCATE turns", "as long as it takes"),
    ],
)
def test_what_holds_a_table_for_long_is_refused_with_advice(sql: str, advice: str) -> None:
    (fault, *_) = _find_faults(f"SELECT 1; {sql};")
    assert advice in fault
    assert sql.split(maxsplit=1)[0] in fault


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE UNIQUE INDEX CONCURRENTLY turns_more ON turns (more)",
        "DROP INDEX CONCURRENTLY IF EXISTS turns_more",
        "ALTER TABLE turns VALIDATE CONSTRAINT is_short",
        "UPDATE turns SET more = 1 WHERE id IN (SELECT id FROM turns WHERE more IS NULL LIMIT 500)",
    ],
)
def test_what_may_run_twice_may_run_outside_of_a_transaction(sql: str) -> None:
    assert _find_faults(sql, "\n-- transaction: none") == ()


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE INDEX CONCURRENTLY ON turns (more)",
        "CREATE INDEX CONCURRENTLY IF NOT EXISTS turns_more ON turns (more)",
        "CREATE INDEX turns_more ON turns (more)",
        "DROP INDEX CONCURRENTLY turns_more",
        "CREATE TABLE more ()",
        "ALTER TABLE turns ADD COLUMN more text",
        "ALTER TABLE turns VALIDATE CONSTRAINT is_short, ADD COLUMN more text",
        "UPDATE turns SET more = 1",
    ],
)
def test_what_a_kill_would_leave_half_done_stands_in_no_file_without_transaction(sql: str) -> None:
    (fault,) = _find_faults(sql, "\n-- transaction: none")
    assert "outside of a transaction stand only" in fault


def _find_faults(sql: str, head: str = "") -> tuple[str, ...]:
    text = f"-- oldest program: {HEADLESS}{head}\n{sql};"
    return online_rules.find_faults(parse_migration(f"{HEADLESS + 1:04}_more.sql", text))
