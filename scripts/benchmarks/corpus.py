"""A corpus as a cluster of some years would have it, made in minutes: same rows, same sizes, other words.

Words are drawn by Zipf's law (frequency is the inverse of rank) from a vocabulary made here,
in six languages whose commonest words are the real little ones. Names occur in every language. Fifty
conversations at a time go on side by side, and one of 10 000 messages through all of the time.
Rows are loaded past the triggers, which would check each of them; the checks have their own benchmark.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
import numpy as np

from ccn import settings
from ccn.core import ids

NODE = "loader"
_SPEAKER = f"account:{UUID(int=1)}"
"""Both sides were recorded by somebody's own loop, so that no message needs a turn."""
START = datetime(2025, 1, 1, tzinfo=UTC)
STEP = timedelta(seconds=20)
LONG = 10_000
"""Messages of the long conversation."""
WORDS, SHORT, SIDE_BY_SIDE, OWNERS = 50_000, 100, 50, 500
_LANGUAGES = {"english": 58, "german": 12, "french": 10, "spanish": 10, "russian": 6, "simple": 4}
_LITTLE_WORDS = {
    "english": "the of and to in a is that it was for on are as with be this have you not",
    "german": "der die und in den von zu das mit sich des auf für ist im dem nicht ein eine als",
    "french": "de la le et les des en un du une que est pour qui dans par plus pas au sur",
    "spanish": "de la que el en y a los se del las un por con no una su para es al",
    "russian": "и в не на что он с как это по но из у за от я мы то же бы",
    "simple": "の に は を が で と も た て",
}
_SYLLABLES = {
    "english": "ba con der el fin gra hol in jor ket lan mo ning or pel qua rin sto tra un ver wil yon zed",
    "german": "ab bran chen dorf ein falk gru heit in kel lich mung nach ober pfen rau schen tig um vor",
    "french": "au beau cha deux eur fra gne hou ille jou lier mon neau oi pre quin reau sou tion ure vel",
    "spanish": "al bar cien dor es fue gan hoj illo jar lla mien nos oro par que rio sal tor uno ver zon",
    "russian": "ба вер гор дом ень жар зим ист кол лес мор ное ость пре ров сте тик ука фор хол чен шин",
    "simple": "東京天気今日本語学校電車時間新聞音楽料理映画旅行写真手紙友達家族仕事会社銀行病院図書館",
}


