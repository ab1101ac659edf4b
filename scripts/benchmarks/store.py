"""What the store costs: durable appends, reads and search, each beside its floor, on embedded PostgreSQL.

`scripts/bench store_appends`, `store_reads` and `store_search` run a third each.
"""

from __future__ import annotations

from scripts.benchmarks import corpus, harness, store_appends, store_reads, store_search, store_server


async def run(rounds: int, rows: int) -> harness.Report:
    """All three on one server, the last two on one corpus."""
    async with store_server.running() as server:
        appends = await store_appends.measured(server, rounds)
        database = await server.database("corpus")
        loaded = await corpus.load(database, rows)
        reads = await store_reads.measured(database, loaded, rounds)
        found = await store_search.measured(database, loaded, rounds)
    return harness.Report(
        [*appends.figures, *reads.figures, *found.figures],
        [*appends.measured, *reads.measured, *found.measured],
    )
