"""What is taken out again: content that somebody or its age asks to go, and streams nobody will replay.

The rows stay and so does the record: what goes is the content and the salt of its commitment. A leaf says
who took it out, when and why, so an auditor can tell a redaction from a loss.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from ccn import errors
from ccn.core.ids import ConversationId
from ccn.core.ledger.commitment import LeafKind
from ccn.store.connection.pool import Pool
from ccn.store.writing.batch import Batch, Write, micros
from ccn.store.writing.writer import Writer

BY_AGE = "retention"
_BATCH = 200


@dataclass(frozen=True, slots=True)
class RedactMessages(Write[int]):
    """Take the content of a range of messages out, with everything made from it; up to which message."""

    conversation: ConversationId
    first: int
    last: int
    by: str
    reason: str

    def needs_head_of(self) -> ConversationId | None:
        """Name the conversation, because a redaction ends at its head."""
        return self.conversation

    def reads_head_anew(self) -> bool:
        """Reach what another node wrote since this one last did."""
        return True

    def prepare(self, batch: Batch) -> int:
        """Add the leaf and the redaction, and delete the content, in one transaction."""
        head = batch.heads.get(self.conversation)
        if head is None:
            raise errors.NotFound("there is no such conversation")
        last = min(self.last, head.seq)
        if not 0 < self.first <= last:
            raise errors.InputInvalid(f"no messages lie from {self.first} to {self.last}")
        if not (self.by.strip() and self.reason.strip()):
            raise errors.InputInvalid("a redaction says by whom and why")
        leaf = batch.add_leaf(
            LeafKind.REDACTION,
            {
                "at": micros(batch.now),
                "by": self.by,
                "conversation": str(self.conversation),
                "first": self.first,
                "last": last,
                "reason": self.reason,
            },
        )
        place = (self.conversation, self.first, last)
        batch.add_row(_REDACTED, *place, self.by, self.reason, batch.now, batch.node, leaf.number)
        batch.add_row(_TAKE_OUT, *place)
        batch.add_row(_HIDE_KEYS, *place)
        batch.add_row(_FORGET_STREAMS_OF, *place)
        batch.add_row(_FORGET_TITLE, self.conversation, self.first)
        return last


@dataclass(frozen=True, slots=True)
class _ForgetSeries(Write[None]):
    series: str
    before: datetime

    def prepare(self, batch: Batch) -> None:
        batch.add_leaf(
            LeafKind.REDACTION,
            {"at": micros(batch.now), "before": micros(self.before), "by": BY_AGE, "series": self.series},
        )
        batch.add_row(_FORGET_SERIES, self.series, self.before)


async def redact_older(pool: Pool, writer: Writer, before: datetime) -> int:
    """Redact all content from before a moment; in how many conversations."""
    done = 0
    while ranges := await pool.rows(_OLD, before, _BATCH):
        for row in ranges:
            reason = f"older than {before:%Y-%m-%d}"
            await writer.submit(
                RedactMessages(row["conversation_id"], row["first"], row["last"], BY_AGE, reason)
            )
        done += len(ranges)
    return done


async def find_recollections(
    pool: Pool, conversation: ConversationId, first: int, last: int
) -> list[ConversationId]:
    """Later conversations whose prompts held words of these messages, or the title that goes with them.

    Memories are of one person, so they are the same person's. What was said there may quote the words.
    """
    return [ConversationId(row["id"]) for row in await pool.rows(_RECOLLECTIONS, conversation, first, last)]


async def forget_streams(pool: Pool, before: datetime) -> int:
    """Drop the events of turns that ended before a moment: the reply itself is a message."""
    forgotten = 0
    while gone := int(await pool.value(_FORGET_STREAMS, before, 10_000)):
        forgotten += gone
    return forgotten


async def forget_series(pool: Pool, writer: Writer, before: datetime) -> None:
    """Drop vectors and metrics from before a moment, and say so in the record."""
    for series in [row["series"] for row in await pool.rows(_SERIES_WITH_OLD, before)]:
        await writer.submit(_ForgetSeries(series, before))


_RECOLLECTIONS = """
    SELECT c.id FROM conversations c
    WHERE c.owner_id = (SELECT owner_id FROM conversations WHERE id = $1) AND c.id <> $1 AND c.head_seq > 0
      AND EXISTS (
        SELECT FROM prompt_anchors a, jsonb_array_elements(a.shown -> 'memories') AS memory,
                    unnest(ARRAY[1, 2, (memory ->> 1)::bigint - 1, (memory ->> 1)::bigint]) AS quoted
        WHERE a.conversation_id = c.id AND memory ->> 0 = $1::text
          AND (quoted BETWEEN $2 AND $3 AND quoted <= (memory ->> 1)::bigint OR $2 = 1))
    ORDER BY c.created_at, c.id
