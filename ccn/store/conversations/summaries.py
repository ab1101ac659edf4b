"""How a conversation stands: who is alive there, what waits for a reply, how it measured last.

A module of its own because it reads across three topics at once: it is asked often, and three statements
would be three round trips.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ccn import errors
from ccn.core import turn
from ccn.core.ids import ConversationId
from ccn.store.character.measures import ConversationMeasure
from ccn.store.connection.pool import Pool, Record
from ccn.store.conversations import instances
from ccn.store.conversations.conversations import StoredConversation
from ccn.store.conversations.instances import Instance
from ccn.store.conversations.turns import Turn

Cells = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class ConversationSummary:
    """All of it at one moment."""

    conversation: StoredConversation
    instance: Instance | None
    unfinished: tuple[Turn, ...]
    measure: ConversationMeasure | None


async def load_summary(pool: Pool, conversation: ConversationId) -> ConversationSummary:
    """As it is now, or NotFound."""
    rows = await pool.rows(_STANDING, conversation)
    if not rows:
        raise errors.NotFound("there is no such conversation")
    found, alive, _, measured = _split_row(rows[0])
    unfinished = [part for _, _, part, _ in map(_split_row, rows) if part[0] is not None]
    return ConversationSummary(
        _conversation_from_cells(found),
        None if alive[0] is None else _instance_from_cells(alive),
        tuple(map(_turn_from_cells, unfinished)),
        None if measured[0] is None else ConversationMeasure(*measured),
    )


def _split_row(row: Record) -> tuple[Cells, Cells, Cells, Cells]:
    cells = tuple(row)
    return cells[:10], cells[10:24], cells[24:34], cells[34:]


def _conversation_from_cells(cells: Cells) -> StoredConversation:
    return StoredConversation(*[*cells[:4], cells[4] == "open", *cells[5:]])


def _instance_from_cells(cells: Cells) -> Instance:
    return Instance(*[*cells[:5], instances.InstanceStatus(cells[5]), *cells[6:]])


def _turn_from_cells(cells: Cells) -> Turn:
    return Turn(*[*cells[:2], turn.TurnStatus(cells[2]), *cells[3:]])


# In the order of the fields of Conversation, Instance, Turn and Measure.
_STANDING = """
    SELECT c.id, c.character_id, c.owner_id, c.title, c.status, c.created_at, c.head_seq, c.host_epoch,
           c.plate_version, c.version,
           i.id, i.conversation_id, i.character_id, i.host, i.epoch, i.status, i.model, i.plate_version,
           i.spawned_at, i.heartbeat_at, i.drift, i.validation, i.version, i.owner_id,
           t.id, t.conversation_id, t.status, t.user_seq, t.reply_seq, t.attempt, t.host_epoch,
           t.event_head, t.accepted_at, t.error,
           m.conversation_id, m.ts, m.seq, m.phi, m.ccc, m.trust, m.emergence, m.drift
    FROM conversations c
        LEFT JOIN instance_registry i ON i.conversation_id = c.id AND i.ended_at IS NULL
        LEFT JOIN turns t ON t.conversation_id = c.id AND t.status IN ('accepted', 'running')
        LEFT JOIN LATERAL (
            SELECT conversation_id, ts, seq, phi, ccc, trust, emergence, drift FROM consciousness_metrics
            WHERE conversation_id = c.id ORDER BY ts DESC, seq DESC LIMIT 1
        ) m ON true
    WHERE c.id = $1 ORDER BY t.user_seq
"""
