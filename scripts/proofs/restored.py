"""Puts an older copy of the database under a running node, at random moments: no door answers from it.

The node is a process of its own with all its doors. It runs rounds, carries out requests of an operator,
some of which are still waiting in the copy, and is asked by clients all the time. While the copy is there,
nothing may be answered but why; and nothing may be written, so no leaf number is used twice. Then the right
database comes back, and the node goes on.
"""

from __future__ import annotations

import asyncio
import random
import signal
import statistics
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from uuid import uuid4

import asyncpg
import httpx

from ccn import settings
from ccn.cli.cluster import first_admin
from ccn.embedded import child, etcd, ports
from ccn.embedded.child import Child
from ccn.embedded.postgres import service
from ccn.store.connection import migrate, pool
from ccn.store.operators import requests
from scripts.proofs import failover
from scripts.proofs.outcome import ProofOutcome

NODE = "node-1"
ASKED = ("/api/v1/characters", "/api/v1/conversations") * 2
LONGEST_PAUSE_S = 1.0
HELD_S = 1.0
"""How long it is watched that nothing is answered, once the doors are shut."""
_START_S = 240.0
_LIMIT_S = 120.0
_RIGHT, _OLD, _AWAY = "ccn", "ccn_old", "ccn_away"


@dataclass(slots=True)
class _Doors:
    """What clients were answered: the moment and whether it was more than a reason."""

    url: str
    key: str
    answered: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)


@dataclass(slots=True)
class _RestoreTally:
    answered: int = 0
    written: int = 0
    answered_wrongly: int = 0
    shut_s: list[float] = field(default_factory=list)


async def prove_restored(times: int, seed: str) -> ProofOutcome:
    """Put it back so often."""
    chance, tally = random.Random(seed), _RestoreTally()
    async with _running_node() as (server, doors):
        async with asyncio.timeout(_START_S):
            await _answers_again(doors)
        for _ in range(times):
            await _put_older_under(server, doors, chance, tally)
        twice = await server.count_used_twice()
        answered = len(doors.answered)
    return ProofOutcome(
        {
            "older copies put under the node": times,
            "requests answered meanwhile, from the right one": answered,
            "doors shut after, p50 / max": f"{statistics.median(tally.shut_s):.2f} s / "
            f"{max(tally.shut_s):.2f} s",
        },
        {
            "answers from an older copy": tally.answered_wrongly,
            "rows written to an older copy": tally.written,
            "leaf numbers used twice": twice,
        },
    )


async def _put_older_under(
    server: _Server, doors: _Doors, chance: random.Random, tally: _RestoreTally
) -> None:
    async with asyncio.timeout(_LIMIT_S):
        await _answers_again(doors)
        await server.ask_operators(5)
        await server.copy()
        await _answers_again(doors)
        await server.grow()
        await asyncio.sleep(chance.uniform(0, LONGEST_PAUSE_S))
        before = await server.swap(_OLD, _AWAY)
        swapped = time.monotonic()
        await _shuts(doors)
        tally.shut_s.append(time.monotonic() - swapped)
        await asyncio.sleep(HELD_S)
        tally.answered_wrongly += sum(at > swapped for at in doors.answered)
        tally.written += await server.rows() != before
        await server.note_leaves()
        await server.swap(_AWAY, _OLD)
        await server.drop(_OLD)


async def _answers_again(doors: _Doors) -> None:
    since = time.monotonic()
    while not doors.answered or doors.answered[-1] < since:  # noqa: ASYNC110 - other processes decide
        await asyncio.sleep(0.02)


async def _shuts(doors: _Doors) -> None:
    """Until the node says of itself that its record is lost."""
    async with httpx.AsyncClient(base_url=doors.url, timeout=10) as client:
        while True:
            with suppress(httpx.TransportError, ValueError, KeyError):
                checks = (await client.get("/ready")).json()["checks"]
                if [each["name"] for each in checks] == ["record"] and not checks[0]["passes"]:
                    return
            await asyncio.sleep(0.02)


