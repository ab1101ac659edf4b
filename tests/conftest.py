"""What many tests share: one PostgreSQL server a session, one migrated database a test."""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio
from pydantic import SecretStr

from ccn import settings
from ccn.embedded import postgres
from ccn.store import migrate

_TEMPLATE = "ccn_template"


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """The address of a server whose template database has the newest schema."""
    data = _reachable(tmp_path_factory.mktemp("postgres"))
    async with postgres.running(data, ephemeral=True, fsync=False) as embedded:
        await _execute(embedded.url, f"CREATE DATABASE {_TEMPLATE}")
        await migrate.apply(_named(embedded.url, _TEMPLATE))
        yield embedded.url


@pytest.fixture
async def database(server: str) -> AsyncIterator[settings.Database]:
    """A fresh database, cloned from the template."""
    name = f"test_{secrets.token_hex(6)}"
    await _execute(server, f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE}")
    yield settings.Database(url=SecretStr(_named(server, name)))
    await _execute(server, f"DROP DATABASE {name} WITH (FORCE)")


def _named(url: str, name: str) -> str:
    return f"{url.rpartition('/')[0]}/{name}"


def _reachable(folder: Path) -> Path:
    """As root the server runs as another user, who has to get through pytest's private folders."""
    if os.geteuid() == 0:
        for each in (folder, *folder.parents[:2]):
            each.chmod(0o755)
    return folder


async def _execute(url: str, sql: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(sql)
    finally:
        await connection.close()
