"""What the last words of a server mean, and what the user can do about it.

Separate because it is one table. A server that does not start says why in its log, in its own words. Here
these become one of our errors, with the words and the path of the log attached.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from ccn import errors

LINES = 8
_READ_LIMIT = 64 * 1024

_TABLE: tuple[tuple[str, type[errors.EmbeddedFailed], str], ...] = (
    (
        # First, since shared memory that is full says "No space left on device", too.
        r"could not (create|resize|map) .*shared memory|out of memory|[Cc]annot allocate memory",
        errors.EmbeddedFailed,
        "There is too little memory, or shared memory (/dev/shm), for it: free some, or raise the limit.",
    ),
    (
        r"No space left on device|Disk quota exceeded|File too large",
        errors.DiskFull,
        "Free some room on the disk, or choose a folder on another disk with --data.",
    ),
    (
        r"[Aa]ddress already in use",
        errors.PortTaken,
        "Another program listens on that port: stop it, or choose another port.",
    ),
    (
        r"pre-existing shared memory block|lock file .* already exists",
        errors.AlreadyRunning,
        "Another server still runs on the folder: stop it, or wait until it has ended.",
    ),
    (
        r"could not look up effective user",
        errors.EmbeddedFailed,
        "PostgreSQL wants the user of this process to have a name: add a line for it to /etc/passwd.",
    ),
    (
        r"database files are incompatible|was initialized by PostgreSQL version",
        errors.DataDirectoryUnusable,
        "Use the PostgreSQL that wrote the folder (CCN_PG_BIN). If this is the one, restore a backup.",
    ),
    (
        r"[Pp]ermission denied|not permitted|Read-only file system|wrong ownership|invalid permissions",
        errors.DataDirectoryUnusable,
        "Give the account that the server runs as access to what the lines name, or choose another folder.",
    ),
    (
        r"configuration file .* contains errors|syntax error in file|unrecognized configuration parameter",
        errors.DataDirectoryUnusable,
        "Mend the setting that the lines name: in pgdata/postgresql.auto.conf, or pgdata/postgresql.conf.",
    ),
    (
        r"PANIC|could not (open|read|find|locate|access)|invalid (checkpoint|page)|incorrect checksum",
        errors.DataDirectoryUnusable,
        "The data are damaged or incomplete: restore a backup, or move the folder away to begin anew.",
    ),
)


def explain_failure(what: str, log: Path, since: int = 0, *, stays: bool = True) -> errors.EmbeddedFailed:
    """Make the error for a program that failed and wrote to `log` from byte `since` on.

    `stays` tells whether the file is still there for the user to read.
    """
    words = _read_last_words(log, since)
    for pattern, kind, advice in _TABLE:
        if re.search(pattern, words):
            return kind(_failure_message(what, advice, words, log if stays else None))
    return errors.EmbeddedFailed(
        _failure_message(what, "What it said may tell why.", words, log if stays else None)
    )


def log_size(log: Path) -> int:
    """Return where the next words will begin."""
    return log.stat().st_size if log.exists() else 0


def _read_last_words(log: Path, since: int) -> str:
    try:
        with log.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(since if since <= end else 0, end - _READ_LIMIT))
            return file.read(_READ_LIMIT).decode("utf-8", "replace")
    except OSError as refused:
        return f"(the log cannot be read: {refused})"


def _failure_message(what: str, advice: str, words: str, log: Path | None) -> str:
    last = [line for line in words.splitlines() if line.strip()][-LINES:]
    quoted = "\n    ".join(last) or "(nothing)"
    where = f", in {log}" if log is not None else ""
    return f"{what}. {advice}\nIts last words{where}:\n    {quoted}"
