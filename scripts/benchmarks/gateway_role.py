"""A turn through a gateway, beside the same through the node that hosts its instance.

One node and one gateway, as `ccn up` starts them: mutual TLS between them, and a stand-in that makes no
pauses. Turns go to one door and to the other by turns, in one conversation, so both see the same prompt
grow; what is added is the median of the differences of such pairs. The replies are short: how fast a long
one can pass through a door is not what a reader waits for.

The floor is a bare proxy of one gRPC stream (`gateway_proxy`), whose turns lie between the others. The time
of the processors is told as well, because a busy machine stretches all other figures.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil  # type: ignore[import-untyped]

from ccn import settings
from scripts.benchmarks import gateway_proxy, harness, serving
from scripts.benchmarks.harness import Figure

PAIRS = 60
WARMING = 10
GOAL_MS = 1.5
SHORT = {"CCN_CLAUDE_STAND_IN_WORDS_S": "0", "CCN_CLAUDE_MAX_TOKENS": "24"}


@dataclass(frozen=True, slots=True)
class Door:
    """A door, a conversation behind it, and the processes that a turn there keeps busy."""

    port: int
    key: str
    session: str
    pids: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class TimedTurn:
    """Milliseconds from the first byte of a message to pieces of its reply."""

    first: float
    """To the first words of the reply."""
    end: float
    processors: float
    """How long the processors worked for it, in both processes."""


async def run(rounds: int) -> harness.Report:
    """The figures of one cluster; more rounds are more pairs of turns."""
    return harness.Report(await measure_turns(max(PAIRS, 10 * rounds)))


async def measure_turns(pairs: int = PAIRS) -> list[Figure]:
    """The figures of a cluster that lives for this alone."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        bare = await stack.enter_async_context(_run_bare_pair(folder))
        told = await stack.enter_async_context(_cluster())
        key, (node,), (gateway,) = told["admin"]["api_key"], told["nodes"], told["gateways"]
        pids = {"host": _find_process(node["id"]), "gateway": _find_process(gateway["id"])}
        session = await serving.begun(_port_of(node), key)
        doors = {
            "host": Door(_port_of(node), key, session, pids),
            "gateway": Door(_port_of(gateway), key, session, pids),
        } | bare
        turns = defaultdict[str, list[TimedTurn]](list)
        for number in range(WARMING + pairs):
            for name in list(doors) if number % 2 else reversed(doors):
                turn = await _take_turn(doors[name], number)
                if number >= WARMING:
                    turns[name].append(turn)
    return _make_figures(turns)


def _make_figures(turns: Mapping[str, list[TimedTurn]]) -> list[Figure]:
    pairs, figures = len(turns["host"]), list[Figure]()
    for part in ("first", "end", "processors"):
        of = {name: [getattr(turn, part) for turn in taken] for name, taken in turns.items()}
        added = _median_difference(of["gateway"], of["host"])
        bare = _median_difference(of["bare proxy"], of["bare host"])
        said = {"first": "the first words", "end": "a turn", "processors": "processors of both, a turn"}[
            part
        ]
        figures += [
            Figure(
                f"{said} through a gateway : its host, p{percent}",
                "ms",
                harness.percentile(of["gateway"], percent),
                harness.percentile(of["host"], percent),
                better="less",
                trials=pairs,
            )
            for percent in (50, 95)
        ]
        figures += [
            Figure(f"{said}: added by a gateway : by a bare proxy", "ms", added, bare, better="less"),
        ]
        if part == "end":
            figures += [Figure("added by a gateway, p50", "ms", added, goal=GOAL_MS, better="less")]
    return figures


def _median_difference(through: list[float], straight: list[float]) -> float:
    return harness.percentile([one - other for one, other in zip(through, straight, strict=True)], 50)


async def _take_turn(door: Door, number: int) -> TimedTurn:
    body = json.dumps({"content": f"{serving.ASKS} Number {number}."}).encode()
    head = (
        f"POST /api/v1/conversation/{door.session}/messages HTTP/1.1\r\nHost: x\r\n"
        f"Authorization: Bearer {door.key}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
    worked, began = _measure_work(door.pids), time.perf_counter()
    told, first = b"", 0.0
    writer.write(head.encode() + body)
    while b"event: done" not in told:
        data = await reader.read(65_536)
        assert data, told[-2_000:]
        told += data
        if not first and b"event: delta" in told:
            first = time.perf_counter() - began
    end = time.perf_counter() - began
    worked = _measure_work(door.pids) - worked
    writer.close()
    return TimedTurn(1000 * first, 1000 * end, worked)


def _measure_work(pids: Mapping[str, int]) -> float:
    """Milliseconds that all threads of these processes have run."""
    ran_ns = 0
    for pid in pids.values():
        for file in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            with suppress(OSError):  # a thread that ended meanwhile
                ran_ns += int(file.read_text().split()[0])
    return ran_ns / 1_000_000


def _find_process(name: str) -> int:
    """The process of a node or gateway, which is called after it."""
    return int(next(each.pid for each in psutil.Process().children(recursive=True) if each.name() == name))


@asynccontextmanager
async def _run_bare_pair(folder: Path) -> AsyncIterator[dict[str, Door]]:
    gateway_proxy.issue_certificates(folder)
    host, proxy, link = serving.free_port(), serving.free_port(), serving.free_port()
    arguments = ("-m", "scripts.benchmarks.gateway_proxy", str(folder), str(link))
    async with serving.process(*arguments, gateway_proxy.HOST, str(host)) as host_pid:
        await serving.listens(host)
        async with serving.process(*arguments, gateway_proxy.PROXY, str(proxy)) as proxy_pid:
            await serving.listens(proxy)
            pids = {"host": host_pid, "proxy": proxy_pid}
            yield {"bare host": Door(host, "", "", pids), "bare proxy": Door(proxy, "", "", pids)}


@asynccontextmanager
async def _cluster() -> AsyncIterator[dict[str, Any]]:
    options = ("--ephemeral", "--json", "--quiet", "--port", "0", "--nodes", "1", "--gateways", "1")
    running = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ccn", "up", *options,
        env=settings.child_environment(SHORT | serving.UNLIMITED),
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert running.stdout is not None
    try:
        told = await running.stdout.readline()
        assert told, "the cluster did not start"
        yield json.loads(told)
    finally:
        with suppress(ProcessLookupError):
            running.terminate()
        await running.wait()


def _port_of(node: dict[str, Any]) -> int:
    port: int | None = urlsplit(str(node["http"])).port
    assert port is not None
    return port
