"""`ccn migrate` as somebody types it."""

from __future__ import annotations

import json
import subprocess
from datetime import datetime
from pathlib import Path

import pytest

from ccn import settings
from ccn.store.connection import pool
from tests.support.cli import commands


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def ccn_(folder: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return commands.run(*arguments, cwd=folder, env=commands.environment(**environ))


def test_migrate_shows_what_has_run_and_changes_nothing_twice(
    folder: Path, database: settings.DatabaseSettings
) -> None:
    url = database.url.get_secret_value()
    plan = ccn_(folder, "migrate", "--plan", "--database-url", url)
    assert plan.returncode == 0, plan.stderr
    rows = [line.split() for line in plan.stdout.splitlines()]
    assert rows[0] == ["number", "name", "state"]
    assert rows[1][:3] == ["0001", "modes", "ran"]
    assert {row[2] for row in rows[1:]} == {"ran"}
    again = ccn_(folder, "migrate", CCN_DATABASE_URL=url)
    assert again.stdout == plan.stdout
    assert again.stderr.endswith("nothing to do: the schema is that of this version\n")
    first, *_ = map(json.loads, ccn_(folder, "migrate", "--json", CCN_DATABASE_URL=url).stdout.splitlines())
    assert (first["number"], first["name"], first["state"]) == (1, "modes", "ran")
    assert datetime.fromisoformat(first["at"]).tzinfo is not None


def test_migrate_shows_what_would_run(folder: Path, database: settings.DatabaseSettings) -> None:
    url = database.url.get_secret_value().rpartition("/")[0] + "/postgres"
    plan = ccn_(folder, "migrate", "--plan", "--database-url", url)
    assert plan.returncode == 3, plan.stderr
    lines = {" ".join(line.split()) for line in plan.stdout.splitlines()}
    assert "0001 modes would run" in lines
    assert any(
        line.startswith("0001_modes stop first in one transaction decided while it") for line in lines
    )
    told = ccn_(folder, "migrate", "--plan", "--json", "--database-url", url)
    assert told.returncode == 3
    first, *_, last = map(json.loads, told.stdout.splitlines())
    assert (first["state"], first["old_programs_serve"], first["runs"]) == (
        "would run",
        False,
        "in one transaction",
    )
    assert first["locks"][0] == {
        "table": None,
        "lock": "decided while it runs",
        "blocks": "unknown",
        "rows": None,
        "bytes": None,
    }
    assert last["oldest_program"] <= last["number"]


def test_migrate_grants_or_shows_what_roles_may_do(
    folder: Path, database: settings.DatabaseSettings
) -> None:
    url = database.url.get_secret_value()
    shown = ccn_(folder, "migrate", "--grants", "--plan", CCN_DATABASE_OWNER_URL=url)
    assert "GRANT SELECT, INSERT ON leaves TO ccn_node;" in shown.stdout.splitlines()
    granted = ccn_(
        folder, "migrate", "--grants", CCN_DATABASE_OWNER_URL=url, CCN_DATABASE_URL="postgresql://x"
    )
    assert (granted.returncode, granted.stderr.splitlines()[-1]) == (
        0,
        "ccn_node, ccn_gateway and ccn_auditor have what nodes, gateways and auditors need",
    )


def test_migrate_without_a_database_says_so(folder: Path) -> None:
    ended = ccn_(folder, "migrate", HOME=str(folder), XDG_DATA_HOME=str(folder))
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith(
        "error: no cluster runs here. Start one with `ccn up`, or say where it is: "
    )
    unreachable = ccn_(folder, "migrate", "--database-url", "postgresql://ann:hunter2@127.0.0.1:1/ccn")
    assert unreachable.returncode == 1
    assert "\nerror: " in unreachable.stderr
    assert "hunter2" not in unreachable.stderr


async def test_a_database_that_a_newer_version_migrated_is_left_as_it_is(
    folder: Path, database: settings.DatabaseSettings
) -> None:
    url = database.url.get_secret_value()
    await _record_newer_file(database, oldest_program=1)
    ended = ccn_(folder, "migrate", CCN_DATABASE_URL=url)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[-1].endswith("(of a newer version)")
    assert "the schema is newer than this version by 1 files, beside which it may serve" in ended.stderr
    told = [
        json.loads(line)
        for line in ccn_(folder, "migrate", "--json", CCN_DATABASE_URL=url).stdout.splitlines()
    ]
    assert told[-1]["name"] == "of_tomorrow"
    assert {each["state"] for each in told} == {"ran"}


async def test_a_schema_beside_which_this_version_may_not_serve_is_refused_by_name(
    folder: Path, database: settings.DatabaseSettings
) -> None:
    await _record_newer_file(database, oldest_program=None)
    for arguments in (("migrate",), ("migrate", "--plan")):
        ended = ccn_(folder, *arguments, CCN_DATABASE_URL=database.url.get_secret_value())
        assert (ended.returncode, ended.stdout) == (1, "")
        assert "_of_tomorrow, beside which only a program may serve" in commands.complaint(ended)


async def _record_newer_file(database: settings.DatabaseSettings, oldest_program: int | None) -> None:
    """Write down that a file ran which this version does not have."""
    async with pool.open(database, "test") as connections:
        await connections.rows(_NEWER_FILE, oldest_program)


_NEWER_FILE = """
    INSERT INTO schema_migrations (number, name, checksum, oldest_program)
    SELECT max(number) + 1, 'of_tomorrow', (array_agg(checksum))[1], coalesce($1, max(number) + 1)
    FROM schema_migrations
"""
