"""Which PostgreSQL runs on a data directory, whatever `postmaster.pid` says.

Separate because that file outlives the server that wrote it. Its pid may belong to any process by now, so a
server is recognised by its executable and its data directory.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_PS_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class PidFile:
    """Which server wrote the file, and whether it accepts connections."""

    pid: int
    ready: bool


def read_pid_file(pgdata: Path) -> PidFile | None:
    """Read the file. None if there is none, or none that can be understood."""
    try:
        lines = (pgdata / "postmaster.pid").read_text(errors="replace").splitlines()
        # A negative pid is that of a server without listeners.
        return PidFile(abs(int(lines[0])), len(lines) > 7 and lines[7].strip() == "ready")
    except (OSError, IndexError, ValueError):
        return None


def find_server(pgdata: Path) -> int | None:
    """Find the pid of a server, or of a child it left, that uses `pgdata`. Remove a file that names others.

    Only the process that has the lock may ask: a server that is just starting could lose its file.
    """
    file = pgdata / "postmaster.pid"
    if not file.exists():
        return None
    pid_file = read_pid_file(pgdata)
    if pid_file is not None and is_server_of(pid_file.pid, pgdata):
        return pid_file.pid
    if (leftover := find_process(pgdata)) is not None:
        return leftover
    if pid_file is None or _process_exists(pid_file.pid):
        # PostgreSQL would refuse to start because of an empty file, or of another process with this pid.
        file.unlink(missing_ok=True)
    return None


def find_process(pgdata: Path) -> int | None:
    """Find the pid of any PostgreSQL process that uses `pgdata`, with or without a pid file."""
    return next((pid for pid in _list_processes() if is_server_of(pid, pgdata)), None)


def is_server_of(pid: int, pgdata: Path) -> bool:
    """Whether the process `pid` is a PostgreSQL that runs on `pgdata`."""
    if sys.platform != "linux":
        return _is_listed_by_ps(pid, pgdata)
    process = _PROC / str(pid)
    with suppress(OSError):
        program = str((process / "exe").readlink()).removesuffix(" (deleted)")
        # A server makes its data directory its working folder.
        return Path(program).name == "postgres" and (process / "cwd").samefile(pgdata)
    # It has gone, or it belongs to another user, who could not read this data directory.
    return False


def _list_processes() -> Iterator[int]:
    """List all processes where that is possible: children of a killed server live on for a moment."""
    if sys.platform == "linux":
        yield from (int(process.name) for process in _PROC.iterdir() if process.name.isdigit())


def _process_exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _is_listed_by_ps(pid: int, pgdata: Path) -> bool:
    with suppress(OSError, subprocess.SubprocessError):
        printed = subprocess.run(
            ["ps", "-ww", "-o", "command=", "-p", str(pid)],  # noqa: S607 - where it lies differs by system
            capture_output=True,
            text=True,
            timeout=_PS_TIMEOUT_S,
            check=False,
        ).stdout
        return "postgres" in printed and str(pgdata) in printed
    return False
