"""A schema file says at its head who may serve beside it, and falls into its statements."""

from __future__ import annotations

from pathlib import Path

import pytest

from ccn import errors
from ccn.store.schema import schema_files
from ccn.store.schema.schema_files import HEADLESS, parse_migration

NEXT = f"{HEADLESS + 1:04}_more.sql"


def test_the_files_from_before_there_were_heads_speak_for_nobody_but_who_knows_them() -> None:
    early = [each for each in schema_files.list_migrations() if each.number <= HEADLESS]
    assert [each.oldest_program for each in early] == list(range(1, HEADLESS + 1))
    assert all(each.in_transaction and not each.is_online for each in early)


def test_a_head_names_the_oldest_program_and_how_the_file_runs() -> None:
    short = parse_migration(NEXT, "-- oldest program: 20\n-- About this file.\nSELECT 1;")
    assert (short.oldest_program, short.in_transaction, short.is_online) == (20, True, True)
    head = "-- oldest program: 28\n-- transaction: none\n"
    assert not parse_migration(NEXT, head + "SELECT 1;").in_transaction
    late = "-- oldest program: 28\nSELECT 1;\n-- transaction: none\n"
    assert parse_migration(NEXT, late).in_transaction, "only the head counts"


@pytest.mark.parametrize(
    "head",
    [
        "",
        "-- oldest program:",
        "-- oldest program: 0",
        f"-- oldest program: {HEADLESS + 2}",
        "-- oldest program: all",
        "-- About this file.\n-- oldest program: 27",
    ],
)
def test_a_new_file_that_does_not_say_who_may_serve_beside_it_is_refused(head: str) -> None:
    with pytest.raises(errors.SchemaRefused, match="does not say at its head"):
        parse_migration(NEXT, f"{head}\nSELECT 1;")


def test_nothing_but_none_can_be_said_of_its_transaction() -> None:
    with pytest.raises(errors.SchemaRefused, match="transaction: none"):
        parse_migration(NEXT, "-- oldest program: 27\n-- transaction: long\nSELECT 1;")


def test_a_gap_in_the_numbers_is_refused(tmp_path: Path) -> None:
    for name in ("0001_first.sql", "0003_third.sql"):
        (tmp_path / name).write_text("SELECT 1;")
    with pytest.raises(errors.SchemaRefused, match="without gaps"):
        schema_files.read_migrations(tmp_path)


def test_what_is_quoted_or_a_comment_ends_no_statement() -> None:
    sql = """
        -- first; of all
        SELECT 'a;b', "c;d"; /* between; */
        CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $body$ BEGIN; PERFORM $$;$$; END $body$;
        SELECT 2 -- last;
    """
    plain = [schema_files.remove_comments(each) for each in schema_files.split_statements(sql)]
    assert plain[0] == """SELECT 'a;b', "c;d\""""
    assert plain[1].endswith("$body$ BEGIN; PERFORM $$;$$; END $body$")
    assert plain[2:] == ["SELECT 2"]


def test_every_statement_of_the_schema_survives_being_split() -> None:
    for migration in schema_files.list_migrations():
        parts = schema_files.split_statements(migration.sql)
        assert all(part in migration.sql for part in parts)
        assert sum(part.count("$$") % 2 for part in parts) == 0, migration.title
