"""`ccn settings` as somebody types it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from ccn import settings
from tests.support.cli import commands


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def ccn_(folder: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return commands.run(*arguments, cwd=folder, env=commands.environment(**environ))


def test_settings_tell_value_origin_and_meaning_and_hide_secrets(folder: Path) -> None:
    (folder / "ccn.toml").write_text("[http]\nport = 8123\n")
    url = "postgresql://ann:hunter2@db:5432/ccn"
    told = ccn_(folder, "settings", CCN_DATABASE_URL=url, CCN_ELSEWHERE="x")
    assert told.returncode == 0
    lines = [" ".join(line.split()) for line in told.stdout.splitlines()]
    assert "CCN_DATABASE_URL postgresql://ann:********@db:5432/ccn (environment)" in lines
    assert "CCN_HTTP_PORT 8123 (ccn.toml)" in lines
    assert "CCN_GRPC_PORT 7701 (default)" in lines
    assert "hunter2" not in told.stdout + told.stderr
    assert "\x1b" not in told.stdout
    assert told.stderr == "warning: CCN_ELSEWHERE is not a setting and has no effect\n"
    for group, field in settings.list_fields():
        assert settings.field_sentence(group, field) in lines


def test_settings_as_json_hold_the_same(folder: Path) -> None:
    url = "postgresql://ann:hunter2@db:5432/ccn"
    told = json.loads(ccn_(folder, "settings", "--json", CCN_DATABASE_URL=url).stdout)
    assert list(told) == [f"{group}.{field}" for group, field in settings.list_fields()]
    assert told["database.url"] == {
        "value": "postgresql://ann:********@db:5432/ccn",
        "origin": "CCN_DATABASE_URL",
        "variable": "CCN_DATABASE_URL",
        "meaning": settings.field_sentence("database", "url"),
    }


def test_what_is_set_in_two_places_comes_from_the_environment(folder: Path) -> None:
    (folder / "ccn.toml").write_text("[http]\nport = 8123\n")
    told = json.loads(ccn_(folder, "settings", "--json", CCN_HTTP_PORT="9000").stdout)["http.port"]
    assert (told["value"], told["origin"]) == ("9000", "CCN_HTTP_PORT")


def test_a_value_that_breaks_lines_stays_on_its_line(folder: Path) -> None:
    told = ccn_(folder, "settings", CCN_CLUSTER_NAME="one\ntwo")
    assert not any(line.startswith("two") for line in told.stdout.splitlines())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[http\n", "ccn.toml"),
        ('[http]\nport = "many"\n', "port"),
        ("[http]\nport = 70000\n", "port"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_in_one_line(folder: Path, text: str, said: str) -> None:
    (folder / "ccn.toml").write_text(text)
    ended = ccn_(folder, "settings")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert said in commands.complaint(ended)


def test_a_wrong_secret_is_refused_without_being_shown(folder: Path) -> None:
    ended = ccn_(folder, "settings", CCN_DATABASE_URL="mysql://ann:hunter2@db/ccn")
    assert "hunter2" not in ended.stdout + ended.stderr
