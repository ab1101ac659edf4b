"""Asks a server on this machine one thing, with psql.

Separate because nothing here speaks to a server in any other way: what is asked is about the server, and
the program comes with it.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from ccn import errors
from ccn.embedded import child, ports
from ccn.embedded.postgres.server import PostgresServer

TIMEOUT_S = 10.0
_LINES = 20


async def ask_server(server: PostgresServer, *statements: str, timeout_s: float = TIMEOUT_S) -> list[str]:
    """Run statements on one new connection, and return what they answer, line by line."""
    where = server.where
    command: list[str | Path] = [server.programs.bin / "psql", "-XqAt", "-v", "ON_ERROR_STOP=1"]
    command += ["-h", ports.HOST, "-p", str(server.port), "-U", "ccn", "-d", "ccn", "--no-password"]
    command += [part for statement in statements for part in ("-c", statement)]
    settings = {"PGPASSFILE": str(where.passfile), "PGCONNECT_TIMEOUT": "5", "PGSSLMODE": "disable"}
    asking = child.start(
        command, account=where.account, env={**child.bare_environment(), **settings}, cwd=Path("/")
    )
    try:
        async with asyncio.timeout(timeout_s):
            said = [line async for line in asking.read_lines()]
            code = await asking.wait()
    except TimeoutError:
        raise errors.EmbeddedFailed(
            f"the server on port {server.port} did not answer within {timeout_s:.0f} s"
        ) from None
    finally:
        await asking.stop()
    if code != 0:
        raise errors.EmbeddedFailed(
            f"the server on port {server.port} refused: {'; '.join(said[-_LINES:])}"
        )
    return said
