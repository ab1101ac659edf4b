"""Runs one of PostgreSQL's programs to its end: initdb, pg_basebackup, pg_rewind, psql.

Separate because all of them run as the account of the server, with no environment of ours, and within a
time; and what they say goes to a log.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

from ccn import errors
from ccn.embedded import child
from ccn.embedded.postgres.layout import DataLayout

TIMEOUT_S = 120.0
_STOP = ((signal.SIGTERM, 5.0),)


async def run_program(
    where: DataLayout,
    command: Sequence[str | Path],
    *,
    feed: bytes = b"",
    death_signal: signal.Signals = signal.SIGKILL,
    log: Path | None = None,
    environment: Mapping[str, str] | None = None,
    timeout_s: float = TIMEOUT_S,
) -> bool:
    """Run it, and return whether it did what it was asked. Its words go to `log`, by default initdb's."""
    running = child.start(
        command,
        death_signal=death_signal,
        account=where.account,
        output=log or where.initdb_log,
        feed=feed,
        env={**child.bare_environment(), **(environment or {})},
        cwd=Path("/"),
    )
    try:
        async with asyncio.timeout(timeout_s):
            return await running.wait() == 0
    except TimeoutError:
        raise errors.EmbeddedFailed(
            f"{Path(command[0]).name} did not end within {timeout_s:.0f} s; see {log or where.initdb_log}"
        ) from None
    finally:
        await running.stop(*_STOP)
