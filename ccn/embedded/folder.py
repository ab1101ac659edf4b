"""What the operating system says about a folder, in words for the user; and files that are written whole.

Separate because everything that keeps something on a disk meets the same refusals: no room, no
permission, not a folder. They are translated here, once.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ccn import errors

LOG_LIMIT = 4 * 1024 * 1024
# EFBIG is how a limit on the size of files shows.
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def translate_refusals(folder: Path) -> Iterator[None]:
    """Turn what the operating system refuses about `folder` into words for the user."""
    try:
        yield
    except OSError as refused:
        if refused.errno in _NO_ROOM:
            raise errors.DiskFull(
                f"the disk of {folder} is full. Free some, or choose a folder on another disk with --data."
            ) from refused
        raise errors.DataDirectoryUnusable(
            f"the folder {folder} cannot be used: {refused.strerror}: {refused.filename or folder}. "
            "Make it a folder that this user can write, or choose another one with --data."
        ) from refused


def ensure_room(folder: Path, needed: int) -> None:
    """Refuse early and in words what would fail late and in the middle."""
    with translate_refusals(folder):
        free = shutil.disk_usage(folder).free
    if free < needed:
        raise errors.DiskFull(
            f"{folder} has {free >> 20} MiB left on its disk, and at least {needed >> 20} MiB are needed. "
            "Free some room, or choose a folder on another disk with --data."
        )


def replace_file(path: Path, text: str, mode: int) -> None:
    """Write a file so that a reader, or the next start after a crash, sees the old or the new one."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
            os.fchmod(file.fileno(), mode)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` survive a power cut."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def rotate_log(log: Path) -> None:
    """Put a log that has grown aside, over the one before it."""
    with suppress(FileNotFoundError):
        if log.stat().st_size > LOG_LIMIT:
            log.replace(log.with_name(log.name + ".1"))
