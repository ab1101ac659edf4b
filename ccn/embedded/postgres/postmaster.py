"""Which PostgreSQL runs on a data directory, whatever `postmaster.pid` says.

Separate because that file outlives the server that wrote it: its pid may belong to anybody by now, so a
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
    """Who wrote the file, and whether that server accepts connections."""

    pid: int
    ready: bool


def read_pid_file(pgdata: Path) -> PidFile | None:
    """What the file tells; None if there is none, or none that can be understood."""
    try:
        lines = (pgdata / "postmaster.pid").read_text(errors="replace").splitlines()
        # A negative pid is that of a server without listeners.
        return PidFile(abs(int(lines[0])), len(lines) > 7 and lines[7].strip() == "ready")
    except (OSError, IndexError, ValueError):
        return None


def find_server(pgdata: Path) -> int | None:
    """The pid of a server, or of a child it left, that uses `pgdata`; a file naming others is removed.

    Only the holder of the lock may ask, since a server that is just starting could lose its file.
    """
    file = pgdata / "postmaster.pid"
    if not file.exists():
        return None
    told = read_pid_file(pgdata)
    if told is not None and is_server_of(told.pid, pgdata):
        return told.pid
    if (left := find_process(pgdata)) is not None:
        return left
    if told is None or _process_exists(told.pid):
        # PostgreSQL would refuse to start because of an empty file, or of a stranger with this pid.
        file.unlink(missing_ok=True)
    return None


def find_process(pgdata: Path) -> int | None:
    """The pid of any PostgreSQL process that uses `pgdata`, whether or not there is a pid file."""
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
    # It has gone, or it is somebody else's, who could not read this data directory.
    return False


def _list_processes() -> Iterator[int]:
    """Everybody, where that can be told: children of a killed server live on for a moment."""
    if sys.platform == "linux":
        yield from (int(each.name) for each in _PROC.iterdir() if each.name.isdigit())


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
        told = subprocess.run(
            ["ps", "-ww", "-o", "command=", "-p", str(pid)],  # noqa: S607 - where it lies differs by system
            capture_output=True,
            text=True,
            timeout=_PS_TIMEOUT_S,
            check=False,
        ).stdout
        return "postgres" in told and str(pgdata) in told
    return False
