"""Puts an older copy of the database under a running node, at random moments: no door answers from it.

The node is a process of its own with all its doors. It runs rounds, carries out requests of an operator,
some of which are still waiting in the copy, and clients read and write all the time. While the copy is
there, nothing may be answered but why; and nothing may be written, so no leaf number is used twice. Then
the right database comes back with all that was acknowledged, and the node goes on.
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

import httpx

from ccn import settings
from ccn.claude.stand_in import server as stand_in
from ccn.cli.cluster import first_admin
from ccn.embedded import child, etcd, ports
from ccn.embedded.child import Child
from ccn.embedded.postgres import service
from ccn.store.connection import migrate
from scripts.proofs import failover
from scripts.proofs.copied_databases import AWAY, OLD, RIGHT, CopiedDatabases
from scripts.proofs.outcome import ProofOutcome
from scripts.upgrades import load
from scripts.upgrades.load import Talkers

NODE = "node-1"
ASK_EVERY_S = 0.08
ASKED = ("/api/v1/characters", "/api/v1/conversations") * 2
TALKING = 2
LONGEST_PAUSE_S = 1.0
HELD_S = 1.0
"""How long it is watched that nothing is answered, once the doors are shut."""
_START_S = 240.0
_LIMIT_S = 120.0


@dataclass(slots=True)
class _Doors:
    """What clients were answered: the moment and whether it was more than a reason."""

    url: str
    key: str
    talkers: Talkers
    answered: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)


@dataclass(slots=True)
class _RestoreTally:
    answered: int = 0
    written: int = 0
    answered_wrongly: int = 0
    acknowledged_wrongly: int = 0
    shut_s: list[float] = field(default_factory=list)


async def prove_restored(times: int, seed: str) -> ProofOutcome:
    """Put it back so often."""
    chance, tally = random.Random(seed), _RestoreTally()
    async with _running_node() as (server, doors):
        async with asyncio.timeout(_START_S):
            await _answers_again(doors)
        doors.talkers.start(TALKING)
        for _ in range(times):
            await _put_older_under(server, doors, chance, tally)
        async with asyncio.timeout(_LIMIT_S):
            await doors.talkers.stop()
        twice = await server.count_used_twice()
        kept = await load.count_kept(server.url(RIGHT), doors.talkers)
        answered, accepted = len(doors.answered), len(doors.talkers.accepted)
    return ProofOutcome(
        {
            "older copies put under the node": times,
            "requests answered meanwhile, from the right one": answered,
            "messages acknowledged meanwhile, to the right one": accepted,
            "doors shut after, p50 / max": f"{statistics.median(tally.shut_s):.2f} s / "
            f"{max(tally.shut_s):.2f} s",
        },
        {
            "answers from an older copy": tally.answered_wrongly,
            "messages acknowledged from an older copy": tally.acknowledged_wrongly,
            "messages or replies missing from the right one": kept.lost + kept.unanswered,
            "messages doubled": kept.doubled,
            "rows written to an older copy": tally.written,
            "leaf numbers used twice": twice,
        },
    )


async def _put_older_under(
    server: CopiedDatabases, doors: _Doors, chance: random.Random, tally: _RestoreTally
) -> None:
    async with asyncio.timeout(_LIMIT_S):
        await _answers_again(doors)
        await server.ask_operators(5)
        await server.copy()
        await _answers_again(doors)
        await server.grow()
        await asyncio.sleep(chance.uniform(0, LONGEST_PAUSE_S))
        before = await server.rows(OLD)
        await server.swap(OLD, AWAY)
        swapped = time.monotonic()
        await _shuts(doors)
        tally.shut_s.append(time.monotonic() - swapped)
        await asyncio.sleep(HELD_S)
        tally.answered_wrongly += sum(at > swapped for at in doors.answered)
        # What was asked before may have been acknowledged before as well, and told late.
        tally.acknowledged_wrongly += sum(each.asked_at > swapped for each in doors.talkers.told)
        tally.written += await server.rows(RIGHT) != before
        await server.note_leaves()
        await server.swap(AWAY, OLD)
        await server.drop(OLD)


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


@asynccontextmanager
async def _running_node() -> AsyncIterator[tuple[CopiedDatabases, _Doors]]:
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(failover.open_place())
        database = await stack.enter_async_context(
            service.run_postgres(folder / "postgres", ephemeral=True)
        )
        coordination = await stack.enter_async_context(etcd.run_etcd())
        model = await stack.enter_async_context(stand_in.run_stand_in())
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
            "CCN_LIMITS_DAILY_DOLLARS": "100000",
            "CCN_CLAUDE_BASE_URL": model.url,
        }
        running = child.start(
            [sys.executable, "-m", "ccn", "node", "run"],
            death_signal=signal.SIGKILL,
            output=folder / "log",
            env=settings.child_environment(environ),
        )
        stack.push_async_callback(_stop, running)
        url = f"http://127.0.0.1:{http}"
        doors = _Doors(url, admin.api_key, Talkers([url], admin.api_key))
        stack.push_async_callback(doors.talkers.cancel)
        asking = [asyncio.create_task(_ask_doors(doors, asked), name="client") for asked in ASKED]
        stack.push_async_callback(_cancel, asking)
        yield CopiedDatabases(database.url.replace("/ccn?", "/postgres?")), doors


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
            await asyncio.sleep(ASK_EVERY_S)


async def _cancel(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _stop(running: Child) -> None:
    await running.stop((signal.SIGTERM, 30.0))
