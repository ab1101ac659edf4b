"""Whichever node is killed in whatever state of a turn: no message lost, no reply doubled, no gap.

Two nodes talk in the same conversations, as processes without doors. Again and again one of them is killed
with SIGKILL, or frozen for longer than the other waits; it comes back at once, or after the other has taken
over. In the end every accepted message has exactly one reply, its own, and every stream tells just that.
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import pytest

from ccn import settings
from ccn.core.ids import TurnId
from ccn.core.stream import START, StreamEvent
from ccn.store.connection import pool
from ccn.store.connection.pool import Pool
from ccn.store.conversations import turns
from tests.support import processes
from tests.support.cluster.speaker import QUICK, reply_to
from tests.support.node import node_world

KILLS = int(os.environ.get("CCN_TURN_KILLS", "8"))
CONVERSATIONS = 6
NODES = ("node-1", "node-2")
LONGEST_LIFE_S = 0.4
CHECKOUT = Path(__file__).parents[2]
SPEAKER = CHECKOUT / "tests/support/cluster/speaker.py"


@dataclass
class Tally:
    """What nodes said before they were killed, and what they were at."""

    killed: int = 0
    frozen: int = 0
    accepted: dict[UUID, tuple[int, str]] = field(default_factory=dict)
    read: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    states: Counter[str] = field(default_factory=Counter)

    def line(self) -> str:
        states = ", ".join(f"{count} {state}" for state, count in sorted(self.states.items()))
        return (
            f"{self.killed} nodes killed and {self.frozen} frozen, with turns of theirs: {states};"
            f" {len(self.accepted)} messages acknowledged, {self.read['whole']} streams read whole"
        )


class Nursery:
    """The process that forks nodes, and the pipe on which they tell what happened."""

    def __init__(self, process: asyncio.subprocess.Process, tally: Tally) -> None:
        self._process, self._tally = process, tally
        self.pids: dict[str, int] = {}
        self._born = asyncio.Event()

    async def bear(self, node: str) -> None:
        self._born.clear()
        assert self._process.stdin is not None
        self._process.stdin.write(f"{node} {secrets.token_hex(4)}\n".encode())
        await self._process.stdin.drain()
        await asyncio.wait_for(self._born.wait(), 60)  # the first one imports everything

    def end(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    async def listen(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            match line.decode().split():
                case ["born", node, pid]:
                    self.pids[node] = int(pid)
                    self._born.set()
                case ["accepted", turn, seq, words]:
                    self._tally.accepted[UUID(turn)] = int(seq), words
                case ["read", _, outcome]:
                    self._tally.read[outcome] += 1
                case ["refused", error]:
                    self._tally.refused[error] += 1


@pytest.mark.timeout(300 + 6 * KILLS)
async def test_every_accepted_message_gets_its_one_reply_whoever_dies(
    database: settings.DatabaseSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    chance, tally, began = random.Random(seed := secrets.token_hex(4)), Tally(), time.monotonic()
    world = await node_world.found_world(database)
    async with world.node("node-0") as first:
        talks = [str(await first.begin_conversation()) for _ in range(CONVERSATIONS)]
    async with pool.open(database, "test") as connections:
        async with _nursery(database, talks, tally) as nursery:
            for node in NODES:
                await nursery.bear(node)
            for number in range(KILLS):
                await _endanger(nursery, chance, tally, connections, freeze=number % 8 == 7)
            for pid in nursery.pids.values():
                os.kill(pid, signal.SIGUSR1)
            await _quiet(connections)
        wrong = await _wrong(connections, tally)
    with capsys.disabled():
        told = f"turns, seed {seed}, {time.monotonic() - began:.0f} s: {tally.line()}; wrong: {dict(wrong)}"
        print(f"\n{told}")  # noqa: T201 - people want to see it
    assert tally.killed + tally.frozen == KILLS
    assert len(tally.accepted) > KILLS // 4, "enough was at stake, also on a machine that is slow"
    assert tally.read["whole"] > KILLS // 4
    assert not tally.read["broken"]
    assert not any(wrong.values())


async def _endanger(
    nursery: Nursery, chance: random.Random, tally: Tally, connections: Pool, *, freeze: bool
) -> None:
    """Let both work for a moment, then stop one; it is back before or after the other one takes over."""
    await asyncio.sleep(chance.uniform(0.05, LONGEST_LIFE_S))
    node = chance.choice(NODES)
    os.kill(nursery.pids[node], signal.SIGSTOP if freeze else signal.SIGKILL)
    for row in await connections.rows(_STATES, node):
        tally.states[row["state"]] += row["count"]
    await asyncio.sleep(chance.choice((0.0, 0.0, 2 * QUICK.adopt_after_s)))
    if freeze:
        await asyncio.sleep(2 * QUICK.adopt_after_s)
        os.kill(nursery.pids[node], signal.SIGCONT)
        tally.frozen += 1
    else:
        tally.killed += 1
        await nursery.bear(node)


async def _quiet(connections: Pool) -> None:
    """Somebody finishes whatever was left."""
    until = time.monotonic() + 60
    while left := await connections.rows(_UNFINISHED):
        assert time.monotonic() < until, [dict(row) for row in left]
        await asyncio.sleep(0.05)


async def _wrong(connections: Pool, tally: Tally) -> Counter[str]:
    """Everything that must not be, counted over the whole record."""
    wrong = Counter[str]()
    found = {row["id"]: row for row in await connections.rows(_TURNS)}
    for turn, (seq, words) in tally.accepted.items():
        row = found.get(turn)
        wrong["lost"] += row is None or (row["user_seq"], row["asked"]) != (seq, words)
    for turn, row in found.items():
        wrong["without a reply"] += row["reply"] is None
        wrong["doubled"] += row["replies"] > 1
        wrong["another's reply"] += row["reply"] not in {None, reply_to(row["asked"])}
        told = await _replayed(connections, turn)
        wrong["streams that tell another"] += node_world.text(told) != row["reply"]
    wrong["gaps"] = await connections.value(_GAPS)
    return wrong


async def _replayed(connections: Pool, turn: UUID) -> list[StreamEvent]:
    return await turns.load_stream(connections, TurnId(turn), START)


@asynccontextmanager
async def _nursery(
    database: settings.DatabaseSettings, talks: list[str], tally: Tally
) -> AsyncIterator[Nursery]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(SPEAKER), database.url.get_secret_value(), *talks),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=settings.child_environment({"PYTHONPATH": str(CHECKOUT)}),
        start_new_session=True,
        preexec_fn=processes.tied(),
    )
    nursery = Nursery(process, tally)
    listening = asyncio.create_task(nursery.listen())
    try:
        yield nursery
    finally:
        nursery.end()
        await process.wait()
        await asyncio.wait_for(listening, 10)


_STATES = """
    SELECT CASE WHEN t.status = 'running' AND t.event_head > 0 THEN 'streaming' ELSE t.status END AS state,
           count(*)
    FROM turns t JOIN instance_registry i USING (conversation_id)
    WHERE i.host = $1 AND i.ended_at IS NULL AND t.status IN ('accepted', 'running') GROUP BY 1
"""
_UNFINISHED = """
    SELECT t.id, t.status, t.attempt, t.host_epoch, t.event_head, now() - t.accepted_at AS age,
           i.status AS instance, i.host, i.epoch, now() - i.heartbeat_at AS silent, c.status AS conversation
    FROM turns t JOIN conversations c ON c.id = t.conversation_id
        LEFT JOIN instance_registry i ON i.conversation_id = c.id AND i.ended_at IS NULL
    WHERE t.status IN ('accepted', 'running') ORDER BY t.accepted_at
"""
_TURNS = """
    SELECT t.id, t.user_seq, a.content AS asked, r.content AS reply,
           (SELECT count(*) FROM messages d WHERE d.turn_id = t.id AND d.role = 'assistant') AS replies
    FROM turns t JOIN messages a ON a.conversation_id = t.conversation_id AND a.seq = t.user_seq
        LEFT JOIN messages r ON r.conversation_id = t.conversation_id AND r.seq = t.reply_seq
"""
_GAPS = """
    SELECT count(*) FROM (
        SELECT seq, row_number() OVER (PARTITION BY conversation_id ORDER BY seq) AS nth FROM messages
    ) AS numbered WHERE seq <> nth
"""
