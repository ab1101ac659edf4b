"""Databases of tests: clones of one that has the newest schema, each dropped when its block ends.

Nearly a thousand tests have one. A clone is seven hundred files, so they are copied, which costs PostgreSQL
a sixth of what it takes to write them all to its log too, and where there is room they are in memory, where
making a file costs next to nothing.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
from pydantic import SecretStr

from ccn import settings

TEMPLATE = "ccn_template"
MEMORY = Path("/dev/shm")
ROOM = 2 * 1024**3
"""For the servers of four workers, with something to spare."""


@asynccontextmanager
async def cloned(
    server: str, kind: str = "test", template: str = TEMPLATE
) -> AsyncIterator[settings.DatabaseSettings]:
    """A database like the template, to which nobody may be connected."""
    name = f"{kind}_{secrets.token_hex(6)}"
    connection = await asyncpg.connect(server)
    try:
        await connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
        yield settings.DatabaseSettings(url=SecretStr(named(server, name)))
    finally:
        await connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        await connection.close()


def named(server: str, database: str) -> str:
    """The address of another database of the same server."""
    return urlsplit(server)._replace(path=f"/{database}").geturl()


async def execute(url: str, sql: str) -> object:
    """Run one statement on a connection of its own."""
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


def place() -> Path | None:
    """Where a server for tests belongs: in memory, or among the temporary files if there is too little."""
    with suppress(OSError):
        if os.access(MEMORY, os.W_OK | os.X_OK) and shutil.disk_usage(MEMORY).free >= ROOM:
            return MEMORY
    return None
