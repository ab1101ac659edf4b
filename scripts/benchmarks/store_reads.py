"""Reads of the store beside the look-up of one message by its primary key, on the same pool.

One caller, random places and moments, medians. The whole of a long history is compared with one bare
statement that fetches the same rows.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import asyncpg

from ccn import settings
from ccn.core.ids import ConversationId
from ccn.store.character import vectors
from ccn.store.connection import pool
from ccn.store.connection.pool import Pool
from ccn.store.conversations import conversations
from ccn.store.upkeep import snapshots
from scripts.benchmarks import corpus, harness, store_server
from scripts.benchmarks.corpus import Corpus
from scripts.benchmarks.harness import Figure, Medians

CALLS = 300
LAST = 50

Read = Callable[[], Awaitable[object]]


async def run(rounds: int, rows: int) -> harness.Report:
    """On a server and a corpus of its own."""
    async with store_server.running() as server:
        database = await server.database("corpus")
        return await measured(database, await corpus.load(database, rows), rounds)


async def measured(database: settings.DatabaseSettings, loaded: Corpus, rounds: int) -> harness.Report:
    """Every contender once a round."""
    chosen = random.Random(2)
    async with pool.open(database, "bench") as connections, _bare(database) as bare:
        reads = _Reads(connections, bare, loaded, chosen)
        got = await harness.measure(
            rounds,
            {
                "look-up": lambda: _median_ms(reads.look_up),
                "last": lambda: _median_ms(reads.last),
                "vector": lambda: _median_ms(reads.vector),
                "state": lambda: _median_ms(reads.state),
                "whole": lambda: _median_ms(reads.whole, 3),
                "bare whole": lambda: _median_ms(reads.bare_whole, 3),
            },
        )
    return harness.Report(_figures(got, loaded), [got])


def _figures(got: Medians, loaded: Corpus) -> list[Figure]:
    of, look_up = got.of, got.of["look-up"]
    long = loaded.long_length
    return [
        Figure(f"last {LAST} of {long:,} messages : look-up", "ms", of["last"], look_up, 3.0, "less"),
        Figure(f"vector at t over {loaded.rows:,} : look-up", "ms", of["vector"], look_up, 2.0, "less"),
        Figure("complete state at t : look-up", "ms", of["state"], look_up, None, "less"),
        Figure(f"all {long:,} in pages : one statement", "ms", of["whole"], of["bare whole"], None, "less"),
    ]


@asynccontextmanager
async def _bare(database: settings.DatabaseSettings) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    connection = await asyncpg.connect(database.url.get_secret_value())
    yield connection
    await connection.close()


class _Reads:
    """What is asked for, at a random place each time."""

    def __init__(
        self, pool: Pool, bare: asyncpg.Connection[asyncpg.Record], loaded: Corpus, chosen: random.Random
    ) -> None:
        self._pool = pool
        self._bare = bare
        self._loaded = loaded
        self._chosen = chosen
        self._long = ConversationId(loaded.long)

    async def look_up(self) -> None:
        """One message of a random conversation."""
        conversation = self._chosen.choice(self._loaded.conversations)
        await self._pool.row(_LOOK_UP, conversation, self._chosen.randint(1, corpus.SHORT))

    async def last(self) -> None:
        """The end of the long conversation."""
        page = await conversations.load_history(self._pool, self._long, limit=LAST)
        _expect(len(page.messages), LAST)

    async def whole(self) -> None:
        """All of it, page by page."""
        before, read = None, 0
        while read == 0 or before is not None:
            page = await conversations.load_history(
                self._pool, self._long, before=before, limit=conversations.PAGE_LIMIT
            )
            before, read = page.before, read + len(page.messages)
        _expect(read, self._loaded.long_length)

    async def bare_whole(self) -> None:
        """The same rows as the driver gives them."""
        await self._bare.fetch(_WHOLE, self._long)

    async def vector(self) -> None:
        """The character's state in a random conversation at a random moment of it."""
        conversation, moment = self._loaded.during(self._chosen)
        row = await self._pool.row(_STATE_AT, conversation, moment)
        if row is not None:
            vectors.vector_from_stored(row["vector"])

    async def state(self) -> None:
        """All of it, likewise."""
        conversation, moment = self._loaded.during(self._chosen)
        await snapshots.load_state_at(self._pool, ConversationId(conversation), moment)


async def _median_ms(read: Read, calls: int = CALLS) -> float:
    took = []
    for _ in range(calls):
        since = time.perf_counter()
        await read()
        took.append(time.perf_counter() - since)
    return statistics.median(took) * 1000


def _expect(found: int, wanted: int) -> None:
    if found != wanted:
        raise AssertionError(f"a benchmark found {found} messages where {wanted} were loaded")


_LOOK_UP = """
    SELECT conversation_id, seq, role, content, created_at, turn_id FROM messages
    WHERE conversation_id = $1 AND seq = $2
"""
_STATE_AT = """
    SELECT conversation_id, ts, seq, vector FROM character_evolution
    WHERE conversation_id = $1 AND ts <= $2 ORDER BY ts DESC, seq DESC LIMIT 1
"""
_WHOLE = """
    SELECT conversation_id, seq, role, content, created_at, turn_id FROM messages
    WHERE conversation_id = $1 ORDER BY seq
"""