"""
_REDACTED = """
    INSERT INTO redactions (conversation_id, first_seq, last_seq, by, reason, at, leaf_node, leaf_number)
    SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::timestamptz[],
                         $7::text[], $8::bigint[])
"""
_TAKE_OUT = """
    UPDATE messages m
    SET content = NULL, salt = NULL, idempotency_key = ccn_hidden_key(m.conversation_id, m.idempotency_key)
    FROM unnest($1::uuid[], $2::bigint[], $3::bigint[]) AS r (conversation_id, first, last)
    WHERE m.conversation_id = r.conversation_id AND m.seq BETWEEN r.first AND r.last
      AND m.content IS NOT NULL
"""
_HIDE_KEYS = """
    UPDATE turns t SET idempotency_key = ccn_hidden_key(t.conversation_id, t.idempotency_key)
    FROM unnest($1::uuid[], $2::bigint[], $3::bigint[]) AS r (conversation_id, first, last)
    WHERE t.conversation_id = r.conversation_id AND t.user_seq BETWEEN r.first AND r.last
      AND t.idempotency_key <> ccn_hidden_key(t.conversation_id, t.idempotency_key)
"""
_FORGET_STREAMS_OF = """
    DELETE FROM turn_events e
    USING turns t, unnest($1::uuid[], $2::bigint[], $3::bigint[]) AS r (conversation_id, first, last)
    WHERE e.turn_id = t.id AND t.conversation_id = r.conversation_id
      AND (t.reply_seq BETWEEN r.first AND r.last OR t.user_seq BETWEEN r.first AND r.last)
"""
_FORGET_TITLE = """
    UPDATE conversations c SET title = ''
    FROM unnest($1::uuid[], $2::bigint[]) AS r (conversation_id, first)
    WHERE c.id = r.conversation_id AND r.first = 1 AND c.title <> ''
"""
_FORGET_SERIES = """
    SELECT ccn_forget(r.series::regclass, 'ts', r.before)
    FROM unnest($1::text[], $2::timestamptz[]) AS r (series, before)
"""
_SERIES_WITH_OLD = """
    SELECT 'character_evolution' AS series WHERE EXISTS (SELECT FROM character_evolution WHERE ts < $1)
    UNION ALL SELECT 'relational_evolution' WHERE EXISTS (SELECT FROM relational_evolution WHERE ts < $1)
    UNION ALL SELECT 'consciousness_metrics' WHERE EXISTS (SELECT FROM consciousness_metrics WHERE ts < $1)
"""
_OLD = """
    SELECT conversation_id, min(seq) AS first, max(seq) AS last FROM messages
    WHERE created_at < $1 AND content IS NOT NULL GROUP BY conversation_id ORDER BY conversation_id LIMIT $2
"""
_FORGET_STREAMS = """
    WITH gone AS (
        DELETE FROM turn_events WHERE (turn_id, number) IN (
            SELECT e.turn_id, e.number FROM turns t JOIN turn_events e ON e.turn_id = t.id
            WHERE t.ended_at < $1 LIMIT $2)
        RETURNING 1
    ) SELECT count(*) FROM gone
"""
