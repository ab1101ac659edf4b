"""`ccn up` as somebody types it, up to where a cluster would start."""

from __future__ import annotations

import json
import socket
import subprocess
from pathlib import Path

import pytest

from tests.support.cli import commands


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def ccn_(folder: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return commands.run(*arguments, cwd=folder, env=commands.environment(HOME=str(folder), **environ))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--ephemeral", "--data", "x"), "give --data or --ephemeral, not both"),
        (("--port", "65530", "--nodes", "4"), "4 processes need 8 ports from 65530 on"),
        (("--port", "65530", "--nodes", "2", "--gateways", "2"), "4 processes need 8 ports from 65530 on"),
        (("--nodes", "17"), "--nodes"),
        (("--gateways", "17"), "--gateways"),
        (("--gateways", "-1"), "--gateways"),
        (("--port", "-1"), "--port"),
        (("somewhere",), "somewhere"),
    ],
)
def test_what_makes_no_cluster_is_refused_before_anything_starts(
    folder: Path, arguments: tuple[str, ...], said: str
) -> None:
    ended = ccn_(folder, "up", *arguments)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert said in " ".join(ended.stderr.replace("│", " ").split())
    assert list(folder.iterdir()) == []


def test_a_refusal_is_json_where_json_was_asked_for(folder: Path) -> None:
    ended = ccn_(folder, "up", "--ephemeral", "--data", "x", "--json")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert json.loads(ended.stderr)["error"]["code"] == "usage"


def test_a_file_where_the_data_should_be_is_named(folder: Path) -> None:
    (folder / "taken").write_text("somebody's")
    ended = ccn_(folder, "up", "--data", "taken", "--port", "0")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "taken" in commands.complaint(ended)
    assert (folder / "taken").read_text() == "somebody's"


def test_a_port_that_is_taken_is_named_before_data_are_made(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        ended = ccn_(folder, "up", "--data", "made", "--nodes", "1", "--port", str(port))
    assert (ended.returncode, ended.stdout) == (1, "")
    assert str(port) in commands.complaint(ended)


def test_a_folder_without_programs_of_postgresql_is_named(folder: Path) -> None:
    nowhere = folder / "no programs"
    ended = ccn_(folder, "up", "--data", "made", "--port", "0", CCN_PG_BIN=str(nowhere))
    assert ended.returncode == 1
    assert str(nowhere) in ended.stderr
