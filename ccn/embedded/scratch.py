"""Temporary folders that do not pile up when their owner is killed.

Separate because the promise is about all owners together: each holds its folder locked, the kernel lets
go when it dies, and whoever comes next removes what nobody holds.
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
    """A private folder of this `kind`, removed after the block or, should this process be killed, later."""
    place = below or Path(tempfile.gettempdir())
    try:
        sweep_folders(kind, place)
        made, lock = _make_locked(kind, place)
    except OSError as refused:
        raise errors.DataDirectoryUnusable(
            f"no temporary folder can be made in {place}: {refused}. Free some room there, or point TMPDIR "
            "at a folder that this user can write."
        ) from refused
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)
        os.close(lock)


def sweep_folders(kind: str, place: Path) -> None:
    """Remove the folders of this user that nobody holds any more."""
    for left in place.glob(f"ccn-{kind}-*"):
        # Somebody else may sweep at the same time, or own the name.
        with suppress(OSError):
            lock = os.open(left, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(lock).st_uid == os.geteuid():
                    shutil.rmtree(left, ignore_errors=True)
            finally:
                os.close(lock)


def _make_locked(kind: str, place: Path) -> tuple[Path, int]:
    for _ in range(_ATTEMPTS):
        made = Path(tempfile.mkdtemp(prefix=f"ccn-{kind}-", dir=place))
        with suppress(FileNotFoundError):
            lock = os.open(made, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # A sweeper may have been here between the two lines before.
                if os.fstat(lock).st_nlink and made.is_dir():
                    return made, lock
            except BlockingIOError:
                pass
            os.close(lock)
    raise OSError(f"{_ATTEMPTS} new folders were swept away by others")
