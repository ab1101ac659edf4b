"""What the prompt of a turn was built on: its place, its plate, its anchor, and the model that was asked.

Separate from `anchors`, which knows what counts now: a prompt that was sent is read long after it, when its
conversation may have another anchor, another host and another plate.
"""

from __future__ import annotations

from dataclasses import dataclass

from ccn.core.ids import CharacterId, ConversationId, TurnId
from ccn.core.prompts import anchor
from ccn.core.prompts.anchor import Anchor
from ccn.store.connection.pool import Pool


@dataclass(frozen=True, slots=True)
class PromptBasis:
    """What one prompt was built on."""

    turn: TurnId
    conversation: ConversationId
    seq: int
    character: CharacterId
    model: str
    anchor: Anchor


async def find_basis(
    pool: Pool, conversation: ConversationId, turn: TurnId | None = None
) -> PromptBasis | None:
    """Find what the prompt of this turn, or of the last begun one, was built on; None if there is none."""
    row = await pool.row(_GROUND, conversation, turn)
    if row is None:
        return None
    kept = anchor.anchor_from_json(row["plate_version"], row["kept_from"], row["version"], row["shown"])
    return PromptBasis(row["id"], conversation, row["user_seq"], row["character_id"], row["model"], kept)


# An anchor that moved for a later turn was kept after this one had ended, and shows its state at a later
# message. Clocks of nodes differ, epochs and places do not.
_GROUND = """
    SELECT t.id, t.user_seq, c.character_id, i.model, a.version, a.plate_version, a.kept_from, a.shown
    FROM turns t JOIN conversations c ON c.id = t.conversation_id
        CROSS JOIN LATERAL (
            SELECT model FROM instance_registry
            WHERE conversation_id = t.conversation_id AND spawned_at <= coalesce(t.ended_at, 'infinity')
            ORDER BY spawned_at DESC LIMIT 1
        ) AS i
        CROSS JOIN LATERAL (
            SELECT version, plate_version, kept_from, shown FROM prompt_anchors
            WHERE conversation_id = t.conversation_id AND host_epoch <= t.host_epoch
              AND kept_at <= coalesce(t.ended_at, 'infinity')
              AND (shown -> 'states' -> -1 ->> 0)::bigint <= t.user_seq
            ORDER BY version DESC LIMIT 1
        ) AS a
    WHERE t.conversation_id = $1 AND t.id = coalesce($2::uuid, t.id) AND t.started_at IS NOT NULL
    ORDER BY t.user_seq DESC LIMIT 1
"""
