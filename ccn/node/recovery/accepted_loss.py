"""Accepting a loss: no database has a leaf any more that this node acknowledged, and an operator says so.

Separate from the database check, which never accepts a loss by itself. A signed block cannot be accepted as
lost, because a node that signs another block in its place would contradict itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import uuid4

from ccn import errors
from ccn.core.ids import NodeId
from ccn.core.rounds.signer import NOTHING, NumberedHash
from ccn.node.recovery import timeline_file
from ccn.node.signing.memory import SigningRight
from ccn.store.connection import pool, timelines
from ccn.store.connection.fence import Fence
from ccn.store.operators import requests

if TYPE_CHECKING:
    from ccn import settings
    from ccn.store.connection.pool import Pool


@dataclass(frozen=True, slots=True)
class AcceptedLoss:
    """The newest acknowledged leaf, which is lost, and the last leaf of this node that is left."""

    lost: NumberedHash
    kept: NumberedHash


async def accept_loss(
    database: settings.DatabaseSettings, node: NodeId, right: SigningRight, by: str, reason: str
) -> AcceptedLoss:
    """Let the node go on after the leaves that the database shows.

    Before that, a request is added that seals who accepted the loss, and why. The same accepts another
    database, or an older timeline, in the place of the newest that this node has seen.
    """
    state = right.state
    if state is None or not state.acknowledged.number:
        raise errors.InputInvalid(f"{node} has no note of an acknowledged leaf")
    fence = Fence(node)
    fence.signed = lambda: state.last_cosigned
    folder = right.file.parent
    seen = timeline_file.open_memory(folder)
    async with pool.open(database.model_copy(update={"pool_size": 1}), "loss", fence) as connections:
        shown, kept = await _load_leaves(connections, node, state.acknowledged.number)
        row = await connections.row(f"SELECT {timelines.SHOWN}")
        if shown == state.acknowledged.hash and (row is None or not seen.describe_refusal(row)):
            raise errors.InputInvalid(
                f"nothing is lost: the database shows leaf {state.acknowledged.number}"
            )
        if shown == state.acknowledged.hash:
            kept = state.acknowledged
        body = {
            "node": node,
            "acknowledged": state.acknowledged.number,
            "leaf": state.acknowledged.hash.hex(),
            "kept": kept.number,
            "reason": reason,
        }
        await requests.add_request(connections, uuid4(), requests.LOSS, by, body)
    if kept != state.acknowledged:
        right.accept_loss(kept)
    if fence.timelines.newest is not None:
        timeline_file.write_timeline(folder, fence.timelines.newest)
    return AcceptedLoss(state.acknowledged, kept)


async def _load_leaves(connections: Pool, node: NodeId, number: int) -> tuple[bytes | None, NumberedHash]:
    row = await connections.row(_LEAVES, node, number)
    if row is None:
        return None, NOTHING
    return row["acknowledged"], NumberedHash(row["head"], row["newest"]) if row["head"] else NOTHING


_LEAVES = """
    SELECT s.head, (SELECT hash FROM leaves WHERE node_id = s.node_id AND number = s.head) AS newest,
           (SELECT hash FROM leaves WHERE node_id = s.node_id AND number = $2) AS acknowledged
    FROM leaf_sources s WHERE s.node_id = $1
"""
