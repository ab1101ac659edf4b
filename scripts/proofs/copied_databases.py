"""The databases of a server, as whoever restores one handles them: the right one, and an older copy of it.

Separate because this is done to a node from outside, and no part of what is watched.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from uuid import uuid4

import asyncpg

from ccn import settings
from ccn.store.connection import pool
from ccn.store.operators import requests

RIGHT, OLD, AWAY = "ccn", "ccn_old", "ccn_away"


@dataclass(slots=True)
class CopiedDatabases:
    """The databases of a server, as whoever restores one handles them."""

    admin: str
    """The URL of another database of it."""
    leaves: set[tuple[str, int, bytes]] = field(default_factory=set)
    """Every leaf that any of them showed."""

    def url(self, name: str) -> str:
        """The URL of one of them."""
        return self.admin.replace("/postgres?", f"/{name}?")

    async def run(self, *statements: str, database: str = "postgres") -> None:
        """Run statements."""
        connection = await asyncpg.connect(self.url(database))
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    async def copy(self) -> None:
        """Copy what is there now. Nobody may be connected meanwhile."""
        await self.run(
            *_hang_up(RIGHT),
            f"CREATE DATABASE {OLD} TEMPLATE {RIGHT} STRATEGY file_copy",
            _let_in(RIGHT),
        )

    async def swap(self, there: str, away: str) -> None:
        """Put `there` in the place of the one that is used."""
        await self.run(
            *_hang_up(RIGHT),
            f"ALTER DATABASE {RIGHT} RENAME TO {away}",
            f"ALTER DATABASE {there} RENAME TO {RIGHT}",
        )
        await self.run(_let_in(RIGHT))

    async def drop(self, name: str) -> None:
        """Remove one."""
        await self.run(f"DROP DATABASE {name} WITH (FORCE)")

    async def rows(self, name: str) -> tuple[object, ...]:
        """What would change in one of them if anything was written."""
        connection = await asyncpg.connect(self.url(name))
        try:
            return tuple(await connection.fetchrow(_WRITTEN) or ())
        finally:
            await connection.close()

    async def ask_operators(self, count: int) -> None:
        """Ask for things that the node notes, each with a leaf."""
        one = settings.DatabaseSettings.from_url(self.url(RIGHT), pool_size=1)
        async with pool.open(one, "prove") as connections:
            for _ in range(count):
                await requests.add_request(
                    connections, uuid4(), requests.ACCOUNT, "prove", {"action": "prove"}
                )

    async def grow(self) -> None:
        """Wait until the node has signed another block and acknowledged another leaf."""
        before = await self.rows(RIGHT)
        await self.ask_operators(1)
        while True:
            now = await self.rows(RIGHT)
            if all(new > old for new, old in zip(now[:2], before[:2], strict=True)):  # type: ignore[operator]
                return
            await asyncio.sleep(0.05)

    async def note_leaves(self) -> None:
        """Remember every leaf that is there."""
        connection = await asyncpg.connect(self.url(RIGHT))
        try:
            rows = await connection.fetch("SELECT node_id, number, hash FROM leaves")
        finally:
            await connection.close()
        self.leaves.update((row["node_id"], row["number"], row["hash"]) for row in rows)

    async def count_used_twice(self) -> int:
        """How many numbers had two leaves, in whatever database."""
        await self.note_leaves()
        return len(self.leaves) - len({(node, number) for node, number, _ in self.leaves})


def _hang_up(name: str) -> tuple[str, str]:
    return (
        f"ALTER DATABASE {name} ALLOW_CONNECTIONS false",
        f"SELECT count(pg_terminate_backend(pid, 30000)) FROM pg_stat_activity WHERE datname = '{name}'",
    )


def _let_in(name: str) -> str:
    return f"ALTER DATABASE {name} ALLOW_CONNECTIONS true"


_WRITTEN = """
    SELECT (SELECT count(*) FROM verification_chain), (SELECT coalesce(max(number), 0) FROM leaves),
           (SELECT count(*) FROM leaves), (SELECT count(*) FROM conversations),
           (SELECT count(*) FROM consensus_log), (SELECT sum(head) FROM leaf_sources),
           (SELECT term FROM cluster_term)
"""
