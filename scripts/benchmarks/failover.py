"""The leader dies (kill -9) twenty times and stands still (SIGSTOP) ten times: when is the next block?

A local cluster of three, a round every half second, the lease of production (5 s) as the floor: as long as
nothing but the lease tells that a leader is gone, the next one waits for its end. The clock runs from the
signal to the first block of a later term. Whoever was killed or stopped is back in rounds before the next.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Mapping, Sequence

from ccn import settings
from ccn.store.connection import pool
from ccn.store.connection.pool import Pool
from ccn.store.rounds import terms
from scripts.benchmarks import harness
from scripts.benchmarks.harness import Figure

KILLS, STOPS = 20, 10
TTL_S = 5.0
_DEADLINE_S = 60.0
_BACK_S = 120.0
"""A node that keeps dying is started again later and later."""
_ANSWER_S = 2.0
_STEADY = """
    SELECT count(*) = 3 FROM votes WHERE term = $1 AND height = (SELECT max(height) FROM verification_chain)
"""
_NEXT = "SELECT count(*) FROM verification_chain WHERE term > $1"


async def run(rounds: int) -> harness.Report:
    """Kill, wait, and kill the next one; then the same with stops. `rounds` below five make fewer."""
    kills, stops = (KILLS, STOPS) if rounds >= 5 else (2 * rounds, rounds)
    async with _cluster() as (doors, database), pool.open(database, "failover") as connections:
        killed = [await _gone(connections, doors, signal.SIGKILL) for _ in range(kills)]
        stopped = [await _gone(connections, doors, signal.SIGSTOP) for _ in range(stops)]
    return harness.Report([*_figures("kill -9", killed), *_figures("SIGSTOP", stopped)])


def _figures(how: str, took: Sequence[float]) -> list[Figure]:
    """The median and the worst of them; the goal is for the worst."""
    name, goal, trials = f"{how} of the leader to the next block : lease", 1.3 + 0.5 / TTL_S, len(took)
    return [
        Figure(f"{name}, p50", "s", harness.percentile(took, 50), TTL_S, better="less", trials=trials),
        Figure(f"{name}, max", "s", max(took), TTL_S, goal=goal, better="less", trials=trials),
    ]


async def _gone(connections: Pool, doors: Mapping[str, str], how: signal.Signals) -> float:
    term, leader = await _settled(connections, doors)
    began = time.perf_counter()
    os.kill(leader, how)
    try:
        async with asyncio.timeout(_DEADLINE_S):
            while True:
                if await connections.value(_NEXT, term):
                    return time.perf_counter() - began
                await asyncio.sleep(0.005)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(leader, signal.SIGCONT)


async def _settled(connections: Pool, doors: Mapping[str, str]) -> tuple[int, int]:
    """The term, and the leader's process, once whoever was gone before is back and votes."""
    async with asyncio.timeout(_BACK_S):
        while True:
            term = await terms.load_term(connections)
            if term.leader and await connections.value(_STEADY, term.number):
                leader = await _pid(doors[term.leader])
                await asyncio.sleep(1)
                if leader and (await terms.load_term(connections)).number == term.number:
                    return term.number, leader
            await asyncio.sleep(0.1)


async def _pid(door: str) -> int:
    """The process that is ready behind this door; 0 if none is."""
    return await asyncio.to_thread(_asked, f"{door}/ready")


def _asked(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=_ANSWER_S) as answer:
            return int(json.load(answer)["pid"])
    except (OSError, ValueError):
        return 0


@contextlib.asynccontextmanager
async def _cluster() -> AsyncIterator[tuple[Mapping[str, str], settings.DatabaseSettings]]:
    """A local cluster: the door of each node, and the database."""
    quick = {
        "CCN_CLUSTER_INTERVAL_S": "0.5",
        "CCN_ETCD_LEASE_TTL_S": str(TTL_S),
        "CCN_CLAUDE_STAND_IN_WORDS_S": "0",
    }
    running = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ccn", "up", "--ephemeral", "--json"),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=settings.child_environment(quick),
    )
    try:
        assert running.stdout is not None
        told = json.loads(await running.stdout.readline())
        doors = {each["id"]: each["http"] for each in told["nodes"]}
        yield doors, settings.DatabaseSettings.from_url(told["database_url"])
    finally:
        running.send_signal(signal.SIGINT)
        await running.wait()
