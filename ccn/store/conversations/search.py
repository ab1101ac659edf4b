"""Full text search in messages, in every language that the corpus has, ranked and highlighted.

Every node calls `index_messages` again and again, which makes a document of each message soon after it was
acknowledged. A search reads messages without a document directly, so people find at once what they said.

A search of a common word does not read all matches. It ranks the newest ones, at least `ENOUGH` of them. It
looks at the newest documents first, and estimates from these how far back it has to go.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from ccn import errors
from ccn.core import language
from ccn.core.ids import ConversationId, NodeId, UserId
from ccn.core.message import Role
from ccn.store.connection.pool import Connection, Pool, Record

HITS_LIMIT = 100
QUERY_LIMIT = 1_000
ENOUGH = 500
_FIRST_LOOK = 10_000
_FEW = 100
"""Up to so many conversations are searched in full, because that costs less than guessing."""
_BATCH = 500
_LESS = "ask for rarer words, in one conversation, or for fewer hits"
_LEXEMES = re.compile(r"'((?:[^']|'')+)'")
_MARKS = re.compile("[\x02\x03]")


@dataclass(frozen=True, slots=True)
class SearchHit:
    """A message that was found. `excerpt` alternates plain text and matches, beginning with plain text."""

    conversation: ConversationId
    seq: int
    role: Role
    at: datetime
    rank: float
    excerpt: tuple[str, ...]


class SearchHits(list[SearchHit]):
    """Hits, the best first. Unless `complete`, there may be older matches that were not ranked."""

    def __init__(self, hits: Sequence[SearchHit] = (), *, complete: bool = True) -> None:
        super().__init__(hits)
        self.complete = complete


@dataclass(frozen=True, slots=True)
class _LanguageQueries:
    """A query in the words of each language, and the conversations it is about (None: all).

    `either` matches a document with any of the words.
    """

    queries: dict[str, str]
    either: dict[str, str]
    conversations: list[ConversationId] | None
    newest: int
    limit: int

    @property
    def any(self) -> str:
        """Match in any of the languages, so that the index is asked once for all of them."""
        return " | ".join(f"({each})" for each in dict.fromkeys(self.queries.values()))

    @property
    def sides(self) -> tuple[list[str], list[str]]:
        """Return languages and queries, side by side."""
        return list(self.queries), list(self.queries.values())

    @property
    def parts(self) -> tuple[list[str], list[str], list[str]]:
        """Return languages, queries for a part of a message, and how its words begin, side by side."""
        either = list(self.either.values())
        return list(self.either), either, [_word_beginnings(each) for each in either]


async def find_messages(
    pool: Pool,
    query: str,
    *,
    owner: UserId | None = None,
    conversation: ConversationId | None = None,
    languages: Sequence[str] | None = None,
    limit: int = 20,
    within_s: float = 30.0,
) -> SearchHits:
    """Find the best hits, only among the newest matches if there are very many.

    Raise TookTooLong after `within_s`. The query may hold "phrases", `or`, and -words that must not occur.
    """
    if not 0 < limit <= HITS_LIMIT:
        raise errors.InputInvalid(f"a search gives 1 to {HITS_LIMIT} hits, not {limit}")
    if len(query) > QUERY_LIMIT or "\x00" in query:
        raise errors.InputInvalid(f"a query is text of at most {QUERY_LIMIT} characters")
    if unknown := set(languages or ()) - set(language.LANGUAGES):
        raise errors.InputInvalid(f"not a language search knows: {', '.join(sorted(unknown))}")
    try:
        async with asyncio.timeout(within_s), pool.transaction() as connection:
            await connection.execute(_PLAN_EACH)
            # The server has a limit too, in case it does not hear that this one has passed.
            await connection.execute(f"SET LOCAL statement_timeout = {int(within_s * 1000) + 500}")
            scope = await connection.fetchrow(_SCOPE, owner, conversation)
            assert scope is not None
            return await _find_hits(connection, query, scope, languages or (), limit)
    except TimeoutError:
        raise errors.TookTooLong(f"the search took longer than {within_s:g} s; {_LESS}") from None


async def _find_hits(
    connection: Connection, query: str, scope: Record, languages: Sequence[str], limit: int
) -> SearchHits:
    # Messages without a document are read first: one that gets it meanwhile is found twice, not never.
    fresh = await _read_undocumented(connection, scope["conversations"])
    spoken = {*scope["languages"], *fresh[2]} or {language.SIMPLE, language.detect_language(query)}
    queries = await connection.fetch(_QUERIES, query, sorted(set(languages) or spoken))
    if not queries:
        return SearchHits()
    asked = _LanguageQueries(
        {row["language"]: row["query"] for row in queries},
        {row["language"]: row["either"] for row in queries},
        scope["conversations"],
        scope["newest"],
        limit,
    )
    read = await connection.fetch(_READ, *fresh, *asked.sides, limit)
    indexed, complete = await _rank_newest(connection, asked)
    hits = await connection.fetch(_SHOW, *_best_hits([*read, *indexed], limit), *asked.parts)
    return SearchHits([_hit_from_row(row) for row in hits], complete=complete)


async def _rank_newest(connection: Connection, asked: _LanguageQueries) -> tuple[list[Record], bool]:
    """Rank the newest matches, and tell whether these are all matches."""
    few = asked.conversations is not None and len(asked.conversations) <= _FEW
    look = asked.newest if few else _FIRST_LOOK
    while True:
        since = max(0, asked.newest - look)
        where = (asked.any, since, asked.conversations, *asked.sides)
        ranked = await connection.fetch(_RANK, *where, asked.limit)
        matches = ranked[0]["matches"] if ranked else 0
        if matches >= ENOUGH or not since:
            return ranked, not since
        look *= 2 * ENOUGH // max(1, matches)


async def _read_undocumented(
    connection: Connection, conversations: list[ConversationId] | None
) -> tuple[list[ConversationId], list[int], list[str]]:
    """Find messages without a document, and the language of the document that each will have."""
    rows = await connection.fetch(_FRESH, conversations)
    spoken = [row["language"] or language.detect_language(row["content"]) for row in rows]
    return [row["conversation_id"] for row in rows], [row["seq"] for row in rows], spoken


def _best_hits(rows: Sequence[Record], limit: int) -> list[list[object]]:
    """Return the best of both lists, each hit once, as columns."""
    once = {(row["conversation_id"], row["seq"]): row for row in rows}.values()
    ranked = sorted(once, key=lambda row: (row["rank"], row["conversation_id"], row["seq"]), reverse=True)
    columns = ("conversation_id", "seq", "language", "query", "rank")
    return [[row[column] for row in ranked[:limit]] for column in columns]


def _word_beginnings(either: str) -> str:
    """Make a regular expression for the beginnings of a query's words, because words vary at their ends."""
    words = [each.replace("''", "'") for each in _LEXEMES.findall(either)]
    return rf"\m({'|'.join(re.escape(word[: max(3, len(word) - 2)]) for word in words)})"


