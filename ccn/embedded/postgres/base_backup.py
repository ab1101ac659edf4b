"""Brings a folder's data to where they can follow a running server: by a whole copy, or by a rewind.

Separate because either may be killed half-way. A copy is made beside and renamed when it is whole. A rewind
changes the data where they lie, under a mark. Where the mark was left, only a copy helps.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from ccn.embedded import failures, folder
from ccn.embedded.binaries import PostgresPrograms
from ccn.embedded.postgres import program_runs
from ccn.embedded.postgres.layout import DataLayout
from ccn.embedded.postgres.replication import Upstream

COPY_TIMEOUT_S = 3_600.0
_REWIND_TIMEOUT_S = 600.0


async def follow_or_copy(where: DataLayout, programs: PostgresPrograms, upstream: Upstream) -> None:
    """Make the data those of a standby of `upstream`, whatever they are now. No server may run on them."""
    is_usable = where.read_major() is not None and not _rewind_mark(where).exists()
    if is_usable and (where.pgdata / "standby.signal").exists():
        return
    if not is_usable or not await rewind_data(where, programs, upstream):
        await copy_server(where, programs, upstream)


async def rewind_data(where: DataLayout, programs: PostgresPrograms, upstream: Upstream) -> bool:
    """Take back what `upstream` never had. False if that cannot be done: then a copy has to be made."""
    mark = _rewind_mark(where)
    with folder.translate_refusals(where.home):
        mark.touch()
        folder.sync_folder(where.home)
    command: list[str | Path] = [
        programs.bin / "pg_rewind",
        f"--target-pgdata={where.pgdata}",
        f"--source-server={upstream.connection_text(dbname='ccn')}",
    ]
    rewound = await program_runs.run_program(
        where, command, log=where.copy_log, timeout_s=_REWIND_TIMEOUT_S
    )
    if rewound:
        mark.unlink()
    return rewound


async def copy_server(where: DataLayout, programs: PostgresPrograms, upstream: Upstream) -> None:
    """Copy all data of `upstream`, over those that are here."""
    with folder.translate_refusals(where.home):
        _sweep_leftovers(where)
        folder.rotate_log(where.copy_log)
        staging = _make_staging(where)
    since = failures.log_size(where.copy_log)
    command: list[str | Path] = [
        programs.bin / "pg_basebackup",
        f"--pgdata={staging / 'pgdata'}",
        f"--dbname={upstream.connection_text()}",
        "--no-password",
        "--wal-method=stream",
        "--checkpoint=fast",
    ]
    try:
        if not await program_runs.run_program(where, command, log=where.copy_log, timeout_s=COPY_TIMEOUT_S):
            raise failures.explain_failure(
                f"the server on port {upstream.port} could not be copied to {where.pgdata}",
                where.copy_log,
                since,
            )
        with folder.translate_refusals(where.home):
            _put_in_place(where, staging)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _put_in_place(where: DataLayout, staging: Path) -> None:
    """Killed between the two renames, it leaves no data, and the next start makes another copy."""
    if where.pgdata.exists():
        where.pgdata.rename(staging / "before")
    (staging / "pgdata").rename(where.pgdata)
    folder.sync_folder(where.home)
    _rewind_mark(where).unlink(missing_ok=True)


def _rewind_mark(where: DataLayout) -> Path:
    return where.home / "rewinding"


def _sweep_leftovers(where: DataLayout) -> None:
    for leftover in where.home.glob("basebackup-*"):
        shutil.rmtree(leftover, ignore_errors=True)


def _make_staging(where: DataLayout) -> Path:
    staging = Path(tempfile.mkdtemp(prefix="basebackup-", dir=where.home))
    if where.account is not None:
        os.chown(staging, where.account.uid, where.account.gid)
    return staging
