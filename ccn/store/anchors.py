"""Anchors: what the prompts of a conversation hold fast, version by version, for whoever hosts it next.

Only numbers and places, never words, so a redaction finds nothing to take out here. Set under the host's
epoch; a trigger in `schema/` compares it once more inside the transaction.
"""

from __future__ import annotations

from dataclasses import dataclass

from ccn.core import anchor
from ccn.core.anchor import Anchor
from ccn.core.ids import ConversationId
from ccn.store.batch import Batch, Write
from ccn.store.pool import Pool


@dataclass(frozen=True, slots=True)
class Keep(Write[Anchor]):
    """The next version of a conversation's anchor, refused if another host set one first."""

    conversation: ConversationId
    anchor: Anchor
    epoch: int = 0

    def concerns(self) -> ConversationId | None:
        """Its head carries the epoch."""
        return self.conversation

    def prepare(self, batch: Batch) -> Anchor:
        """One row, without a leaf: everything it leads to has one."""
        batch.head(self.conversation, self.epoch)
        kept = self.anchor
        where = (self.conversation, kept.version, kept.plate, kept.kept_from)
        batch.add(_KEEP, *where, kept.shown(), self.epoch, batch.now)
        return kept


async def latest(pool: Pool, conversation: ConversationId) -> Anchor | None:
    """The anchor that the next prompt is built on; None before the first."""
    row = await pool.row(_LATEST, conversation)
    if row is None:
        return None
    return anchor.read(row["plate_version"], row["kept_from"], row["version"], row["shown"])


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
