"""Rounds as people look at them: the log of committed and failed ones, and one block taken apart.

Separate from the command line and the doors, which show the same.
"""

from __future__ import annotations

from ccn import errors
from ccn.store import rounds
from ccn.store.pool import Pool


async def log(pool: Pool, limit: int) -> list[dict[str, object]]:
    """The newest rounds, committed or failed."""
    return [
        {"at": f"{e.at:%Y-%m-%d %H:%M:%S}", "term": e.term, "committed": e.committed, **e.data}
        for e in await rounds.log(pool, command="round", limit=limit)
    ]


async def block(pool: Pool, height: int) -> dict[str, object]:
    """One block: who reported, who voted, and what was agreed."""
    shown = await rounds.shown(pool, height)
    if shown is None:
        raise errors.NotFound(f"there is no block {height}")
    header = shown.header
    return {
        "height": header.height,
        "hash": header.hash().hex(),
        "previous": header.previous.hex(),
        "term": header.term,
        "leader": header.leader,
        "leaves": header.count,
        "tree size": header.size + 1,
        "spans": [f"{span.node} {span.first}..{span.last}" for span in header.spans],
        "votes": [vote.statement.node for vote in shown.votes],
        "results": await rounds.results(pool, height),
    }
