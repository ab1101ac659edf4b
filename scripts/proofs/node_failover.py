"""Kills the primary under whole nodes: `ccn up --standby` serves people over HTTP, who say it all again.

Separate from `failover`, which writes from the process that runs the pair. There every moment is known and
a failover takes little; here doors, rounds and turns are in between.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from ccn import errors, settings
from ccn.embedded import child
from ccn.embedded.child import Child
from ccn.embedded.postgres import postmaster
from ccn.embedded.postgres.pair import record
from scripts.proofs import failover
from scripts.proofs.outcome import ProofOutcome
from scripts.upgrades import load
from scripts.upgrades.load import Talkers

NODES = 3
TALKING = 9
LONGEST_PAUSE_S = 2.0
_START_S = 400.0
_LIMIT_S = 240.0
_LOOK_S = 0.005
_STALE_S = 0.05
"""An answer of the dead one may be under way so long. No promotion is over by then."""
_SETTINGS = {
    "CCN_CLUSTER_INTERVAL_S": "1",
    "CCN_CLAUDE_STAND_IN_WORDS_S": "0",
    "CCN_LIMITS_REQUESTS": "1000000",
    "CCN_LIMITS_DAILY_DOLLARS": "100000",
}


@dataclass(frozen=True, slots=True)
class _LocalCluster:
    """What `ccn up` said when it was ready, and its folder."""

    told: Mapping[str, Any]
    data: Path

    @property
    def urls(self) -> list[str]:
        """The doors of its nodes."""
        return [str(node["http"]) for node in self.told["nodes"]]

    def count_failovers(self) -> int:
        """How often a standby was to be promoted; this is written before it is."""
        return record.read_record(self.data).failovers

    async def wait_until_in_step(self) -> None:
        """Wait until the standby has all that is acknowledged."""
        while not record.read_record(self.data).in_step:  # noqa: ASYNC110 - another process has no event
            await asyncio.sleep(_LOOK_S)

    async def ask_heights(self) -> list[int]:
        """The newest block that each node knows; 0 of one that is not ready."""
        async with httpx.AsyncClient(timeout=30) as client:
            return [await _ask_height(client, url) for url in self.urls]

    def kill_primary(self) -> None:
        """End the server that leads, at once."""
        place = self.data / record.read_record(self.data).primary
        moved = place / "moved"
        pgdata = (Path(moved.read_text().strip()) if moved.exists() else place) / "pgdata"
        server = postmaster.read_pid_file(pgdata)
        assert server is not None, "a server that leads runs"
        os.kill(server.pid, signal.SIGKILL)


async def prove_node_failovers(times: int, seed: str) -> ProofOutcome:
    """Kill it so often."""
    chance, written_s = random.Random(seed), list[float]()
    async with _running_cluster() as cluster:
        talkers = Talkers(cluster.urls, cluster.told["admin"]["api_key"])
        talkers.start(TALKING)
        try:
            before = cluster.count_failovers()
            for _ in range(times):
                written_s.append(await _kill_primary(cluster, talkers, chance))
            missed = times - (cluster.count_failovers() - before)
            async with asyncio.timeout(_LIMIT_S):
                await talkers.stop()
            stuck = await _count_stuck(cluster)
        finally:
            await talkers.cancel()
        kept = await load.count_kept(cluster.told["database_url"], talkers)
    return ProofOutcome(
        {
            "primaries killed": times,
            "messages acknowledged": len(talkers.accepted),
            "replies told to their end": len(talkers.answered),
            "turns that ended without a reply, and said so": load.describe_failures(talkers),
            "refused, said again": talkers.refused,
            "next acknowledged write, p50 / max": failover.describe_times(written_s),
        },
        {
            "acknowledged and lost": kept.lost,
            "doubled": kept.doubled,
            "replies lost": kept.unanswered,
            "nodes that do not go on": stuck,
            "kills without a promotion": missed,
        },
    )


async def _kill_primary(cluster: _LocalCluster, talkers: Talkers, chance: random.Random) -> float:
    """Wait for a random moment, kill it, and return how long nobody was told that something is kept."""
    async with asyncio.timeout(_LIMIT_S):
        await cluster.wait_until_in_step()
        await _wait_for_answer(talkers, time.monotonic())
        await asyncio.sleep(chance.uniform(0, LONGEST_PAUSE_S))
        led, began = cluster.count_failovers(), time.monotonic()
        cluster.kill_primary()
        while cluster.count_failovers() == led:  # noqa: ASYNC110 - another process has no event
            await asyncio.sleep(_LOOK_S)
        return await _wait_for_answer(talkers, time.monotonic() + _STALE_S) - began


async def _wait_for_answer(talkers: Talkers, since: float) -> float:
    """When something was told that came after `since`."""
    while not talkers.told or talkers.told[-1].at <= since:  # noqa: ASYNC110 - somebody is told all the time
        await asyncio.sleep(_LOOK_S)
    return talkers.told[-1].at


async def _count_stuck(cluster: _LocalCluster) -> int:
    """How many nodes are not ready, or know no newer block, when there was time for one."""
    before = max(await cluster.ask_heights())
    with suppress(TimeoutError):
        async with asyncio.timeout(_LIMIT_S):
            while min(await cluster.ask_heights()) <= before:  # noqa: ASYNC110 - other processes
                await asyncio.sleep(0.1)
    return sum(height <= before for height in await cluster.ask_heights())


async def _ask_height(client: httpx.AsyncClient, url: str) -> int:
    with suppress(httpx.TransportError):
        if (await client.get(f"{url}/ready")).is_success:
            return int((await client.get(f"{url}/status")).json()["height"] or 0)
    return 0


@asynccontextmanager
async def _running_cluster() -> AsyncIterator[_LocalCluster]:
    with failover.open_place() as place:
        options = (
            "--standby",
            "--nodes",
            str(NODES),
            "--json",
            "--port",
            "0",
            "--data",
            str(place / "data"),
        )
        running = child.start(
            [sys.executable, "-m", "ccn", "up", *options],
            death_signal=signal.SIGTERM,
            output=place / "log",
            env=settings.child_environment(_SETTINGS),
        )
        try:
            async with asyncio.timeout(_START_S):
                told = await _read_answer(running, place / "log")
            yield _LocalCluster(told, place / "data")
        finally:
            await running.stop((signal.SIGTERM, 60.0))


async def _read_answer(running: Child, log: Path) -> dict[str, Any]:
    """What it says in one line once it is ready."""
    while True:
        said = await asyncio.to_thread(log.read_text, errors="replace")
        for line in said.splitlines():
            if line.startswith('{"nodes"'):
                told: dict[str, Any] = json.loads(line)
                return told
        if running.code is not None:
            raise errors.EmbeddedFailed(f"ccn up ended with {running.code}: {said[-2000:]}")
        await asyncio.sleep(0.1)
