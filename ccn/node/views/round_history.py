"""Rounds as people look at them: the log of them, one block taken apart, and who votes in the next one.

Separate from the command line and the doors, which show the same.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from ccn import errors
from ccn.core.axes import AXES, UNIT
from ccn.store.connection.pool import Pool
from ccn.store.operators import drains
from ccn.store.rounds import agreements, blocks, consensus_log, ledger
from ccn.store.rounds.agreements import Conclusion, MeasuredInstance


async def load_log(pool: Pool, limit: int) -> list[dict[str, object]]:
    """The newest rounds, committed or failed."""
    return [
        {"at": e.at.isoformat(), "term": e.term, "committed": e.committed, **e.data}
        for e in await consensus_log.load_newest(pool, command="round", limit=limit)
    ]


async def load_block(pool: Pool, height: int) -> dict[str, Any]:
    """One block: who reported, who voted, and what was agreed."""
    shown = await blocks.load_block(pool, height)
    if shown is None:
        newest = await blocks.load_height(pool)
        none = "the chain is not founded yet" if newest is None else f"the newest is {newest}"
        raise errors.NotFound(f"there is no block {height}: {none}")
    header = shown.header
    return {
        "height": header.height,
        "hash": header.hash().hex(),
        "previous": header.previous.hex(),
        "term": header.term,
        "at": datetime.fromtimestamp(header.time_us / 1e6, UTC).isoformat(),
        "leader": header.leader,
        "leaves": header.count,
        "tree size": header.size + 1,
        "spans": [f"{span.node} {span.first}..{span.last}" for span in header.spans],
        "reports": [report.statement.node for report in await blocks.load_reports(pool, height)],
        "votes": [vote.statement.node for vote in shown.votes],
        "results": [_result_to_dict(each) for each in await agreements.load_conclusions(pool, height)],
    }


async def load_voters(pool: Pool) -> list[dict[str, Any]]:
    """Every node that ever ran here: whether it votes, what it last voted for, and what waits of it."""
    tip = await blocks.load_tip(pool)
    if tip is None:
        raise errors.NotFound("the chain is not founded yet: too few nodes have come")
    drained, waiting, voted = (
        await drains.list_draining(pool),
        await ledger.count_waiting_by_node(pool),
        await blocks.load_last_votes(pool),
    )
    names = sorted(waiting.keys() | {each.node for each in tip.rules.validators})
    return [
        {
            "node": name,
            "votes": (key := tip.rules.key_of(name)) is not None,
            "key": key.hex() if key else None,
            "draining": name in drained,
            "unsealed": waiting.get(name, 0),
            "last_vote": voted.get(name),
        }
        for name in names
    ]


def _result_to_dict(one: Conclusion) -> dict[str, object]:
    drifts = [each.drift for each in one.instances]
    return {
        "character": one.character,
        "instances": len(one.instances),
        "owners": one.owners,
        "median": {
            axis: None if value is None else value / UNIT
            for axis, value in zip(AXES, one.median.millionths, strict=True)
        },
        "drift": {"least": min(drifts, default=None), "most": max(drifts, default=None)},
        "outliers": [_instance_to_dict(each) for each in one.instances if each.outlier],
        "disputed": [_instance_to_dict(each) for each in one.instances if each.disputed],
    }


def _instance_to_dict(one: MeasuredInstance) -> dict[str, object]:
    return {"instance": str(one.instance), "node": one.node, "drift": one.drift}
