"""CCN beside what people would pick instead, on the same server: LangGraph's saver, DBOS, procrastinate.

They are in peers-requirements.txt, for an environment of their own (`--peers-python PATH`), and work in a
process of their own (peer_contenders.py), each as its documentation shows it, in its own database. What is
compared is what each calls durable. A turn here is a message that was accepted, begun, and answered: three
commits; a step of DBOS and a turn of a graph do nothing but be recorded.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from ccn import settings
from ccn.core import turn
from ccn.core.ids import CharacterId, ConversationId, TurnId
from ccn.core.message import Role
from ccn.service.clock import new_id
from ccn.store.connection import pool
from ccn.store.connection.pool import Pool
from ccn.store.conversations import characters, conversations, search, turns
from ccn.store.writing.writer import Writer
from scripts.benchmarks import harness, store_server
from scripts.benchmarks.harness import Contender, Figure, Medians
from scripts.benchmarks.peer_contenders import said
from scripts.benchmarks.store_server import Server

MESSAGES, LOADED, TURNS, SIDE_BY_SIDE = 200, 50, 25, 16
REPEATED = 5  # so often for the bytes, which come in pages
ADA = CharacterId("ada")
_WORKER = Path(__file__).parent / "peer_contenders.py"
_PATIENCE_S = 300.0
_DATABASES = ("langgraph", "dbos", "procrastinate")


async def run(rounds: int, peers_python: Path | None) -> harness.Report:
    """Every contender once a round; then the bytes."""
    python = peers_python or Path(sys.executable)
    await _there(python)
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(store_server.running())
        urls = {name: await server.empty(name) for name in _DATABASES}
        peers = await stack.enter_async_context(_peers(python, urls))
        ours = await stack.enter_async_context(_ours(server))
        got = await harness.measure(rounds, peers.contenders | ours.contenders())
        await ours.find()
        bytes_of = _Bytes(
            kept=await _grown(ours.url, _again(ours.keep)) / (REPEATED * MESSAGES),
            found=await _grown(ours.url, ours.find) / (REPEATED * MESSAGES),
            kept_by_saver=await _grown(urls["langgraph"], _again(peers.contenders["langgraph keep"]))
            / (REPEATED * MESSAGES),
            told=await _grown(ours.url, _again(ours.turn)) / (REPEATED * 2 * TURNS),
            told_by_graph=await _grown(urls["langgraph"], _again(peers.contenders["langgraph turn"]))
            / (REPEATED * 2 * TURNS),
        )
    return harness.Report(_figures(got, bytes_of), [got])


@dataclass(frozen=True, slots=True)
class _Bytes:
    """Of a message in tables and indexes: kept by itself, and as one of the two of a turn."""

    kept: float
    found: float
    kept_by_saver: float
    told: float
    told_by_graph: float


def _figures(got: Medians, bytes_of: _Bytes) -> list[Figure]:
    of = got.of
    return [
        Figure("keep a message, p50 : LangGraph", "ms", of["keep"], of["langgraph keep"], 0.25, "less"),
        Figure("a message kept : LangGraph's", "B", bytes_of.kept, bytes_of.kept_by_saver, 0.15, "less"),
        Figure("what its search adds, which they lack", "B", bytes_of.found, better="less"),
        Figure("a message of a turn : LangGraph's graph", "B", bytes_of.told, bytes_of.told_by_graph, None,
               "less"),
        Figure(f"load {LOADED}, p50 : LangGraph", "ms", of["load"], of["langgraph load"], None, "less"),
        Figure("a turn, p50 : LangGraph", "ms", of["turn"], of["langgraph turn"], None, "less"),
        Figure("turns, one caller : DBOS's steps", "/s", of["turns one"], of["dbos one"], 10),
        Figure(f"turns, {SIDE_BY_SIDE} : steps, 16 flows", "/s", of["turns many"], of["dbos many"], 10),
        Figure(f"turns, {SIDE_BY_SIDE} : jobs, 16 at once", "/s", of["turns many"], of["procrastinate"]),
    ]  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Ours:
    """A writer, a pool and a character."""

    url: str
    pool: Pool
    writer: Writer

    def contenders(self) -> dict[str, Contender]:
        """The same things."""
        return {
            "keep": self.keep,
            "load": self.load,
            "turn": self.turn,
            "turns one": lambda: self.turns(1),
            "turns many": lambda: self.turns(SIDE_BY_SIDE),
        }

    async def keep(self) -> float:
        """Milliseconds to keep a message with its leaf, at the median, in conversations of fifty."""
        took = list[float]()
        for _ in range(MESSAGES // LOADED):
            here = await self._begun()
            for number in range(LOADED):
                role = Role.ASSISTANT if number % 2 else Role.USER
                began = time.perf_counter()
                await self.writer.submit(
                    conversations.AppendMessage(here, role, said(number), store_server.ANN)
                )
                took.append(1000 * (time.perf_counter() - began))
        return statistics.median(took)

    async def find(self) -> float:
        """Make all that was kept ready to be searched for; how many messages that were."""
        made = 0
        while some := await search.index_messages(self.pool):
            made += some
        return made

    async def load(self) -> float:
        """Milliseconds to load fifty."""
        here = await self._begun()
        asked = (
            conversations.AppendMessage(here, Role.USER, said(number), store_server.ANN)
            for number in range(LOADED)
        )
        await asyncio.gather(*map(self.writer.submit, asked))
        took = list[float]()
        for _ in range(TURNS):
            began = time.perf_counter()
            page = await conversations.load_history(self.pool, here, limit=LOADED)
            took.append(1000 * (time.perf_counter() - began))
            assert len(page.messages) == LOADED
        return statistics.median(took)

    async def turn(self) -> float:
        """Milliseconds of a turn that is durable when it returns, at the median."""
        here, took = await self._begun(), list[float]()
        for number in range(TURNS):
            began = time.perf_counter()
            await self._turn(here, number)
            took.append(1000 * (time.perf_counter() - began))
        return statistics.median(took)

    async def turns(self, callers: int) -> float:
        """Turns a second, in as many conversations."""
        here = [await self._begun() for _ in range(callers)]

        async def converse(one: ConversationId) -> None:
            for number in range(TURNS):
                await self._turn(one, number)

        began = time.perf_counter()
        await asyncio.gather(*map(converse, here))
        return callers * TURNS / (time.perf_counter() - began)

    async def _turn(self, here: ConversationId, number: int) -> None:
        taken = await self.writer.submit(
            turns.AcceptTurn(TurnId(new_id()), here, said(-number), store_server.ANN)
        )
        await self.writer.submit(turns.StartTurn(taken, 0))
        reply = said(number)
        told = (turns.TurnEvent(1, "delta", reply), turns.TurnEvent(2, "done", "{}"))
        begun = replace(taken, status=turn.TurnStatus.RUNNING)
        await self.writer.submit(turns.CommitReply(begun, 0, reply, store_server.WREN, told))

    async def _begun(self) -> ConversationId:
        begin = conversations.BeginConversation(ConversationId(new_id()), ADA, plate_version=1)
        return (await self.writer.submit(begin)).id


@asynccontextmanager
async def _ours(server: Server) -> AsyncIterator[_Ours]:
    database = await server.database("ours")
    async with pool.open(database, "bench") as connections, store_server.writing(database) as writer:
        await characters.import_plate(connections, writer, ADA, "Ada", "# Ada", "bench")
        yield _Ours(database.url.get_secret_value(), connections, writer)


@dataclass(frozen=True, slots=True)
class _Peers:
    contenders: dict[str, Contender]


async def _there(python: Path) -> None:
    """Leave, with words, where they are not installed."""
    pipe = asyncio.subprocess.PIPE
    trying = await asyncio.create_subprocess_exec(python, str(_WORKER), stdout=pipe, stderr=pipe)
    _, said = await trying.communicate()
    if trying.returncode:
        why = said.decode().strip().rpartition("\n")[2]
        sys.exit(
            f"{python} cannot run the peers: {why}\n"
            "Install scripts/benchmarks/peers-requirements.txt somewhere: --peers-python PATH"
        )


@asynccontextmanager
async def _peers(python: Path, urls: dict[str, str]) -> AsyncIterator[_Peers]:
    """The process they work in; each is asked by its name."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        python, str(_WORKER), json.dumps(urls), stdin=pipe, stdout=pipe
    )
    assert process.stdin is not None
    assert process.stdout is not None
    listening = process.stdout

    async def heard() -> str:
        async with asyncio.timeout(_PATIENCE_S):
            line = await listening.readline()
        if not line:
            raise RuntimeError("the peers died; what they said is above")
        return line.decode()

    def contender(name: str) -> Callable[[], Awaitable[float]]:
        async def once() -> float:
            assert process.stdin is not None
            process.stdin.write(f"{name}\n".encode())
            return float(await heard())

        return once

    try:
        yield _Peers({name: contender(name) for name in json.loads(await heard())})
    finally:
        process.stdin.close()
        await process.wait()


async def _grown(url: str, work: Contender) -> float:
    """By how many bytes the tables and indexes of a database grow through some work."""
    async with pool.open(settings.DatabaseSettings.from_url(url), "bench") as connections:
        before = await connections.value(_SIZE)
        await work()
        return float(await connections.value(_SIZE) - before)


def _again(work: Contender) -> Contender:
    async def often() -> float:
        return max([await work() for _ in range(REPEATED)])

    return often


_SIZE = """
    SELECT sum(pg_total_relation_size(oid))::bigint FROM pg_class
    WHERE relkind IN ('r', 'm') AND relpersistence = 'p'
      AND relnamespace <> ALL (ARRAY['pg_catalog', 'information_schema']::regnamespace[])
"""
