"""Finding again what was said: full text search in every language the corpus has, ranked and highlighted.

Documents are made just after a message was acknowledged (`index`, called again and again by every node).
A search reads what has no document yet directly, so that nobody waits to find what they just said.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from ccn import errors
from ccn.core import language
from ccn.core.ids import ConversationId, NodeId, UserId
from ccn.core.message import Role
from ccn.store.pool import Connection, Pool

HITS_LIMIT = 100
QUERY_LIMIT = 1_000
_BATCH = 500
_MARKS = re.compile("[\x02\x03]")


@dataclass(frozen=True, slots=True)
class Hit:
    """A message that was found. `excerpt` alternates plain text and matches, beginning with plain text."""

    conversation: ConversationId
    seq: int
    role: Role
    at: datetime
    rank: float
    excerpt: tuple[str, ...]


async def search(
    pool: Pool,
    query: str,
    *,
    owner: UserId | None = None,
    conversation: ConversationId | None = None,
    languages: Sequence[str] | None = None,
    limit: int = 20,
) -> list[Hit]:
    """The best hits first. The query may hold "phrases", `or`, and -words that must not occur."""
    if not 0 < limit <= HITS_LIMIT:
        raise errors.InputInvalid(f"a search gives 1 to {HITS_LIMIT} hits, not {limit}")
    if len(query) > QUERY_LIMIT or "\x00" in query:
        raise errors.InputInvalid(f"a query is text of at most {QUERY_LIMIT} characters")
    if unknown := set(languages or ()) - set(language.LANGUAGES):
        raise errors.InputInvalid(f"not a language search knows: {', '.join(sorted(unknown))}")
    asked = list(languages or ()) or await _spoken(pool, query)
    rows = await pool.rows(_SEARCH, query, asked, owner, conversation, limit)
    return [
        Hit(
            row["conversation_id"],
            row["seq"],
            Role(row["role"]),
            row["created_at"],
            row["rank"],
            tuple(_MARKS.split(row["excerpt"].replace("\x1f", ""))),
        )
        for row in rows
    ]


async def index(pool: Pool) -> int:
    """Make documents of messages that have none yet, a batch a node; how many it made."""
    return sum([await _index(pool, row["node_id"]) for row in await pool.rows(_BEHIND)])


async def _index(pool: Pool, node: NodeId) -> int:
    async with pool.transaction() as connection:
        progress = await connection.fetchrow(_PROGRESS, node)
        if progress is None:
            return 0  # another node is at it
        messages = await connection.fetch(_NEXT, node, progress["upto"], progress["head"], _BATCH)
        made = await _document(connection, [dict(row) for row in messages])
        upto = messages[-1]["leaf_number"] if len(messages) == _BATCH else progress["head"]
        await connection.execute("UPDATE document_progress SET upto = $2 WHERE node_id = $1", node, upto)
        return made


async def _document(connection: Connection, messages: list[dict[str, object]]) -> int:
    spoken = [m["language"] or language.detect(str(m["content"])) for m in messages]
    places = [m["conversation_id"] for m in messages], [m["seq"] for m in messages]
    await connection.execute(_DOCUMENT, *places, spoken)
    await connection.execute(_SPEAK, sorted({str(each) for each in spoken}))
    return len(messages)


async def _spoken(pool: Pool, query: str) -> list[str]:
    known = [row["language"] for row in await pool.rows("SELECT language FROM document_languages")]
    return known or [language.SIMPLE, language.detect(query)]


_BEHIND = """
    SELECT s.node_id FROM leaf_sources s LEFT JOIN document_progress p USING (node_id)
    WHERE s.head > coalesce(p.upto, 0)
