"""Nodes that an operator drains: they begin nothing new, do not lead, and hand over what they host.

The flag is a row, so it outlives restarts and everybody sees it. A draining node goes on voting: its leaves
have to be sealed before it can go.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ccn import errors
from ccn.core.ids import NodeId
from ccn.store.connection.pool import DatabaseReads, Pool


@dataclass(frozen=True, slots=True)
class NodeLoad:
    """What still ties a node to its cluster."""

    draining: bool
    leads: bool
    instances: int
    unsealed: int

    @property
    def empty(self) -> bool:
        """Return whether nothing is lost when the node goes."""
        return not (self.leads or self.instances or self.unsealed)


async def list_draining(pool: DatabaseReads) -> frozenset[NodeId]:
    """List the nodes that an operator drains, or that are drained."""
    return frozenset(NodeId(row["node_id"]) for row in await pool.rows("SELECT node_id FROM node_drains"))


async def begin_drain(pool: Pool, node: NodeId, by: str, validators: Iterable[NodeId]) -> None:
    """Drain a node; refused if no validator would be left to lead. Again, it changes nothing."""
    async with pool.transaction() as connection:
        await connection.execute("LOCK TABLE node_drains IN SHARE ROW EXCLUSIVE MODE")
        gone = {row["node_id"] for row in await connection.fetch("SELECT node_id FROM node_drains")} | {
            node
        }
        voting = set(validators)
        if node in voting and voting <= gone:
            raise errors.Conflict(f"{node} is the last validator that does not drain: nobody would lead")
        await connection.execute(_BEGIN, node, by)


async def end_drain(pool: Pool, node: NodeId) -> None:
    """Let a node take part again."""
    await pool.rows("DELETE FROM node_drains WHERE node_id = $1", node)


async def end_own_drain(pool: Pool, node: NodeId) -> bool:
    """Let a node take part again that was drained in its own name; return whether it was."""
    return bool(await pool.rows("DELETE FROM node_drains WHERE node_id = $1 AND by = $1 RETURNING 1", node))


async def load_of_node(pool: Pool, node: NodeId) -> NodeLoad:
    """Load what still ties a node to its cluster. Raise NotFound if it never ran here."""
    row = await pool.row(_LOAD, node)
    if row is None:
        raise errors.NotFound(f"no node {node} ever ran here")
    return NodeLoad(row["draining"], row["leads"], row["instances"], row["unsealed"])


_BEGIN = "INSERT INTO node_drains (node_id, by) VALUES ($1, $2) ON CONFLICT DO NOTHING"
_LOAD = """
    SELECT EXISTS (SELECT FROM node_drains d WHERE d.node_id = s.node_id) AS draining,
           EXISTS (SELECT FROM cluster_term WHERE leader = s.node_id) AS leads,
           (SELECT count(*) FROM instance_registry i
            WHERE i.host = s.node_id AND i.ended_at IS NULL) AS instances,
           s.head - coalesce((SELECT max(last) FROM block_leaves b
                              WHERE b.node_id = s.node_id), 0) AS unsealed
    FROM leaf_sources s WHERE s.node_id = $1
"""
