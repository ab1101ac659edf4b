"""`ccn …` as a process of its own, forked from one that has imported everything: most tests of commands are
about what a command does, and not about how Python starts. Those that are start Python.
"""

from __future__ import annotations

import atexit
import os
import socket
import subprocess
import tempfile
import threading
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from ccn.cli.cluster.fork_server import ForkedProcess, ForkServer
from tests.support.cli import nursery

_ONE_AT_A_TIME = threading.Lock()
_IMPORTED_S = 250.0


def run(
    *arguments: str,
    env: Mapping[str, str],
    cwd: Path | None = None,
    given: str | bytes = b"",
    timeout_s: float = 60,
) -> subprocess.CompletedProcess[str]:
    """Run it to its end; what it said, and its exit code."""
    with (
        tempfile.TemporaryFile() as entered,
        tempfile.TemporaryFile() as output,
        tempfile.TemporaryFile() as complaints,
    ):
        entered.write(given.encode() if isinstance(given, str) else given)
        entered.seek(0)
        streams = (entered.fileno(), output.fileno(), complaints.fileno())
        forked = begin(arguments, env, streams, cwd=cwd)
        try:
            code = forked.wait(timeout_s)
        finally:
            forked.kill()
        output.seek(0)
        complaints.seek(0)
        return subprocess.CompletedProcess(
            arguments, code, output.read().decode(), complaints.read().decode()
        )


def begin(
    arguments: tuple[str, ...],
    env: Mapping[str, str],
    streams: tuple[int, int, int],
    *,
    name: str = "ccn",
    cwd: Path | None = None,
) -> ForkedProcess:
    """Start it on these standard streams."""
    with _ONE_AT_A_TIME:
        forked = _forking().fork_process(name, arguments, env, cwd or Path.cwd(), streams)
    assert forked is not None, "the nursery is gone"
    return forked


def prepare() -> None:
    """Have everything imported by the time that the first is started."""
    with _ONE_AT_A_TIME:
        _line()


def complaint(ended: subprocess.CompletedProcess[str]) -> str:
    """The one line that says what went wrong, below those about the database that was used."""
    beside = ("using the ", "warning: the password in --database-url ")
    used = [line for line in ended.stderr.splitlines() if not line.startswith(beside)]
    assert len(used) == 1, ended.stderr
    return used[0]


def environment(**changes: str) -> dict[str, str]:
    """This process's environment without settings, and with these changes."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CCN_")}
    return kept | {"COLUMNS": "100"} | changes


@cache
def _forking() -> ForkServer:
    """One for all tests of this process, once it has imported everything."""
    line = _line()
    line.settimeout(_IMPORTED_S)
    line.recv(1, socket.MSG_PEEK)  # on a busy machine that takes longer than a fork server is waited for
    return ForkServer(None, line)


@cache
def _line() -> socket.socket:
    """The way to it. It ends when nobody holds the other end."""
    nursery.offer()  # unless whoever started this process has one
    line = nursery.connect()
    atexit.register(line.close)
    return line