def _hit_from_row(row: Record) -> SearchHit:
    return SearchHit(
        row["conversation_id"],
        row["seq"],
        Role(row["role"]),
        row["created_at"],
        row["rank"],
        tuple(_MARKS.split(row["excerpt"].replace("\x1f", ""))),
    )


async def index_messages(pool: Pool) -> int:
    """Make documents of messages that have none yet, a batch for each node. Return how many it made."""
    return sum([await _index_node(pool, row["node_id"]) for row in await pool.rows(_BEHIND)])


async def _index_node(pool: Pool, node: NodeId) -> int:
    async with pool.transaction() as connection:
        progress = await connection.fetchrow(_PROGRESS, node)
        if progress is None:
            return 0  # another node makes them
        messages = await connection.fetch(_NEXT, node, progress["upto"], progress["head"], _BATCH)
        made = await _make_documents(connection, [dict(row) for row in messages])
        upto = messages[-1]["leaf_number"] if len(messages) == _BATCH else progress["head"]
        await connection.execute("UPDATE document_progress SET upto = $2 WHERE node_id = $1", node, upto)
        return made


async def _make_documents(connection: Connection, messages: list[dict[str, object]]) -> int:
    spoken = [m["language"] or language.detect_language(str(m["content"])) for m in messages]
    places = [m["conversation_id"] for m in messages], [m["seq"] for m in messages]
    await connection.execute(_DOCUMENT, *places, spoken)
    await connection.execute(_SPEAK, sorted({str(each) for each in spoken}))
    return len(messages)


