"""Temporary folders that do not pile up when the process that made them is killed.

Separate because the promise is about all such processes together. Each locks its folder. The kernel
releases the lock when the process dies, and the next process removes the folders that nobody has locked.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ccn import errors

_ATTEMPTS = 16


@contextmanager
def scratch_folder(kind: str, below: Path | None = None) -> Iterator[Path]:
    """Make a private folder of this `kind`.

    It is removed after the block or, if this process is killed, later.
    """
    place = below or Path(tempfile.gettempdir())
    try:
        sweep_folders(kind, place)
        folder, lock = _make_locked(kind, place)
    except OSError as refused:
        raise errors.DataDirectoryUnusable(
            f"no temporary folder can be made in {place}: {refused}. Free some room there, or point TMPDIR "
            "at a folder that this user can write."
        ) from refused
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def sweep_folders(kind: str, place: Path) -> None:
    """Remove the folders of this user that nobody has locked any more."""
    for leftover in place.glob(f"ccn-{kind}-*"):
        # Another process may sweep at the same time, or another user own the name.
        with suppress(OSError):
            lock = os.open(leftover, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(lock).st_uid == os.geteuid():
                    shutil.rmtree(leftover, ignore_errors=True)
            finally:
                os.close(lock)


def _make_locked(kind: str, place: Path) -> tuple[Path, int]:
    for _ in range(_ATTEMPTS):
        folder = Path(tempfile.mkdtemp(prefix=f"ccn-{kind}-", dir=place))
        with suppress(FileNotFoundError):
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # Another process may have swept the folder away after it was folder and before it was
                # locked.
                if os.fstat(lock).st_nlink and folder.is_dir():
                    return folder, lock
            except BlockingIOError:
                pass
            os.close(lock)
    raise OSError(f"{_ATTEMPTS} new folders were swept away by others")
