"""Full text search over a large corpus: words of every frequency, 20 best with highlights.

Every class of query weighs the same in the percentiles. Common words are the commonest that are not little
ones: each occurs in up to a seventh of all messages.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Iterator

import asyncpg

from ccn import settings
from ccn.core.ids import UserId
from ccn.store.connection import pool
from ccn.store.conversations import search
from scripts.benchmarks import corpus, harness, store_server
from scripts.benchmarks.corpus import Corpus
from scripts.benchmarks.harness import Figure, Medians, percentile

OF_EACH = 20
_RANKS = {"very common": (20, 60), "medium": (200, 2_000), "rare": (10_000, 50_000)}
_TONGUES = ("english", "english", "english", "german", "french", "spanish", "russian")

Queries = dict[str, list[str]]
Took = dict[str, list[float]]


async def run(rounds: int, rows: int) -> harness.Report:
    """On a server and a corpus of its own."""
    async with store_server.running() as server:
        database = await server.database("corpus")
        return await measured(database, await corpus.load(database, rows), rounds)


async def measured(database: settings.DatabaseSettings, loaded: Corpus, rounds: int) -> harness.Report:
    """The same queries in every round, and again within what one owner may see."""
    queries = _queries(loaded)
    await _ask_all(database, queries, None)  # so that no round is the first to read from the disk
    before = await _scans(database)
    everybody: list[Took] = []
    within_one: list[Took] = []

    async def ask(owner: UserId | None, told: list[Took]) -> float:
        told.append(await _ask_all(database, queries, owner))
        return percentile(_all(told[-1]), 95)

    got = await harness.measure(
        rounds,
        {
            "everybody": lambda: ask(None, everybody),
            "owner": lambda: ask(UserId(loaded.owners[0]), within_one),
        },
    )
    scans = await _scans(database) - before
    return harness.Report(_figures(loaded, got, everybody, scans), [got])


def _figures(loaded: Corpus, got: Medians, everybody: list[Took], scans: int) -> list[Figure]:
    about = f"search over {loaded.rows:,}"
    middle = statistics.median(percentile(_all(took), 50) for took in everybody)
    each = {kind: statistics.median(percentile(t[kind], 95) for t in everybody) for kind in everybody[0]}
    trials = len(_all(everybody[0]))
    return [
        Figure(f"{about}, p95", "ms", got.of["everybody"], goal=50, better="less", trials=trials),
        *(Figure(f"  {kind}, p95", "ms", took, better="less") for kind, took in each.items()),
        Figure("  all, p50", "ms", middle, better="less"),
        Figure("  within one owner, p95", "ms", got.of["owner"], goal=50, better="less", trials=trials),
        Figure("sequential scans of messages or documents", "scans", scans, goal=0, better="less"),
        Figure("loading the corpus", "s", loaded.took_s, better="less"),
    ]


async def _ask_all(database: settings.DatabaseSettings, queries: Queries, owner: UserId | None) -> Took:
    """Milliseconds of each query. The pool ends with it, so that the server has counted what it did."""
    took: Took = {kind: [] for kind in queries}
    async with pool.open(database, "bench") as connections:
        for kind, some in queries.items():
            for query in some:
                since = time.perf_counter()
                await search.find_messages(connections, query, owner=owner)
                took[kind].append((time.perf_counter() - since) * 1000)
    return took


def _all(took: Took) -> list[float]:
    return [each for some in took.values() for each in some]


def _queries(loaded: Corpus) -> Queries:
    chosen = random.Random(3)

    def word(frequency: str, tongue: str) -> str:
        return loaded.words[tongue][chosen.randrange(*_RANKS[frequency])]

    def pair(tongue: str) -> str:
        kinds = chosen.choices(list(_RANKS)[:2], k=2)
        return " ".join(word(kind, tongue) for kind in kinds)

    def tongues() -> Iterator[str]:
        return (chosen.choice(_TONGUES) for _ in range(OF_EACH))

    return {
        **{kind: [word(kind, tongue) for tongue in tongues()] for kind in _RANKS},
        "two words": [pair(tongue) for tongue in tongues()],
        "phrase": [f'"{pair(tongue)}"' for tongue in tongues()],
    }


async def _scans(database: settings.DatabaseSettings) -> int:
    connection = await asyncpg.connect(database.url.get_secret_value())
    try:
        return int(await connection.fetchval(_SCANS))
    finally:
        await connection.close()


_SCANS = """
    SELECT sum(seq_scan) FROM pg_stat_user_tables WHERE relname IN ('messages', 'message_documents')
"""
