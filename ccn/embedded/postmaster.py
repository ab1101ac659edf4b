"""What `postmaster.pid` tells, and whether to believe it.

Separate because the file outlives the server that wrote it: its pid may belong to anybody by now, so a
server is recognised by its executable and its data directory.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_PS_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class PidFile:
    """The first line of the file, and whether the server says that it accepts connections."""

    pid: int
    ready: bool


def read(pgdata: Path) -> PidFile | None:
    """What the file tells; None if there is none, or none that can be understood yet."""
    try:
        lines = (pgdata / "postmaster.pid").read_text(errors="replace").splitlines()
        # A negative pid is that of a server without listeners.
        return PidFile(abs(int(lines[0])), len(lines) > 7 and lines[7].strip() == "ready")
    except (OSError, IndexError, ValueError):
        return None


def serves(pid: int, pgdata: Path) -> bool:
    """Whether the process `pid` is a PostgreSQL that runs on `pgdata`."""
    if sys.platform != "linux":
        return _told_by_ps(pid, pgdata)
    process = Path("/proc") / str(pid)
    with suppress(OSError):
        program = str((process / "exe").readlink()).removesuffix(" (deleted)")
        # A server makes its data directory its working folder.
        return Path(program).name == "postgres" and (process / "cwd").samefile(pgdata)
    # It has gone, or it is somebody else's and could not read this data directory.
    return False


def forget_stale(pgdata: Path) -> int | None:
    """The pid of the server that runs on `pgdata`; without one, a file naming a stranger is removed."""
    told = read(pgdata)
    if told is None:
        return None
    if serves(told.pid, pgdata):
        return told.pid
    if _exists(told.pid):
        # PostgreSQL itself would believe the pid and refuse to start.
        (pgdata / "postmaster.pid").unlink(missing_ok=True)
    return None


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _told_by_ps(pid: int, pgdata: Path) -> bool:
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
