"""Histories that the database keeps and only tests read whole: lives, events of turns, snapshots."""

from __future__ import annotations

from dataclasses import dataclass

from ccn.core.ids import ConversationId, InstanceId, NodeId, TurnId
from ccn.store.connection.pool import Pool
from ccn.store.conversations.instances import InstanceStatus
from ccn.store.conversations.turns import TurnEvent
from ccn.store.upkeep.snapshots import ConversationSnapshot


@dataclass(frozen=True, slots=True)
class InstanceLife:
    """One thing that happened to an instance."""

    version: int
    host: NodeId
    epoch: int
    status: InstanceStatus
    reason: str


async def list_lives(pool: Pool, instance: InstanceId) -> list[InstanceLife]:
    """List everything that happened to an instance, in order."""
    columns = "version, host, epoch, status, reason"
    sql = f"SELECT {columns} FROM instance_lives WHERE instance_id = $1 ORDER BY version"
    return [
        InstanceLife(
            row["version"], row["host"], row["epoch"], InstanceStatus(row["status"]), row["reason"]
        )
        for row in await pool.rows(sql, instance)
    ]


async def list_events(pool: Pool, turn: TurnId) -> list[TurnEvent]:
    """List what is kept of the stream of a turn, in order."""
    rows = await pool.rows(
        "SELECT number, kind, data FROM turn_events WHERE turn_id = $1 ORDER BY number", turn
    )
    return [TurnEvent(row["number"], row["kind"], row["data"]) for row in rows]


async def load_latest_snapshot(pool: Pool, conversation: ConversationId) -> ConversationSnapshot | None:
    """Load the newest snapshot of a conversation."""
    row = await pool.row(
        "SELECT * FROM snapshots WHERE conversation_id = $1 ORDER BY taken_at DESC LIMIT 1", conversation
    )
    if row is None:
        return None
    return ConversationSnapshot(row["id"], conversation, row["taken_at"], row["head_seq"], row["state"])
