"""Data that live for one run only: removed before and after it, and never by mistake.

Separate because removed data cannot be brought back. A mark says that a folder was made to be removed. A
folder without the mark never is.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from ccn import errors
from ccn.embedded import folder
from ccn.embedded.postgres.layout import DataLayout

_LOGS = ("server.log", "server.log.1", "initdb.log", "copy.log")
_MADE = (*_LOGS, "password", "node.password", "ccn.conf", "passfile", "moved", "ephemeral", "lock")


@contextmanager
def temporary_data(where: DataLayout) -> Iterator[None]:
    """Remove what a killed ephemeral run left in the folder, and after the block everything of ours."""
    mark = where.data / "ephemeral"
    if where.pgdata.exists() and not mark.exists():
        raise errors.DataDirectoryUnusable(
            f"{where.data} holds data that were meant to stay, and an ephemeral start would remove them. "
            "Leave out --ephemeral, or choose another folder with --data."
        )
    with folder.translate_refusals(where.data):
        mark.touch()
    shutil.rmtree(where.pgdata, ignore_errors=True)
    try:
        yield
    finally:
        _remove_data(where)


@contextmanager
def lasting_data(where: DataLayout) -> Iterator[None]:
    """Leave the folder as it is. Data that an ephemeral run left behind are kept from now on."""
    with folder.translate_refusals(where.data):
        (where.data / "ephemeral").unlink(missing_ok=True)
    yield


def _remove_data(where: DataLayout) -> None:
    shutil.rmtree(where.pgdata, ignore_errors=True)
    shutil.rmtree(where.home / "run", ignore_errors=True)
    if where.home != where.data:
        shutil.rmtree(where.home, ignore_errors=True)
    # The lock goes last: it is still ours, and whoever comes next makes another one.
    for name in _MADE:
        (where.data / name).unlink(missing_ok=True)
    with suppress(OSError):
        where.data.rmdir()
