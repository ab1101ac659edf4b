"""Durable message appends beside bare single-row commits, without the ledger, and while search keeps up.

The floor inserts the same words, one row a statement and a commit, into a table with a primary key and
nothing else: through asyncpg's pool of 8 as it comes, which resets a connection at each release, and on
eight raw connections.
"""

from __future__ import annotations

import asyncio
import itertools
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import asyncpg

from ccn import settings
from ccn.core.ids import CharacterId, ConversationId
from ccn.core.message import Message, Role, account_speaker
from ccn.service.clock import new_id
from ccn.store.connection import pool
from ccn.store.connection.pool import Pool
from ccn.store.conversations import characters, conversations, search
from ccn.store.conversations.conversations import AppendMessage
from ccn.store.writing.batch import Batch, ConversationHead
from ccn.store.writing.writer import Writer
from scripts.benchmarks import harness, store_server
from scripts.benchmarks.harness import Figure, Medians
from scripts.benchmarks.store_server import Server

SECONDS, CALLERS, CONVERSATIONS, CONNECTIONS = 1.0, 64, 16, 8
CONTENT = ("Do you remember what we said about the lighthouse? I was there again this morning. " * 3)[:200]
ADA = CharacterId("ada")
_INDEX_PAUSE_S = 0.05

Once = Callable[[], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Unsealed(AppendMessage):
    """The same append without its leaf: no numbering, no commitment, no hash."""

    def prepare(self, batch: Batch) -> Message:
        """As `Batch.say`, less the leaf. The salt is there because the row's constraint wants one."""
        head = batch.require_head(self.conversation, self.epoch)
        at, seq = max(batch.now, head.at), head.seq + 1
        place, by = (self.conversation, seq, self.role), account_speaker(self.speaker)
        batch.messages.append(
            (*place, self.content, _NO_SALT, by, self.language, at, None, self.epoch, None, 0)
        )
        batch.heads[self.conversation] = ConversationHead(seq, at, *head[2:])
        return Message(self.conversation, seq, self.role, self.content, at)


@dataclass(frozen=True, slots=True)
class Store:
    """A writer, a pool, and conversations to speak in."""

    pool: Pool
    writer: Writer
    here: Sequence[ConversationId]


async def run(rounds: int) -> harness.Report:
    """On a server of its own."""
    async with store_server.running() as server:
        return await measured(server, rounds)


async def measured(server: Server, rounds: int) -> harness.Report:
    """Every contender once a round."""
    async with AsyncExitStack() as stack:
        bare = await stack.enter_async_context(_bare(server))
        ours = await stack.enter_async_context(_store(await server.database("appends")))
        unsealed = await stack.enter_async_context(_store(await server.database("unsealed", *_NO_LEDGER)))
        indexed = await stack.enter_async_context(_store(await server.database("indexed")))
        keeping_up = _KeepingUp(indexed)
        got = await harness.measure(
            rounds,
            {
                "one": lambda: _rate([_insert(bare.one)]),
                "pooled": lambda: _rate([_insert(bare.pool)] * CALLERS),
                "raw": lambda: _rate([_insert(each) for each in bare.eight]),
                "append one": lambda: _rate(_appends(ours, AppendMessage, 1)),
                "append": lambda: _rate(_appends(ours, AppendMessage, CALLERS)),
                "unsealed": lambda: _rate(_appends(unsealed, Unsealed, CALLERS)),
                "indexing": keeping_up.appended,
            },
        )
    return harness.Report(_figures(got, keeping_up), [got])


def _figures(got: Medians, keeping_up: _KeepingUp) -> list[Figure]:
    of = got.of
    unit = "rows/s"
    return [
        Figure("append, 64 callers : pool of 8 as it comes", unit, of["append"], of["pooled"], 4.0),
        Figure("append, 64 callers : 8 raw connections", unit, of["append"], of["raw"], 1.8),
        Figure("append, 1 caller : 1 connection", unit, of["append one"], of["one"], 1.0),
        Figure("append, 64 callers : without the ledger", unit, of["append"], of["unsealed"], 0.85),
        Figure("append, search keeping up : append alone", unit, of["indexing"], of["append"]),
        Figure("documents made meanwhile", unit, statistics.median(keeping_up.made)),
        Figure("appended and indexed, to the last", unit, statistics.median(keeping_up.found)),
    ]


@dataclass(frozen=True, slots=True)
class _Bare:
    one: asyncpg.Connection[asyncpg.Record]
    eight: Sequence[asyncpg.Connection[asyncpg.Record]]
    pool: asyncpg.Pool[asyncpg.Record]


@asynccontextmanager
async def _bare(server: Server) -> AsyncIterator[_Bare]:
    url = (await server.database("bare", _BARE)).url.get_secret_value()
    one, *eight = [await asyncpg.connect(url) for _ in range(1 + CONNECTIONS)]
    async with asyncpg.create_pool(url, min_size=CONNECTIONS, max_size=CONNECTIONS) as together:
        yield _Bare(one, eight, together)
    for connection in (one, *eight):
        await connection.close()


@asynccontextmanager
async def _store(database: settings.DatabaseSettings) -> AsyncIterator[Store]:
    async with pool.open(database, "bench") as connections, store_server.writing(database) as writer:
        await characters.import_plate(connections, writer, ADA, "Ada", "# Ada", "bench")
        here = [ConversationId(new_id()) for _ in range(CONVERSATIONS)]
        for each in here:
            await writer.submit(conversations.BeginConversation(each, ADA, plate_version=1))
        yield Store(connections, writer, here)


def _insert(into: asyncpg.Connection[asyncpg.Record] | asyncpg.Pool[asyncpg.Record]) -> Once:
    conversation = new_id()
    return lambda: into.execute(_INSERT, conversation, "user", CONTENT)


def _appends(store: Store, kind: type[AppendMessage], callers: int) -> list[Once]:
    def append(conversation: ConversationId) -> Once:
        return lambda: store.writer.submit(kind(conversation, Role.USER, CONTENT, store_server.ANN))

    return [append(each) for each in itertools.islice(itertools.cycle(store.here), callers)]


async def _rate(callers: Sequence[Once]) -> float:
    """How often a second they got through together, each waiting for one answer before it asks again."""
    since = time.perf_counter()
    until = since + SECONDS

    async def ask(once: Once) -> int:
        for done in itertools.count():
            if time.perf_counter() >= until:
                return done
            await once()
        raise AssertionError("counting has no end")

    done = sum(await asyncio.gather(*(ask(once) for once in callers)))
    return done / (time.perf_counter() - since)


class _KeepingUp:
    """Append while documents are made in the background, then wait for the last of them."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.made: list[float] = []
        """Documents a second while appends went on, a round each."""
        self.found: list[float] = []
        """Messages a second from the first append until the last has its document."""

    async def appended(self) -> float:
        """Messages a second while both went on."""
        since = time.perf_counter()
        stop = asyncio.Event()
        indexing = asyncio.create_task(self._index(stop))
        rate = await _rate(_appends(self._store, AppendMessage, CALLERS))
        took = time.perf_counter() - since
        stop.set()
        self.made.append(await indexing / took)
        while await search.index_messages(self._store.pool):
            continue
        self.found.append(rate * took / (time.perf_counter() - since))
        return rate

    async def _index(self, stop: asyncio.Event) -> int:
        made = 0
        while not stop.is_set():
            just_made = await search.index_messages(self._store.pool)
            made += just_made
            if not just_made:
                await asyncio.sleep(_INDEX_PAUSE_S)
        return made


_NO_SALT = bytes(32)
_BARE = """
    CREATE TABLE said (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, conversation_id uuid NOT NULL,
        role text NOT NULL, content text NOT NULL, created_at timestamptz NOT NULL DEFAULT now())
"""
_INSERT = "INSERT INTO said (conversation_id, role, content) VALUES ($1, $2, $3)"
_NO_LEDGER = (
    "DROP TRIGGER leaves_follow ON leaves",
    "DROP INDEX messages_leaf",
    # The same function without its check that every message has a leaf.
    r"""DO $$
    DECLARE told text := pg_get_functiondef('ccn_messages_follow'::regproc);
            less text;
    BEGIN
        less := regexp_replace(told, '-- No two messages .* (RETURN NULL;)', '\1');
        IF less ~ 'leaves' OR less = told THEN
            RAISE EXCEPTION 'the check for leaves is no longer written as this benchmark expects';
        END IF;
        EXECUTE less;
    END $$""",
)
