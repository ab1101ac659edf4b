"""The register of nodes: who may be one, with which key and life, and which certificates count no more.

Whoever has the credentials of the database may enrol: before the founding nothing else says who belongs to
a cluster. A node that an operator removed stays out, whatever it writes here, until it is added again.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from ccn import errors
from ccn.core.identity.registration import EnrolledNode, NodeRegister
from ccn.core.identity.revocation import Revocation
from ccn.core.ids import NodeId
from ccn.store.accounts import users
from ccn.store.connection.pool import Pool
from ccn.store.operators import requests


async def load_register(pool: Pool) -> NodeRegister:
    """Load the register as it is now."""
    rows = await pool.rows(_LOAD)
    if not rows:
        raise errors.StoreBroken("the row with the cluster's id is gone")
    nodes = {
        NodeId(row["node_id"]): EnrolledNode(row["key"], row["life"], row["removed"])
        for row in rows
        if row["node_id"] is not None
    }
    return NodeRegister(rows[0]["id"], nodes, frozenset(await list_revoked(pool)))


async def enrol_node(pool: Pool, node: NodeId, key: bytes) -> UUID:
    """Begin a life of a node, with the key that it signs with; every life before it is over."""
    life: UUID = await pool.value(_ENROL, node, key)
    return life


async def remove_node(pool: Pool, node: NodeId) -> None:
    """Take a node that does not vote out of the cluster. One that votes is removed by a block."""
    await pool.rows(_REMOVE, node)


async def revoke_certificates(  # noqa: PLR0917 - what a revocation says
    pool: Pool, node: NodeId | None, serial: str | None, at: datetime, reason: str, by: str
) -> None:
    """Let a certificate count no more, or all of a node that were made until then."""
    if not reason.strip() or len(reason) > requests.WHY_LIMIT:
        raise errors.InputInvalid(f"a revocation has a reason, of at most {requests.WHY_LIMIT} characters")
    await users.change_account(pool, by, _REVOKE, node, serial, at, reason)


async def list_revoked(pool: Pool) -> list[Revocation]:
    """Everything that was revoked, the oldest first."""
    return [Revocation(row["node_id"], row["serial"], row["at"]) for row in await pool.rows(_REVOKED)]


_LOAD = """
    SELECT c.id, n.node_id, n.key, n.life, n.removed_at IS NOT NULL AS removed
    FROM cluster_identity c LEFT JOIN nodes n ON true
"""
_ENROL = """
    INSERT INTO nodes (node_id, key) VALUES ($1, $2)
    ON CONFLICT (node_id) DO UPDATE
    SET key = EXCLUDED.key, life = EXCLUDED.life, enrolled_at = EXCLUDED.enrolled_at
    RETURNING life
"""
_REVOKE = "INSERT INTO revoked_certificates (node_id, serial, at, reason) VALUES ($1, $2, $3, $4)"
_REVOKED = "SELECT node_id, serial, at FROM revoked_certificates ORDER BY at, id"
_REMOVE = "UPDATE nodes SET removed_at = clock_timestamp() WHERE node_id = $1 AND removed_at IS NULL"
