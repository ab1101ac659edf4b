"""A conversation at one moment: who is alive in it, what waits for a reply, how it measured last.

A module of its own because it reads across four topics at once. It is asked for often, and four statements
would be four round trips.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ccn import errors
from ccn.core.ids import ConversationId
from ccn.store.character import measures
from ccn.store.character.measures import ConversationMeasure, measure_from_row
from ccn.store.connection.pool import Pool, Record
from ccn.store.conversations import conversations, instances, turns
from ccn.store.conversations.conversations import StoredConversation, conversation_from_row
from ccn.store.conversations.instances import Instance, instance_from_row
from ccn.store.conversations.turns import Turn, turn_from_row


@dataclass(frozen=True, slots=True)
class ConversationSummary:
    """All of it at one moment."""

    conversation: StoredConversation
    instance: Instance | None
    unfinished: tuple[Turn, ...]
    measure: ConversationMeasure | None


async def load_summary(pool: Pool, conversation: ConversationId) -> ConversationSummary:
    """Load it as it is now, or raise NotFound."""
    rows = await pool.rows(_SUMMARY, conversation)
    if not rows:
        raise errors.NotFound("there is no such conversation")
    first = rows[0]  # what is not about a turn stands in each row, and in this one at least
    return ConversationSummary(
        conversation_from_row(_part(first, "c")),
        None if first["i.id"] is None else instance_from_row(_part(first, "i")),
        tuple(turn_from_row(_part(row, "t")) for row in rows if row["t.id"] is not None),
        None if first["m.conversation_id"] is None else measure_from_row(_part(first, "m")),
    )


def _part(row: Record, table: str) -> dict[str, Any]:
    """Pick the columns of one table, under the names that they have there."""
    prefix = f"{table}."
    return {name.removeprefix(prefix): value for name, value in row.items() if name.startswith(prefix)}


def _select(table: str, columns: str) -> str:
    """Spell the columns of one table so that they keep apart from those of the others."""
    return ", ".join(f'{table}.{name} AS "{table}.{name}"' for name in map(str.strip, columns.split(",")))


_SUMMARY = f"""
    SELECT {_select("c", conversations.COLUMNS)},
           {_select("i", instances.COLUMNS)},
           {_select("t", turns.COLUMNS)},
           {_select("m", measures.COLUMNS)}
    FROM conversations c
        LEFT JOIN instance_registry i ON i.conversation_id = c.id AND i.ended_at IS NULL
        LEFT JOIN turns t ON t.conversation_id = c.id AND t.status IN ('accepted', 'running')
        LEFT JOIN LATERAL (
            SELECT {measures.COLUMNS} FROM consciousness_metrics
            WHERE conversation_id = c.id ORDER BY ts DESC, seq DESC LIMIT 1
        ) m ON true
    WHERE c.id = $1 ORDER BY t.user_seq
"""  # noqa: S608 - constants joined