"""
# The head is read before the messages: whatever it counts is visible to the statement after it.
_PROGRESS = """
    WITH born AS (
        INSERT INTO document_progress VALUES ($1, 0) ON CONFLICT DO NOTHING RETURNING node_id, upto
    ), held AS (SELECT node_id, upto FROM document_progress WHERE node_id = $1 FOR UPDATE SKIP LOCKED)
    SELECT upto, head FROM (SELECT * FROM born UNION ALL SELECT * FROM held) AS p
        JOIN leaf_sources USING (node_id)
"""
_NEXT = """
    SELECT conversation_id, seq, leaf_number, language, content FROM messages
    WHERE leaf_node = $1 AND leaf_number > $2 AND leaf_number <= $3 AND content IS NOT NULL
    ORDER BY leaf_number LIMIT $4
"""
_DOCUMENT = """
    INSERT INTO message_documents (conversation_id, seq, language, document)
    SELECT m.conversation_id, m.seq, new.language, ccn_document(new.language, m.content)
    FROM unnest($1::uuid[], $2::bigint[], $3::text[]) AS new (conversation_id, seq, language)
        JOIN messages m USING (conversation_id, seq)
    WHERE m.content IS NOT NULL
    ON CONFLICT DO NOTHING
"""
_SPEAK = "INSERT INTO document_languages SELECT unnest($1::text[]) ON CONFLICT DO NOTHING"
_SEARCH = """
    WITH asked AS (
        SELECT language, websearch_to_tsquery(language::regconfig, ccn_words($1)) AS query
        FROM unnest($2::text[]) AS language
    ), indexed AS (
        SELECT d.conversation_id, d.seq, a.language, a.query, ts_rank_cd(d.document, a.query, 1) AS rank
        FROM asked a JOIN message_documents d ON d.document @@ a.query AND d.language = a.language
        WHERE ($4::uuid IS NULL OR d.conversation_id = $4)
          AND ($3::uuid IS NULL OR EXISTS (
              SELECT FROM conversations c WHERE c.id = d.conversation_id AND c.owner_id = $3))
        ORDER BY rank DESC, d.conversation_id DESC, d.seq DESC LIMIT $5
    ), fresh AS (
        SELECT m.* FROM leaf_sources s LEFT JOIN document_progress p USING (node_id) CROSS JOIN LATERAL (
            SELECT conversation_id, seq, language, content FROM messages
            WHERE leaf_node = s.node_id AND leaf_number > coalesce(p.upto, 0) AND content IS NOT NULL
            ORDER BY leaf_number DESC LIMIT 1000
        ) m WHERE s.head > coalesce(p.upto, 0)
          AND ($4::uuid IS NULL OR m.conversation_id = $4)
          AND ($3::uuid IS NULL OR EXISTS (
              SELECT FROM conversations c WHERE c.id = m.conversation_id AND c.owner_id = $3))
    ), read AS (
        SELECT DISTINCT ON (f.conversation_id, f.seq) f.conversation_id, f.seq, a.language, a.query,
               ts_rank_cd(ccn_document(a.language, f.content), a.query, 1) AS rank
        FROM fresh f JOIN asked a ON a.language = coalesce(f.language, a.language)
        WHERE ccn_document(a.language, f.content) @@ a.query
        ORDER BY f.conversation_id, f.seq, rank DESC
    ), best AS (
        SELECT * FROM (SELECT * FROM indexed UNION ALL SELECT * FROM read) AS either
        ORDER BY rank DESC, conversation_id DESC, seq DESC LIMIT $5
    )
    SELECT b.conversation_id, b.seq, m.role, m.created_at, b.rank,
           ts_headline(b.language::regconfig,
                       translate(left(ccn_words(m.content), 200000), E'\\x02\\x03', '  '), b.query,
                       E'StartSel=\\x02, StopSel=\\x03, MaxFragments=2, MaxWords=30, MinWords=12')
               AS excerpt
    FROM best b JOIN messages m USING (conversation_id, seq)
    WHERE m.content IS NOT NULL
    ORDER BY b.rank DESC, b.conversation_id DESC, b.seq DESC
"""
