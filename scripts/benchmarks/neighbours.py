"""What one user at every limit costs another: turns of the other one, beside those when it is alone.

A node with its limits by default, on its own database, and the stand-in. A process of its own is the user
at every limit (neighbours_crowd): calls that last, as many as may be and as many in line; starts, messages,
calls of 50 kB, searches in long texts, through REST, gRPC and sockets, twice as many as are let through.
The other says something every 0.7 s. A round is as long as the window in which requests are counted.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from ccn import settings
from ccn.core.ids import UserId
from ccn.gateway.accounts import credentials, new_api_keys
from ccn.store.accounts import users
from ccn.store.accounts.users import Tier
from ccn.store.connection import pool
from scripts.benchmarks import harness, serving, store_server
from scripts.benchmarks.harness import Figure

TURNS = 80
EVERY_S = 0.7
_RICH = {"CCN_LIMITS_DAILY_DOLLARS": "10000"}
"""Else the busy one would soon have spent its allowance, and be no neighbour any more."""


@dataclass
class Home:
    """The node, who talks there, and what came of it."""

    http: str
    grpc: str
    mine: str
    theirs: str
    session: str = ""
    refused: int = 0
    took: dict[str, list[float]] = field(default_factory=lambda: {"alone": [], "beside": []})
    came: Counter[str] = field(default_factory=Counter)
    busy_s: float = 0.0


async def run(rounds: int) -> harness.Report:
    """Alone and beside each other, in turn."""
    async with _home() as home:
        rivals = {"alone": lambda: _turns(home, "alone"), "beside": lambda: _beside(home)}
        got = await harness.measure(rounds, rivals)
    beside, alone = got.of["beside"], got.of["alone"]
    figures = [
        Figure("turn p95 beside one at every limit : alone", "ms", beside, alone, goal=1.5, better="less"),
        *(
            Figure(f"p{percent} of all turns of all rounds", "ms", *_both(home, percent), better="less")
            for percent in (50, 95)
        ),
        Figure("refused to the other", "", home.refused, goal=0, better="less", trials=_trials(home)),
        *(
            Figure(f"the busy one: {what}", "1/min", count * 60 / home.busy_s)
            for what, count in sorted(home.came.items())
        ),
        Figure("load of this machine at the end", "", os.getloadavg()[0]),
    ]
    return harness.Report(figures, [got])


def _both(home: Home, percent: int) -> tuple[float, float]:
    """Beside and alone, rounds that do not count included: on a busy machine they are what there is."""
    return harness.percentile(home.took["beside"], percent), harness.percentile(home.took["alone"], percent)


def _trials(home: Home) -> int:
    return sum(map(len, home.took.values()))


async def _beside(home: Home) -> float:
    began = time.perf_counter()
    async with _crowd(home):
        p95 = await _turns(home, "beside")
    home.busy_s += time.perf_counter() - began
    return p95


async def _turns(home: Home, how: str) -> float:
    """Milliseconds from a message to the end of its reply, at the 95th percentile."""
    took = list[float]()
    headers = {"Authorization": f"Bearer {home.mine}"}
    async with httpx.AsyncClient(base_url=home.http, headers=headers, timeout=60) as client:
        for number in range(TURNS):
            took_s = await _turn(client, home, number)
            took.append(1000 * took_s)
            await asyncio.sleep(max(0.0, EVERY_S - took_s))
    home.took[how].extend(took)
    return harness.percentile(took, 95)


async def _turn(client: httpx.AsyncClient, home: Home, number: int) -> float:
    began = time.perf_counter()
    path, said = f"/api/v1/conversation/{home.session}/messages", {"content": f"And number {number}?"}
    answer = await client.post(path, json=said)
    home.refused += "event: done" not in answer.text
    return time.perf_counter() - began


@asynccontextmanager
async def _crowd(home: Home) -> AsyncIterator[None]:
    """The busy one, at work until the block ends."""
    pipe = asyncio.subprocess.PIPE
    argv = (sys.executable, "-m", "scripts.benchmarks.neighbours_crowd", home.http, home.grpc)
    environ = settings.child_environment({"CCN_CLIENT_API_KEY": home.theirs})
    busy = await asyncio.create_subprocess_exec(*argv, env=environ, stdin=pipe, stdout=pipe)
    assert busy.stdin is not None
    assert busy.stdout is not None
    try:
        assert (await busy.stdout.readline()).strip() == b"ready"
        yield
    finally:
        busy.stdin.close()
        home.came.update(json.loads(await busy.stdout.readline() or "{}"))
        await busy.wait()


@asynccontextmanager
async def _home() -> AsyncIterator[Home]:
    async with AsyncExitStack() as stack:
        model = await stack.enter_async_context(serving.stand_in())
        server = await stack.enter_async_context(store_server.running())
        database = await server.database("neighbours")
        grpc = serving.free_port()
        chosen = {"CCN_GRPC_PORT": str(grpc), **_RICH}
        node = await stack.enter_async_context(serving.node(database, model, chosen))
        mine, theirs = [await _key(database, name) for name in ("mine", "theirs")]
        home = Home(f"http://127.0.0.1:{node.port}", f"127.0.0.1:{grpc}", mine, theirs)
        slow: dict[str, Any] = {"match": "SLOWLY", "pause_s": 1.0}
        async with httpx.AsyncClient(timeout=60) as client:
            (await client.post(f"{model}/stand-in/faults", json=slow)).raise_for_status()
        home.session = await serving.begun(node.port, mine)
        yield home


async def _key(database: settings.DatabaseSettings, name: str) -> str:
    async with pool.open(database, "bench") as connections:
        owner = await users.add_user(connections, UserId(credentials.new_id()), name, Tier.USER, None)
        return await new_api_keys.make_key(connections, owner.id, "benchmark", owner.tier, by="benchmark")