@dataclass(slots=True)
class _Server:
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
            *_hang_up(_RIGHT),
            f"CREATE DATABASE {_OLD} TEMPLATE {_RIGHT} STRATEGY file_copy",
            _let_in(_RIGHT),
        )

    async def swap(self, there: str, away: str) -> tuple[object, ...]:
        """Put `there` in the place of the one that is used; return what is in it."""
        await self.run(
            *_hang_up(_RIGHT),
            f"ALTER DATABASE {_RIGHT} RENAME TO {away}",
            f"ALTER DATABASE {there} RENAME TO {_RIGHT}",
        )
        await self.run(_let_in(_RIGHT))
        return await self.rows()

    async def drop(self, name: str) -> None:
        """Remove one."""
        await self.run(f"DROP DATABASE {name} WITH (FORCE)")

    async def rows(self) -> tuple[object, ...]:
        """What would change if anything was written."""
        connection = await asyncpg.connect(self.url(_RIGHT))
        try:
            return tuple(await connection.fetchrow(_WRITTEN) or ())
        finally:
            await connection.close()

    async def ask_operators(self, count: int) -> None:
        """Ask for things that the node notes, each with a leaf."""
        one = settings.DatabaseSettings.from_url(self.url(_RIGHT), pool_size=1)
        async with pool.open(one, "prove") as connections:
            for _ in range(count):
                await requests.add_request(
                    connections, uuid4(), requests.ACCOUNT, "prove", {"action": "prove"}
                )

    async def grow(self) -> None:
        """Wait until the node has signed another block and acknowledged another leaf."""
        before = await self.rows()
        await self.ask_operators(1)
        while True:
            now = await self.rows()
            if all(new > old for new, old in zip(now[:2], before[:2], strict=True)):  # type: ignore[operator]
                return
            await asyncio.sleep(0.05)

    async def note_leaves(self) -> None:
        """Remember every leaf that is there."""
        connection = await asyncpg.connect(self.url(_RIGHT))
        try:
            rows = await connection.fetch("SELECT node_id, number, hash FROM leaves")
        finally:
            await connection.close()
        self.leaves.update((row["node_id"], row["number"], row["hash"]) for row in rows)

    async def count_used_twice(self) -> int:
        """How many numbers had two leaves, in whatever database."""
        await self.note_leaves()
        return len(self.leaves) - len({(node, number) for node, number, _ in self.leaves})


@asynccontextmanager
async def _running_node() -> AsyncIterator[tuple[_Server, _Doors]]:
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(failover.open_place())
        database = await stack.enter_async_context(
            service.run_postgres(folder / "postgres", ephemeral=True)
        )
        coordination = await stack.enter_async_context(etcd.run_etcd())
        await migrate.apply_pending(database.url)
        admin = await first_admin.ensure_admin(database.url, folder / "key")
        assert admin is not None
        http, grpc = ports.find_free_ports(2)
        environ = {
            "CCN_NODE_ID": NODE,
            "CCN_NODE_STATE_DIR": str(folder / "state"),
            "CCN_DATABASE_URL": database.url,
            "CCN_ETCD_ENDPOINTS": ",".join(coordination.endpoints),
            "CCN_ETCD_LEASE_TTL_S": "2",
            "CCN_CLUSTER_SIZE": "1",
            "CCN_CLUSTER_INTERVAL_S": "0.5",
            "CCN_HTTP_PORT": str(http),
            "CCN_GRPC_PORT": str(grpc),
            "CCN_PEERS_PORT": "0",
            "CCN_LIMITS_REQUESTS": "1000000",
        }
        running = child.start(
            [sys.executable, "-m", "ccn", "node", "run"],
            death_signal=signal.SIGKILL,
            output=folder / "log",
            env=settings.child_environment(environ),
        )
        stack.push_async_callback(_stop, running)
        doors = _Doors(f"http://127.0.0.1:{http}", admin.api_key)
        asking = [asyncio.create_task(_ask_doors(doors, asked), name="client") for asked in ASKED]
        stack.push_async_callback(_cancel, asking)
        yield _Server(database.url.replace("/ccn?", "/postgres?")), doors


async def _ask_doors(doors: _Doors, asked: str) -> None:
    """Ask for more than a reason, all the time."""
    async with httpx.AsyncClient(
        base_url=doors.url, timeout=30, headers={"Authorization": f"Bearer {doors.key}"}
    ) as client:
        while True:
            with suppress(httpx.TransportError):
                answer = await client.get(asked)
                at = time.monotonic()
                (doors.answered if answer.is_success else doors.refused).append(at)
            await asyncio.sleep(0.02)


async def _cancel(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _stop(running: Child) -> None:
    await running.stop((signal.SIGTERM, 30.0))


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
