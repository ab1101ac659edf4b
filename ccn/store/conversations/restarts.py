"""Replies that were begun anew because their host died: on which node they ended, and how soon.

Separate from the turns because nothing is decided by it: it is told to whoever reads the words later.
"""

from __future__ import annotations

from dataclasses import dataclass

from ccn.core.ids import ConversationId, NodeId, TurnId
from ccn.store.connection.pool import Pool

LIMIT = 100


@dataclass(frozen=True, slots=True)
class ReplyRestart:
    """One such reply."""

    turn: TurnId
    seq: int
    """Its place in the conversation."""
    node: NodeId
    attempts: int
    after_s: float | None
    """From the last word of the host before to the next one; None once the stream is forgotten."""


async def list_of_conversation(pool: Pool, conversation: ConversationId) -> list[ReplyRestart]:
    """List the restarts of a conversation, the newest first."""
    return [
        ReplyRestart(row["id"], row["reply_seq"], row["leaf_node"], row["attempt"], row["after_s"])
        for row in await pool.rows(_RESTARTS, conversation, LIMIT)
    ]


_RESTARTS = """
    SELECT t.id, t.reply_seq, t.leaf_node, t.attempt,
           extract(epoch FROM e.anew - coalesce(e.before, t.accepted_at))::float8 AS after_s
    FROM turns t CROSS JOIN LATERAL (
        SELECT min(at) FILTER (WHERE host_epoch = t.host_epoch) AS anew,
               max(at) FILTER (WHERE host_epoch < t.host_epoch) AS before
        FROM turn_events WHERE turn_id = t.id) e
    WHERE t.conversation_id = $1 AND t.attempt > 1 AND t.status = 'committed'
    ORDER BY t.reply_seq DESC LIMIT $2
"""
