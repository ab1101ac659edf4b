"""`ccn …` about one database, from a folder in which nothing else is: no cluster, no settings file."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from ccn import settings
from ccn.gateway.accounts.passwords import Passwords
from ccn.store.connection import pool
from ccn.store.connection.pool import Pool
from tests.support.cli import commands
from tests.support.gateway import access_tokens


class Ccn:
    """The command, about one database."""

    def __init__(self, folder: Path, database: settings.DatabaseSettings) -> None:
        url = database.url.get_secret_value()
        self.folder, self.database = folder, database
        self.environ = commands.environment(
            CCN_DATABASE_URL=url, HOME=str(folder), XDG_DATA_HOME=str(folder)
        )

    def __call__(
        self, *arguments: str, given: str = "", **environ: str
    ) -> subprocess.CompletedProcess[str]:
        return commands.run(*arguments, given=given, cwd=self.folder, env=self.environ | environ)

    def told(self, *arguments: str) -> dict[str, Any]:
        """The one object that it prints."""
        (found,) = self.told_lines(*arguments)
        return found

    def told_lines(self, *arguments: str) -> list[dict[str, Any]]:
        """The objects that it prints, one a line."""
        ended = self(*arguments, "--json")
        assert ended.returncode == 0, ended.stderr
        return [json.loads(line) for line in ended.stdout.splitlines()]

    def do(self, work: Callable[[Pool], Awaitable[Any]]) -> Any:
        """Do something in the database."""

        async def done() -> Any:
            async with pool.open(self.database, "test") as connections:
                return await work(connections)

        return asyncio.run(done())

    def accounts(self, ask: str, *values: str) -> object:
        """What a node of this cluster would say."""

        async def asked(connections: Pool) -> object:
            matching = Passwords()
            answer: object = await getattr(access_tokens.accounts(connections, matching), ask)(*values)
            matching.close()
            return answer

        return self.do(asked)