@dataclass(frozen=True, slots=True)
class Corpus:
    """What was loaded, as a benchmark has to know it to ask for something that is there."""

    rows: int
    long: UUID
    conversations: tuple[UUID, ...]
    owners: tuple[UUID, ...]
    words: dict[str, list[str]]
    """Per language, the commonest word first."""
    took_s: float

    @property
    def long_length(self) -> int:
        """Messages of the long conversation."""
        return _long_length(self.rows)

    def during(self, chosen: random.Random) -> tuple[UUID, datetime]:
        """A short conversation, and a moment while it went on."""
        index = chosen.randrange(len(self.conversations))
        before = (index // SIDE_BY_SIDE + chosen.random()) * SIDE_BY_SIDE * SHORT
        return self.conversations[index], START + STEP * before * self.rows / (self.rows - self.long_length)


async def load(database: settings.DatabaseSettings, rows: int, seed: int = 1) -> Corpus:
    """Fill a migrated, empty database."""
    since = time.perf_counter()
    chosen = random.Random(seed)
    long = _long_length(rows)
    conversations = [_id(n, chosen) for n in range(1 + -(-(rows - long) // SHORT))]
    owners = [_id(n, chosen) for n in range(OWNERS)]
    words = {each: _vocabulary(each, chosen) for each in _LANGUAGES}
    connection = await asyncpg.connect(database.url.get_secret_value())
    try:
        await connection.execute("SET session_replication_role = replica")
        await connection.execute(_BEFORE)
        await _people(connection, conversations, owners)
        await _messages(connection, _said(rows, long, conversations, words, seed))
        await connection.execute(_BETWEEN)
        await _documents(database, rows)
        await connection.execute(_AFTER, timeout=1800)
    finally:
        await connection.close()
    return Corpus(
        rows, conversations[0], tuple(conversations[1:]), tuple(owners), words, time.perf_counter() - since
    )


def _long_length(rows: int) -> int:
    return min(LONG, rows // 2)


def _id(number: int, chosen: random.Random) -> UUID:
    at_ms = int((START + STEP * SHORT * number).timestamp() * 1000)
    return ids.make_uuid7(at_ms, chosen.randbytes(10))


def _vocabulary(spoken: str, chosen: random.Random) -> list[str]:
    """Little words first, then made ones that grow longer the rarer they are; every tenth is a name."""
    syllables = _SYLLABLES[spoken].split() if spoken != "simple" else list(_SYLLABLES[spoken])
    names = random.Random(0)
    words = dict.fromkeys(_LITTLE_WORDS[spoken].split())
    while len(words) < WORDS:
        longest = 2 if len(words) < WORDS // 500 else 4
        if len(words) % 10 == 0 and spoken != "simple":
            words["".join(names.choices(_SYLLABLES["english"].split(), k=3))] = None
        words["".join(chosen.choices(syllables, k=chosen.randint(2, longest)))] = None
    return list(words)


def _said(
    rows: int, long: int, conversations: list[UUID], words: dict[str, list[str]], seed: int
) -> Iterator[tuple[object, ...]]:
    """One row after the other, oldest first."""
    draw = np.random.default_rng(seed)
    spoken = draw.choice(list(_LANGUAGES), len(conversations), p=np.array(list(_LANGUAGES.values())) / 100)
    stride, salt = rows // long, secrets.token_bytes(32)
    seqs = [0] * len(conversations)
    others = 0
    for first in range(0, rows, 10_000):
        lengths = draw.integers(8, 60, 10_000)
        ranks = np.exp(draw.random(int(lengths.sum())) * np.log(WORDS)).astype(int) - 1
        ends = lengths.cumsum()
        for nth in range(min(10_000, rows - first)):
            number = first + nth
            if number % stride == 0 and seqs[0] < long:
                here = 0
            else:
                group, within = divmod(others, SHORT * SIDE_BY_SIDE)
                here = min(1 + group * SIDE_BY_SIDE + within % SIDE_BY_SIDE, len(conversations) - 1)
                others += 1
            seqs[here] += 1
            tongue = str(spoken[here])
            said = ranks[ends[nth] - lengths[nth] : ends[nth]]
            text = ("" if tongue == "simple" else " ").join([words[tongue][rank] for rank in said])
            role = "user" if seqs[here] % 2 else "assistant"
            yield (
                conversations[here],
                seqs[here],
                role,
                text,
                salt,
                tongue,
                START + STEP * number,
                NODE,
                number + 1,
                _SPEAKER,
            )


async def _people(
    connection: asyncpg.Connection[asyncpg.Record], conversations: list[UUID], owners: list[UUID]
) -> None:
    await connection.execute("INSERT INTO characters VALUES ('ada', 'Ada')")
    users = [(owner, str(owner), "user") for owner in owners]
    await connection.copy_records_to_table("users", records=users, columns=["id", "name", "tier"])
    begun = [
        (each, "ada", owners[n % len(owners)], START + STEP * SHORT * max(0, n - SIDE_BY_SIDE))
        for n, each in enumerate(conversations)
    ]
    await connection.executemany(_BEGIN, begun)


async def _messages(
    connection: asyncpg.Connection[asyncpg.Record], said: Iterator[tuple[object, ...]]
) -> None:
    columns = [
        "conversation_id",
        "seq",
        "role",
        "content",
        "salt",
        "language",
        "created_at",
        "leaf_node",
        "leaf_number",
        "speaker",
    ]
    await connection.copy_records_to_table("messages", records=said, columns=columns, timeout=1800)


async def _documents(database: settings.DatabaseSettings, rows: int) -> None:
    """As `search.index` would have made them, by two connections in turns."""
    firsts = iter(range(0, rows, 5_000))

    async def work() -> None:
        connection = await asyncpg.connect(database.url.get_secret_value())
        try:
            for first in firsts:
                await connection.execute(_DOCUMENTS, NODE, first, first + 5_000, timeout=600)
        finally:
            await connection.close()

    async with asyncio.TaskGroup() as both:
        both.create_task(work())
        both.create_task(work())


_BEFORE = """
    DROP INDEX message_documents_words;
"""
_BEGIN = """
    INSERT INTO conversations (id, character_id, owner_id, created_at, changed_at)
    VALUES ($1, $2, $3, $4, $4)
"""
_BETWEEN = f"""
    INSERT INTO leaf_sources SELECT '{NODE}', count(*) FROM messages;
    INSERT INTO leaves (node_id, number, kind, body)
    SELECT leaf_node, leaf_number, 'message', convert_to(
        format('{{"at":%s,"content":"%s","conversation":"%s","epoch":0,"kind":"message","node":"{NODE}",'
               '"number":%s,"role":"%s","seq":%s,"turn":null,"v":1}}', extract(epoch FROM created_at) * 1e6,
               encode(sha256(convert_to(content, 'UTF8')), 'hex'), conversation_id, leaf_number, role, seq),
        'UTF8')
    FROM messages ORDER BY leaf_number;
    UPDATE conversations c SET head_seq = m.seq, head_at = m.at
    FROM (SELECT conversation_id, max(seq) AS seq, max(created_at) AS at FROM messages GROUP BY 1) m
    WHERE c.id = m.conversation_id;
    INSERT INTO conversation_versions
    SELECT id, version, changed_at, plate_version, status FROM conversations;
    INSERT INTO character_evolution (conversation_id, ts, seq, vector, scorer, leaf_node, leaf_number)
    SELECT conversation_id, created_at, seq,
           (SELECT array_agg((((hashint8(leaf_number * 16 + axis) & 1048575) % 1000001) / 1000000.0)::real)
            FROM generate_series(1, 16) AS axis),
           'loader', leaf_node, leaf_number
    FROM messages ORDER BY leaf_number;
    INSERT INTO relational_evolution (conversation_id, ts, seq, vector)
    SELECT conversation_id, created_at, seq, ARRAY[.1, .2, .3, .4, .5, .6, .7]::real[]
    FROM messages WHERE seq % 10 = 0 ORDER BY leaf_number;
    INSERT INTO document_progress SELECT node_id, head FROM leaf_sources;
    INSERT INTO document_languages SELECT DISTINCT language FROM messages;
"""
_DOCUMENTS = """
    INSERT INTO message_documents (conversation_id, seq, language, document)
    SELECT conversation_id, seq, language, ccn_document(language, content)
    FROM messages WHERE leaf_node = $1 AND leaf_number > $2 AND leaf_number <= $3 ORDER BY leaf_number
"""
_AFTER = """
    SET maintenance_work_mem = '512MB';
    CREATE INDEX message_documents_words ON message_documents USING gin (document);
    ANALYZE;
    CHECKPOINT;
"""