_BEHIND = """
    SELECT s.node_id FROM leaf_sources s LEFT JOIN document_progress p USING (node_id)
    WHERE s.head > coalesce(p.upto, 0)
"""
# The head is read before the messages, so the next statement sees every message that the head counts.
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
# A rare word and a common one need different plans, so no plan is kept from one search for the next.
_PLAN_EACH = "SET LOCAL plan_cache_mode = force_custom_plan; SET LOCAL work_mem = '32MB'"
_SCOPE = """
    SELECT ARRAY(SELECT language FROM document_languages) AS languages,
           coalesce((SELECT max(number) FROM message_documents), 0) AS newest,
           CASE WHEN coalesce($1::uuid, $2::uuid) IS NOT NULL THEN ARRAY(
               SELECT id FROM conversations
               WHERE ($1::uuid IS NULL OR owner_id = $1) AND ($2::uuid IS NULL OR id = $2)
           ) END AS conversations
"""
_FRESH = """
    SELECT m.conversation_id, m.seq, m.language, CASE WHEN m.language IS NULL THEN m.content END AS content
    FROM leaf_sources s LEFT JOIN document_progress p USING (node_id) CROSS JOIN LATERAL (
        SELECT conversation_id, seq, language, left(content, 2000) AS content FROM messages
        WHERE leaf_node = s.node_id AND leaf_number > coalesce(p.upto, 0) AND content IS NOT NULL
        ORDER BY leaf_number DESC LIMIT 1000
    ) m
    WHERE s.head > coalesce(p.upto, 0) AND ($1::uuid[] IS NULL OR m.conversation_id = ANY ($1))
"""
_QUERIES = """
    SELECT language, query::text, regexp_replace(querytree(query), ' (&|<[-0-9]+>) ', ' | ', 'g') AS either
    FROM (
        SELECT language, websearch_to_tsquery(language::regconfig, ccn_words($1)) AS query
        FROM unnest($2::text[]) AS language
    ) AS each WHERE numnode(query) > 0
"""
_READ = """
    SELECT f.conversation_id, f.seq, f.language, a.query,
           ts_rank_cd(d.document, a.query::tsquery, 1) AS rank
    FROM unnest($1::uuid[], $2::bigint[], $3::text[]) AS f (conversation_id, seq, language)
        JOIN unnest($4::text[], $5::text[]) AS a (language, query) USING (language)
        JOIN messages m USING (conversation_id, seq)
        CROSS JOIN LATERAL (SELECT ccn_document(f.language, m.content) AS document OFFSET 0) d
    WHERE d.document @@ a.query::tsquery
    ORDER BY rank DESC, f.conversation_id DESC, f.seq DESC LIMIT $6
"""
_RANK = """
    WITH matching AS MATERIALIZED (
        SELECT conversation_id, seq, language, document FROM message_documents
        WHERE document @@ $1::text::tsquery AND number > $2
          AND ($3::uuid[] IS NULL OR conversation_id = ANY ($3))
    ), asked AS MATERIALIZED (
        SELECT language, query, query::tsquery AS words
        FROM unnest($4::text[], $5::text[]) AS a (language, query)
    )
    SELECT m.conversation_id, m.seq, m.language, a.query, ts_rank_cd(m.document, a.words, 1) AS rank,
           count(*) OVER () AS matches
    FROM matching m JOIN asked a USING (language) WHERE m.document @@ a.words
    ORDER BY rank DESC, m.conversation_id DESC, m.seq DESC LIMIT $6
"""
# The time of a highlight grows faster than the number of matches. So only a short message is highlighted as
# a whole. Of a longer one, the part is taken that matches the query or one of its words: where such a word
# seems to begin, or else the first part.
_SHOW = """
    SELECT b.conversation_id, b.seq, m.role, m.created_at, b.rank,
           ts_headline(b.language::regconfig, part.words, part.query::tsquery,
                       E'StartSel=\\x02, StopSel=\\x03, MaxFragments=2, MaxWords=30, MinWords=12')
               AS excerpt
    FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::real[])
            WITH ORDINALITY AS b (conversation_id, seq, language, query, rank, place)
        JOIN unnest($6::text[], $7::text[], $8::text[]) AS e (language, either, beginnings) USING (language)
        JOIN messages m USING (conversation_id, seq)
        CROSS JOIN LATERAL (
            SELECT translate(left(ccn_words(left(m.content, 200000)), 200000), E'\\x02\\x03', '  ') AS words
            OFFSET 0
        ) whole
        CROSS JOIN LATERAL (
            SELECT whole.words, b.query WHERE length(whole.words) <= 10000
            UNION ALL (
                SELECT cut.words, CASE WHEN document @@ b.query::tsquery THEN b.query ELSE e.either END
                FROM (
                    SELECT greatest(1, regexp_instr(lower(whole.words), e.beginnings) - 500) AS start
                    UNION ALL SELECT generate_series(1, length(whole.words), 9000)
                ) place CROSS JOIN LATERAL (
                    SELECT regexp_replace(  -- half a word is another word
                        substr(whole.words, start, 10000),
                        CASE WHEN start = 1 THEN '^' ELSE '^[[:alnum:]]+' END, '') AS words
                    OFFSET 0
                ) cut CROSS JOIN LATERAL (
                    SELECT to_tsvector(b.language::regconfig, cut.words) AS document OFFSET 0
                ) parsed
                WHERE document @@ e.either::tsquery LIMIT 1
            )
            UNION ALL SELECT left(whole.words, 10000), b.query LIMIT 1
        ) part
    WHERE m.content IS NOT NULL
    ORDER BY b.place
"""
