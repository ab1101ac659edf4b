"""Rounds as people see them: their log, one block in its parts, and the validators of the next round.

Separate from the command line and the doors, so that both show the same.
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
    """Load the newest rounds, committed or failed."""
    return [
        {"at": entry.at.isoformat(), "term": entry.term, "committed": entry.committed, **entry.data}
        for entry in await consensus_log.load_newest(pool, command="round", limit=limit)
    ]


async def load_block(pool: Pool, height: int) -> dict[str, Any]:
    """Load one block: which nodes reported, which voted, and what was agreed."""
    shown = await blocks.load_block(pool, height)
    if shown is None:
        newest = await blocks.load_height(pool)
        why = "the chain is not founded yet" if newest is None else f"the newest is {newest}"
        raise errors.NotFound(f"there is no block {height}: {why}")
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
        "results": [_result_to_dict(result) for result in await agreements.load_conclusions(pool, height)],
    }


async def load_voters(pool: Pool) -> list[dict[str, Any]]:
    """Load for every node that ever ran here whether it votes, its last vote, and its unsealed leaves."""
    tip = await blocks.load_tip(pool)
    if tip is None:
        raise errors.NotFound("the chain is not founded yet: too few nodes have registered")
    draining, waiting, last_votes = (
        await drains.list_draining(pool),
        await ledger.count_waiting_by_node(pool),
        await blocks.load_last_votes(pool),
    )
    names = sorted(waiting.keys() | {validator.node for validator in tip.rules.validators})
    return [
        {
            "node": name,
            "votes": (key := tip.rules.key_of(name)) is not None,
            "key": key.hex() if key else None,
            "draining": name in draining,
            "unsealed": waiting.get(name, 0),
            "last_vote": last_votes.get(name),
        }
        for name in names
    ]


def _result_to_dict(result: Conclusion) -> dict[str, object]:
    drifts = [measured.drift for measured in result.instances]
    return {
        "character": result.character,
        "instances": len(result.instances),
        "owners": result.owners,
        "median": {
            axis: None if value is None else value / UNIT
            for axis, value in zip(AXES, result.median.millionths, strict=True)
        },
        "drift": {"least": min(drifts, default=None), "most": max(drifts, default=None)},
        "outliers": [_instance_to_dict(measured) for measured in result.instances if measured.outlier],
        "disputed": [_instance_to_dict(measured) for measured in result.instances if measured.disputed],
    }


def _instance_to_dict(measured: MeasuredInstance) -> dict[str, object]:
    return {"instance": str(measured.instance), "node": measured.node, "drift": measured.drift}
