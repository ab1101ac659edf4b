"""The leader is killed (kill -9), twenty times: how long until the next block, beside its lease.

A local cluster of three, a round every half second, the lease of production (5 s). The clock runs from the
kill to the first block of a later term.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psutil  # type: ignore[import-untyped]

from ccn import settings
from ccn.store import pool, terms
from ccn.store.pool import Pool
from scripts.benchmarks import harness
from scripts.benchmarks.harness import Figure

KILLS = 20
TTL_S = 5.0
_DEADLINE_S = 60.0
_STEADY = """
    SELECT count(*) = 3 FROM votes WHERE term = $1 AND height = (SELECT max(height) FROM verification_chain)
"""
_NEXT = "SELECT count(*) FROM verification_chain WHERE term > $1"


async def run(rounds: int) -> harness.Report:
    """Kill, wait, and kill the next one; `rounds` below five make fewer kills."""
    kills = KILLS if rounds >= 5 else 2 * rounds
    async with _cluster() as (supervisor, database), pool.open(database, "failover") as connections:
        took = [await _kill(connections, supervisor) for _ in range(kills)]
    name = "kill -9 of the leader to the next block : lease"
    return harness.Report(
        [
            Figure(f"{name}, p50", "s", harness.percentile(took, 50), TTL_S, better="less", trials=kills),
            Figure(
                f"{name}, max", "s", max(took), TTL_S, goal=1.3 + 0.5 / TTL_S, better="less", trials=kills
            ),
        ]
    )


async def _kill(connections: Pool, supervisor: int) -> float:
    term = await _settled(connections, supervisor)
    began = time.perf_counter()
    os.kill(_pid(supervisor, str(term.leader)), signal.SIGKILL)
    await _until(connections, _NEXT, term.number)
    return time.perf_counter() - began


async def _settled(connections: Pool, supervisor: int) -> terms.Term:
    """All nodes run: whoever was killed before is back and has voted for the newest block."""
    while True:
        term = await terms.current(connections)
        if term.leader and await connections.value(_STEADY, term.number) and _pid(supervisor, term.leader):
            await asyncio.sleep(1)
            if (await terms.current(connections)).number == term.number:
                return term
        await asyncio.sleep(0.1)


async def _until(connections: Pool, sql: str, term: int) -> None:
    async with asyncio.timeout(_DEADLINE_S):
        while True:
            if await connections.value(sql, term):
                return
            await asyncio.sleep(0.005)


def _pid(supervisor: int, node: str) -> int:
    for child in psutil.Process(supervisor).children():
        if child.environ().get("CCN_NODE_ID") == node:
            return int(child.pid)
    return 0


@asynccontextmanager
async def _cluster() -> AsyncIterator[tuple[int, settings.Database]]:
    """A local cluster: the process to look for nodes below, and its database."""
    quick = {"CCN_CLUSTER_INTERVAL_S": "0.5", "CCN_ETCD_LEASE_TTL_S": str(TTL_S)}
    running = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ccn", "up", "--ephemeral", "--json"),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=settings.environment(quick),
    )
    try:
        assert running.stdout is not None
        told = json.loads(await running.stdout.readline())
        yield running.pid, settings.Database.at(told["database_url"])
    finally:
        running.send_signal(signal.SIGINT)
        await running.wait()
