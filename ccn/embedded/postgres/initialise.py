"""Makes a new PostgreSQL data directory: whole, or not at all.

Separate because it happens once in the life of a folder. Everything is made in a folder of its own and
renamed at the end, so that a start killed at any instant leaves nothing that looks like data. The next
start removes what it did leave.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
import time
from pathlib import Path

from ccn.embedded import failures, folder
from ccn.embedded.binaries import PostgresPrograms
from ccn.embedded.postgres import postmaster, program_runs
from ccn.embedded.postgres.layout import DataLayout

NEEDED = 160 * 1024**2
# Iterations make guessing expensive where people choose passwords. Nobody guesses ours, 24 random bytes,
# and every connection of every node would pay for them.
SCRAM = "scram_iterations=1"
_SWEEP_TIMEOUT_S = 10.0


async def initialise_data(where: DataLayout, programs: PostgresPrograms, password: str) -> None:
    """Make the data directory with the role and the database `ccn`."""
    await _sweep_leftovers(where.home)
    with folder.translate_refusals(where.home):
        folder.ensure_room(where.home, NEEDED)
        staging = _make_staging(where, password)
    try:
        await _run_initdb(where, programs, staging)
        await _run_statement_alone(where, programs, staging / "pgdata", "CREATE DATABASE ccn")
        with folder.translate_refusals(where.home):
            (staging / "pgdata").rename(where.pgdata)
            folder.sync_folder(where.home)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


async def _sweep_leftovers(home: Path) -> None:
    """Remove what killed starts left, once the programs that still work there have ended.

    They end by themselves. A program that loses its files meanwhile would crash and leave shared memory
    behind.
    """
    until = time.monotonic() + _SWEEP_TIMEOUT_S
    while _is_in_use(home) and time.monotonic() < until:  # noqa: ASYNC110 - another process's end
        await asyncio.sleep(0.01)
    for leftover in _list_leftovers(home):
        shutil.rmtree(leftover, ignore_errors=True)


def _is_in_use(home: Path) -> bool:
    return any(postmaster.find_process(left / "pgdata") is not None for left in _list_leftovers(home))


def _list_leftovers(home: Path) -> list[Path]:
    return list(home.glob("initdb-*"))


def locale_options(major: int) -> list[list[str]]:
    """Say how text is compared, best first: sorted by code point, case folded for every script.

    Plain C would fold ASCII only, and full text search would tell "Ä" from "ä". PostgreSQL 18 brings the
    folding along. Before it, and for telling words from punctuation still, it asks the C library for the
    character type. Sorting stays that of C everywhere, which no upgrade of a library can change.
    """
    if major >= 18:
        builtin = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        return [[*builtin, f"--lc-ctype={ctype}"] for ctype in ("C.UTF-8", "en_US.UTF-8", "C")]
    return [["--locale-provider=libc", f"--lc-ctype={ctype}"] for ctype in ("C.UTF-8", "en_US.UTF-8")]


def _make_staging(where: DataLayout, password: str) -> Path:
    """Make a private folder for the account that initdb runs as, with the password inside."""
    staging = Path(tempfile.mkdtemp(prefix="initdb-", dir=where.home))
    secret = staging / "password"
    secret.touch(mode=0o600)
    secret.write_text(password + "\n")
    if where.account is not None:
        # The folder last: until then nobody else can touch what lies inside.
        for path in (secret, staging):
            os.chown(path, where.account.uid, where.account.gid)
    return staging


async def _run_initdb(where: DataLayout, programs: PostgresPrograms, staging: Path) -> None:
    attempts = locale_options(programs.major)
    for locale in attempts:
        if await program_runs.run_program(where, [*_initdb_command(programs, staging), *locale]):
            return
        # A C library without this locale says so at once, before anything is made.
        if (
            "invalid locale name" not in where.initdb_log.read_text(errors="replace")
            or locale is attempts[-1]
        ):
            break
        where.initdb_log.unlink()
    raise failures.explain_failure(f"initdb could not make {where.pgdata}", where.initdb_log)


def _initdb_command(programs: PostgresPrograms, staging: Path) -> list[str | Path]:
    return [
        programs.bin / "initdb",
        f"--pgdata={staging / 'pgdata'}",
        "--username=ccn",
        f"--pwfile={staging / 'password'}",
        "--auth=scram-sha-256",
        f"--set={SCRAM}",
        "--data-checksums",
        "--encoding=UTF8",
        "--lc-collate=C",
        "--lc-messages=C",
        "--lc-monetary=C",
        "--lc-numeric=C",
        "--lc-time=C",
        "--text-search-config=simple",
    ]


async def set_password(where: DataLayout, programs: PostgresPrograms, password: str) -> None:
    """Give the role a new password, because the file with the old one is gone."""
    await _run_statement_alone(where, programs, where.pgdata, f"ALTER ROLE ccn PASSWORD '{password}'")


async def _run_statement_alone(
    where: DataLayout, programs: PostgresPrograms, pgdata: Path, statement: str
) -> None:
    """Run one statement in a server without listeners, which cleans up after itself on SIGTERM."""
    since = failures.log_size(where.initdb_log)
    command: list[str | Path] = [
        programs.bin / "postgres",
        "--single",
        "-D",
        pgdata,
        "-c",
        "exit_on_error=true",
        "-c",
        SCRAM,
        "template1",
    ]
    feed = f"{statement}\n".encode()
    if not await program_runs.run_program(where, command, feed=feed, death_signal=signal.SIGTERM):
        raise failures.explain_failure(f"PostgreSQL could not prepare {pgdata}", where.initdb_log, since)
