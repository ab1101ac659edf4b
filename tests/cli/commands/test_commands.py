"""The commands as somebody types them: what they print, where, and with which exit code."""

from __future__ import annotations

import json
import os
import pty
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import ccn
from tests.support.cli import commands

CCN = (sys.executable, "-P", "-m", "ccn")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def ccn_(folder: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return commands.run(*arguments, cwd=folder, env=commands.environment(**environ))


def test_the_version_is_one_line(folder: Path) -> None:
    started = subprocess.run(
        [*CCN, "--version"], capture_output=True, text=True, check=True, cwd=folder, timeout=100
    )
    assert started.stdout == ccn_(folder, "--version").stdout == f"ccn {ccn.__version__}\n"


def test_help_names_the_commands(folder: Path) -> None:
    told = ccn_(folder, "--help")
    assert {"up", "node", "migrate", "settings"} <= set(told.stdout.split())


def test_help_imports_nothing_heavy(folder: Path) -> None:
    code = (
        "import sys; from ccn import cli; sys.argv = ['ccn', '--help']\n"
        "try: cli.main()\n"
        "except SystemExit: pass\n"
        "print(sorted({'fastapi', 'pydantic', 'grpc', 'asyncpg', 'structlog', 'numpy'} & set(sys.modules)))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=folder
    )
    assert ended.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("up", "--nodes", "0"),
        ("up", "--nodes", "17"),
        ("up", "--port", "65536"),
        ("up", "--port", "65530", "--nodes", "4"),
        ("up", "--ephemeral", "--data", "x"),
        ("node", "run", "--fast"),
    ],
)
def test_a_wrong_command_line_is_exit_code_2(folder: Path, arguments: tuple[str, ...]) -> None:
    ended = ccn_(folder, *arguments)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "Usage:" in ended.stderr


def test_an_error_of_ours_is_one_line_with_its_advice(folder: Path) -> None:
    ended = ccn_(folder, "node", "run")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == (
        "error: CCN_DATABASE_URL is not set: a node needs its cluster's database. "
        "Mend the setting that the message names.\n"
    )


def test_a_traceback_is_for_those_who_ask(folder: Path) -> None:
    ended = ccn_(folder, "node", "run", CCN_LOG_LEVEL="debug")
    assert ended.returncode == 1
    assert "Traceback" in ended.stderr
    assert "SettingsInvalid" in ended.stderr


def test_an_error_is_red_on_a_terminal(folder: Path) -> None:
    ours, theirs = pty.openpty()
    failing = ("node", "run")
    commands.begin(failing, commands.environment(), (theirs, theirs, theirs), cwd=folder).wait(30)
    os.close(theirs)
    assert os.read(ours, 4096).startswith(b"\x1b[31merror: ")
    os.close(ours)


def test_an_error_is_json_where_json_was_asked_for(folder: Path) -> None:
    for arguments, code in (
        (("round", "list"), "no_cluster"),
        (("status", "--endpoint", "host"), "input_invalid"),
        (("round", "nonsense"), "usage"),
        (("up", "--nodes", "0"), "usage"),
    ):
        ended = ccn_(folder, *arguments, "--json", HOME=str(folder), XDG_DATA_HOME=str(folder))
        assert (ended.returncode, ended.stdout) == (2 if code == "usage" else 1, "")
        told = json.loads(ended.stderr)["error"]
        assert (told["code"], set(told)) == (code, {"code", "message", "advice"})


def test_a_shell_can_complete_the_commands(folder: Path) -> None:
    shown = ccn_(
        folder, "--show-completion", SHELL="/bin/bash", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1"
    )
    assert "_ccn_completion" in shown.stdout + ccn_(folder, "--show-completion", "bash").stdout
    asked = {"_CCN_COMPLETE": "complete_bash", "COMP_WORDS": "ccn val", "COMP_CWORD": "1"}
    assert ccn_(folder, **asked).stdout.split() == ["validators"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("status", "--data", "nowhere"),
            "no cluster runs on nowhere. Start one",
        ),
        (("status",), "no cluster runs here. Start one with `ccn up`, or say where it is: "),
        (("round", "list"), "no cluster runs here. Start one with `ccn up`, or say where it is: "),
        (("chat",), "no cluster runs here. Start one with `ccn up`, or say where it is: "),
        (("status", "--endpoint", "host"), "'host' is not an address: write it as http://host:port"),
        (
            ("status", "--endpoint", "http://127.0.0.1:1"),
            "127.0.0.1:1 does not answer (Connection refused)",
        ),
        (("record", "export", "."), ". is a folder: name a file in it"),
        (("record", "export", ""), ". is a folder: name a file in it"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    folder: Path, arguments: tuple[str, ...], said: str
) -> None:
    ended = ccn_(folder, *arguments, HOME=str(folder), XDG_DATA_HOME=str(folder))
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith(f"error: {said}")
    assert len(ended.stderr.splitlines()) == 1


def test_what_answers_and_is_no_node_is_said_so(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        answering = threading.Thread(target=_nonsense, args=(server,))
        answering.start()
        ended = ccn_(folder, "status", "--endpoint", f"http://127.0.0.1:{server.getsockname()[1]}")
        answering.join(30)
    assert ended.returncode == 1
    assert "is no node: check the address" in ended.stderr


def _nonsense(server: socket.socket) -> None:
    asked, _ = server.accept()
    with asked:
        asked.recv(4096)
        asked.sendall(b"\x00\x00\x12\x04\x00 this is not HTTP\r\n")
