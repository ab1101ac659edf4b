"""Files that must survive a power cut: made once and never overwritten, or replaced as a whole.

Separate from what is in them. A reader, or the next start after a crash, finds a file as it was or as it
was to be. What is on the disk when a function returns is flushed, the name in its folder included.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

Sync = Callable[[int], None]
"""Wait until the disk has what was written to an open file or folder; `os.fsync` but in tests."""


def create_file(path: Path, data: bytes, mode: int, sync: Sync = os.fsync) -> None:
    """Write a new file; `FileExistsError` if there is one, which stays as it is."""
    with _write_beside(path, data, mode, sync) as whole:
        os.link(whole, path)
    _sync_folder(path.parent, sync)


def replace_file(path: Path, data: bytes, mode: int, sync: Sync = os.fsync) -> None:
    """Put a whole new file in the place of what is there."""
    with _write_beside(path, data, mode, sync) as whole:
        whole.replace(path)
    _sync_folder(path.parent, sync)


@contextmanager
def _write_beside(path: Path, data: bytes, mode: int, sync: Sync) -> Iterator[Path]:
    """A flushed file of another name in the same folder."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(data)
            file.flush()
            sync(file.fileno())
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def _sync_folder(folder: Path, sync: Sync) -> None:
    opened = os.open(folder, os.O_RDONLY)
    try:
        sync(opened)
    finally:
        os.close(opened)
