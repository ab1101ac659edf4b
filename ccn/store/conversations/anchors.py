"""Anchors: what the prompts of a conversation hold fast, version by version, for whoever hosts it next.

Only numbers and places, never words, so a redaction finds nothing to take out here. Set under the host's
epoch; a trigger in `schema/` compares it once more inside the transaction.
"""

from __future__ import annotations

from dataclasses import dataclass

from ccn.core.ids import ConversationId
from ccn.core.prompts import anchor
from ccn.core.prompts.anchor import Anchor, MeasuredStates
from ccn.store.character import vectors
from ccn.store.connection.pool import Pool, Record
from ccn.store.writing.batch import Batch, Write


@dataclass(frozen=True, slots=True)
class KeepAnchor(Write[Anchor]):
    """The next version of a conversation's anchor, refused if another host set one first."""

    conversation: ConversationId
    anchor: Anchor
    epoch: int = 0

    def needs_head_of(self) -> ConversationId | None:
        """Its head carries the epoch."""
        return self.conversation

    def prepare(self, batch: Batch) -> Anchor:
        """Add one row. It needs no leaf, because everything that it names has one."""
        batch.require_head(self.conversation, self.epoch)
        kept = self.anchor
        where = (self.conversation, kept.version, kept.plate, kept.kept_from)
        batch.add_row(_KEEP, *where, kept.to_json(), self.epoch, batch.now)
        return kept


async def load_anchor(pool: Pool, conversation: ConversationId) -> Anchor | None:
    """Load the anchor that the next prompt is built on, or None before the first."""
    row = await pool.row(_LATEST, conversation)
    return None if row is None else _anchor_from_row(row)


async def anchor_and_state(
    pool: Pool, conversation: ConversationId
) -> tuple[Anchor | None, MeasuredStates]:
    """Load the anchor and the measured states, which decide together whether the anchor has to move."""
    row = await pool.row(_ANCHOR_AND_STATE, conversation)
    assert row is not None, "it has one row, whatever is there"
    measured = MeasuredStates(
        vectors.vector_from_stored(row["character"]), vectors.vector_from_stored(row["relational"])
    )
    return (None if row["version"] is None else _anchor_from_row(row)), measured


def _anchor_from_row(row: Record) -> Anchor:
    return anchor.anchor_from_json(row["plate_version"], row["kept_from"], row["version"], row["shown"])


_KEEP = """
    INSERT INTO prompt_anchors
        (conversation_id, version, plate_version, kept_from, shown, host_epoch, kept_at)
    SELECT * FROM unnest($1::uuid[], $2::int[], $3::int[], $4::bigint[], $5::jsonb[], $6::bigint[],
                         $7::timestamptz[])
"""
_LATEST = """
    SELECT version, plate_version, kept_from, shown FROM prompt_anchors
    WHERE conversation_id = $1 ORDER BY version DESC LIMIT 1
"""
_ANCHOR_AND_STATE = f"""
    SELECT a.version, a.plate_version, a.kept_from, a.shown,
           (SELECT vector FROM character_evolution
            WHERE conversation_id = $1 ORDER BY ts DESC, seq DESC LIMIT 1) AS character,
           (SELECT vector FROM relational_evolution
            WHERE conversation_id = $1 ORDER BY ts DESC, seq DESC LIMIT 1) AS relational
    FROM (VALUES (1)) AS always LEFT JOIN ({_LATEST}) AS a ON true
"""  # noqa: S608 - constants joined
