"""A folder for the server's Unix socket: private, and short whatever the name of the data folder.

Separate because a kernel allows a socket's address 104 or 108 bytes, and the folders of users can be
longer.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ccn.embedded import folder
from ccn.embedded.postgres.layout import DataLayout

PATH_LIMIT = 100
_LONGEST_NAME = ".s.PGSQL.65535.lock"
_SHORT = Path("/tmp")  # noqa: S108 - only the parent of a private folder with a random name


@contextmanager
def socket_folder(where: DataLayout) -> Iterator[Path | None]:
    """Make the folder until the block ends. None where none can be made; then TCP must do."""
    run = where.home / "run"
    with folder.translate_refusals(where.home):
        _forget_short_folder(run)
        socket = _make_folder(run)
        if socket is not None and where.account is not None:
            os.chown(socket, where.account.uid, where.account.gid)
    try:
        yield socket
    finally:
        _forget_short_folder(run)


def _make_folder(run: Path) -> Path | None:
    if len(os.fsencode(run / _LONGEST_NAME)) < PATH_LIMIT:
        run.mkdir(mode=0o700, exist_ok=True)
        return run
    try:
        short = Path(tempfile.mkdtemp(prefix="ccn-", dir=_SHORT))
    except OSError:
        return None
    run.symlink_to(short)
    return short


def _forget_short_folder(run: Path) -> None:
    """Remove the short folder that this start, or a killed one, linked to."""
    if run.is_symlink():
        short = run.readlink()
        if short.parent == _SHORT and short.name.startswith("ccn-") and not short.is_symlink():
            shutil.rmtree(short, ignore_errors=True)
        run.unlink()
