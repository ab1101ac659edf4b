"""Character and relational states over time: append, latest, at a moment, window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from ccn.core import axes
from ccn.core.axes import Vector
from ccn.core.chain import owner_pseudonym, roster
from ccn.core.chain.block import Tip
from ccn.core.chain.median import MISSING
from ccn.core.chain.roster import Roster
from ccn.core.chain.rules import Weighing
from ccn.core.ids import CharacterId, ConversationId, InstanceId, NodeId, UserId
from ccn.core.ledger.commitment import LeafKind
from ccn.store.connection.pool import Pool, Record
from ccn.store.writing.batch import Batch, Write, micros

WINDOW_LIMIT = 10_000


@dataclass(frozen=True, slots=True)
class VectorState:
    """A vector and the moment and message it belongs to."""

    conversation: ConversationId
    at: datetime
    seq: int
    vector: Vector


@dataclass(frozen=True, slots=True)
class RecordScore(Write[VectorState]):
    """The character's state after a message, with its leaf."""

    conversation: ConversationId
    seq: int
    vector: Vector
    scorer: str
    instance: InstanceId | None = None
    scores: Vector | None = None
    """What the message alone scored, where `vector` is the state it led to."""

    def prepare(self, batch: Batch) -> VectorState:
        """Scored once per message and moment."""
        leaf = batch.add_leaf(
            LeafKind.VECTOR,
            {
                "at": micros(batch.now),
                "conversation": str(self.conversation),
                "instance": str(self.instance) if self.instance else None,
                "scorer": self.scorer,
                "seq": self.seq,
                "vector": self.vector.millionths,
            },
        )
        scores = None if self.scores is None else _vector_to_literal(self.scores)
        what = (self.instance, _vector_to_literal(self.vector), self.scorer, scores)
        batch.add_row(_SCORE, self.conversation, batch.now, self.seq, *what, batch.node, leaf.number)
        return VectorState(self.conversation, batch.now, self.seq, self.vector)


@dataclass(frozen=True, slots=True)
class RecordRelation(Write[VectorState]):
    """The relational state of a conversation after a message."""

    conversation: ConversationId
    seq: int
    vector: Vector

    def prepare(self, batch: Batch) -> VectorState:
        """Measured, not decided on, so without a leaf."""
        batch.add_row(_RELATE, self.conversation, batch.now, self.seq, _vector_to_literal(self.vector))
        return VectorState(self.conversation, batch.now, self.seq, self.vector)


async def load_latest(pool: Pool, conversation: ConversationId) -> VectorState | None:
    """The character's state now."""
    return _maybe_state_from_row(await pool.row(_LATEST, conversation))


async def load_window(pool: Pool, conversation: ConversationId, *, last: int) -> list[VectorState]:
    """The last so many states, oldest first."""
    rows = await pool.rows(_WINDOW, conversation, min(last, WINDOW_LIMIT))
    return [_state_from_row(row) for row in reversed(rows)]


async def load_scored(
    pool: Pool, conversation: ConversationId, scorer: str, *, last: int
) -> list[VectorState]:
    """What the last messages scored one by one, oldest first, as far as this scorer judged them."""
    return [_state_from_row(row) for row in reversed(await pool.rows(_SCORED, conversation, scorer, last))]


async def load_scored_by(
    pool: Pool, character: CharacterId, scorer: str, model: str, *, last: int
) -> list[tuple[UserId, VectorState]]:
    """What the newest messages of a character's healthy instances scored, and with whom they spoke.

    One of each person first, then a second of each, and so on, as far as there are: the newest first.
    """
    rows = await pool.rows(_SCORED_BY, character, scorer, model, last)
    return [(row["owner_id"] or owner_pseudonym.NOBODY, _state_from_row(row)) for row in rows]


async def load_windows(
    pool: Pool, character: CharacterId, scorer: str, *, instances: int, least: int, last: int
) -> dict[ConversationId, list[Vector]]:
    """What the last messages of a character's instances scored, oldest first.

    Of the instances that have at least so many messages, it is the ones that spoke most recently, one of
    each person first.
    """
    vectors_by_conversation: dict[ConversationId, list[Vector]] = {}
    for row in await pool.rows(_WINDOWS, character, scorer, instances, least, last):
        vectors_by_conversation.setdefault(row["conversation_id"], []).append(
            _vector_from_floats(row["vector"])
        )
    return vectors_by_conversation


async def load_newest_by(
    pool: Pool, conversation: ConversationId, scorer: str, *, spoken: bool = False
) -> VectorState | None:
    """The newest state that this scorer led to; `spoken` if what was recorded is not to count."""
    return _maybe_state_from_row(await pool.row(_NEWEST_BY, conversation, scorer, spoken))


async def count_replies(pool: Pool, conversation: ConversationId, *, most: int) -> int:
    """How many scored replies of instances there are, counted up to so many of the last messages."""
    return int(await pool.value(_REPLIES, conversation, most))


async def load_relational(
    pool: Pool, conversation: ConversationId, moment: datetime | None = None
) -> VectorState | None:
    """The relational state now or at a moment."""
    return _maybe_state_from_row(await pool.row(_RELATIONAL, conversation, moment))


async def load_rosters(pool: Pool, host: NodeId, tip: Tip) -> list[Roster]:
    """The running instances of one node, as its report lists them: each with the state that its own last
    reply led to, and whose it is in the round on top of a tip. Who has not replied yet says nothing of the
    character.
    """
    return [
        _roster_from_packed(row["character_id"], row["packed"], tip)
        for row in await pool.rows(_ROSTERS, host)
    ]


def vector_from_stored(stored: Sequence[float | None] | None) -> Vector | None:
    """A vector as the database has it, back on the grid of millionths."""
    return None if stored is None else _vector_from_floats(stored)


def _roster_from_packed(character_id: CharacterId, packed: bytes, tip: Tip) -> Roster:
    rows = np.frombuffer(packed, _SENT)
    scores = rows["scores"]["score"].astype(np.float64)
    millionths = np.where(scores < 0, MISSING, np.rint(scores * axes.UNIT))
    owners = None
    if tip.rules.parameters.weighing is Weighing.OWNERS:
        numbers = owner_pseudonym.make_pseudonyms(tip.hash, character_id, rows["owner"].tolist())
        owners = np.frombuffer(numbers, ">u8").astype(np.uint64)
    return roster.pack_columns(character_id, rows["id"], rows["epoch"], millionths, owners)


def _vector_to_literal(vector: Vector) -> str:
    # An array of arrays would be flattened on the way; PostgreSQL's own spelling of one array is not.
    return "{" + ",".join("NULL" if v is None else str(v / axes.UNIT) for v in vector.millionths) + "}"


def _maybe_state_from_row(row: Record | None) -> VectorState | None:
    return None if row is None else _state_from_row(row)


def _state_from_row(row: Record) -> VectorState:
    return VectorState(row["conversation_id"], row["ts"], row["seq"], _vector_from_floats(row["vector"]))


def _vector_from_floats(stored: Sequence[float | None]) -> Vector:
    # real holds a millionth between 0 and 1 to within a sixteenth of one, so rounding restores it exactly
    return Vector(tuple(None if v is None else round(v * axes.UNIT) for v in stored))


_SCORE = """
    INSERT INTO character_evolution
        (conversation_id, ts, seq, instance_id, vector, scorer, scores, leaf_node, leaf_number)
    SELECT conversation_id, ts, seq, instance_id, vector::real[], scorer, scores::real[], leaf_node,
           leaf_number
    FROM unnest($1::uuid[], $2::timestamptz[], $3::bigint[], $4::uuid[], $5::text[], $6::text[], $7::text[],
                $8::text[], $9::bigint[])
        AS new (conversation_id, ts, seq, instance_id, vector, scorer, scores, leaf_node, leaf_number)
"""
_RELATE = """
    INSERT INTO relational_evolution (conversation_id, ts, seq, vector)
    SELECT conversation_id, ts, seq, vector::real[]
    FROM unnest($1::uuid[], $2::timestamptz[], $3::bigint[], $4::text[])
        AS new (conversation_id, ts, seq, vector)
"""
_LATEST = """
    SELECT conversation_id, ts, seq, vector FROM character_evolution
    WHERE conversation_id = $1 ORDER BY ts DESC, seq DESC LIMIT 1
"""
# The newest state that an instance led to in one person's latest conversations: what a new one begins with.
# What follows the last reply of an instance was recorded; of that no more than a look is passed over.
OF_OWNER = """
    SELECT e.vector
    FROM (SELECT id FROM conversations WHERE character_id = $1 AND owner_id = $2 AND id IS DISTINCT FROM $3
          ORDER BY created_at DESC, id DESC LIMIT 20) AS c
        CROSS JOIN LATERAL (
            SELECT ts, vector
            FROM (SELECT ts, seq, vector, instance_id FROM character_evolution
                  WHERE conversation_id = c.id ORDER BY ts DESC, seq DESC LIMIT 100) AS young
            WHERE instance_id IS NOT NULL ORDER BY ts DESC, seq DESC LIMIT 1
        ) AS e
    ORDER BY e.ts DESC LIMIT 1
"""
_WINDOW = """
    SELECT conversation_id, ts, seq, vector FROM character_evolution
    WHERE conversation_id = $1 ORDER BY ts DESC, seq DESC LIMIT $2
"""
_NEWEST_BY = """
    SELECT conversation_id, ts, seq, vector FROM character_evolution
    WHERE conversation_id = $1 AND scorer = $2 AND (instance_id IS NOT NULL OR NOT $3)
    ORDER BY ts DESC, seq DESC LIMIT 1
"""
_REPLIES = """
    SELECT count(instance_id) FROM (
        SELECT instance_id FROM character_evolution
        WHERE conversation_id = $1 ORDER BY ts DESC, seq DESC LIMIT $2
    ) AS young
"""
_SCORED = """
    SELECT conversation_id, ts, seq, scores AS vector FROM character_evolution
    WHERE conversation_id = $1 AND scorer = $2 AND scores IS NOT NULL ORDER BY ts DESC, seq DESC LIMIT $3
"""
_WINDOWS = """
    SELECT i.conversation_id, s.vector
    FROM (
        SELECT r.conversation_id, n.spoke,
               row_number() OVER (PARTITION BY c.owner_id ORDER BY n.spoke DESC) AS of_owner
        FROM instance_registry r JOIN conversations c ON c.id = r.conversation_id CROSS JOIN LATERAL (
            SELECT max(ts) AS spoke, count(*) AS messages FROM (
                SELECT ts FROM character_evolution e
                WHERE e.conversation_id = r.conversation_id AND e.scorer = $2 AND e.scores IS NOT NULL
                      AND e.instance_id IS NOT NULL
                ORDER BY ts DESC, seq DESC LIMIT $4
            ) AS newest
        ) AS n
        WHERE r.character_id = $1 AND r.ended_at IS NULL AND r.status IN ('running', 'restoring')
              AND n.messages >= $4
        ORDER BY of_owner, n.spoke DESC LIMIT $3
    ) AS i
    CROSS JOIN LATERAL (
        SELECT ts, seq, scores AS vector FROM character_evolution e
        WHERE e.conversation_id = i.conversation_id AND e.scorer = $2 AND e.scores IS NOT NULL
              AND e.instance_id IS NOT NULL
        ORDER BY ts DESC, seq DESC LIMIT $5
    ) AS s
    ORDER BY i.conversation_id, s.ts, s.seq
"""
# Of each person the newest instances only: a baseline needs no more, and there may have been very many.
_SCORED_BY = """
    SELECT i.owner_id, i.conversation_id, s.ts, s.seq, s.scores AS vector
    FROM (
        SELECT r.id, r.conversation_id, c.owner_id,
               row_number() OVER (PARTITION BY c.owner_id ORDER BY r.spawned_at DESC, r.id) AS newest
        FROM instance_registry r JOIN conversations c ON c.id = r.conversation_id
        WHERE r.character_id = $1 AND r.model = $3
              AND r.status NOT IN ('restoring', 'quarantined', 'failed')
              AND NOT EXISTS (SELECT FROM restorations d WHERE d.instance_id = r.id AND d.step <> 'cleared')
    ) AS i
    CROSS JOIN LATERAL (
        SELECT ts, seq, scores FROM character_evolution e
        WHERE e.conversation_id = i.conversation_id AND e.instance_id = i.id AND e.scorer = $2
              AND e.scores IS NOT NULL
        ORDER BY ts DESC, seq DESC LIMIT $4
    ) AS s
    WHERE i.newest <= 200
    ORDER BY row_number() OVER (PARTITION BY i.owner_id ORDER BY s.ts DESC, s.seq DESC), s.ts DESC LIMIT $4
"""
_RELATIONAL = """
    SELECT conversation_id, ts, seq, vector FROM relational_evolution
    WHERE conversation_id = $1 AND ts <= coalesce($2::timestamptz, 'infinity')
    ORDER BY ts DESC, seq DESC LIMIT 1
"""
# The server joins the rows into one value a character, each in PostgreSQL's own binary form. The instance
# decides whose a state is; the time is only for not reading all of a long conversation, and clocks differ.
_ROSTERS = """
    SELECT i.character_id, string_agg(
        uuid_send(i.id) || int8send(i.epoch)
        || uuid_send(coalesce(c.owner_id, '00000000-0000-0000-0000-000000000000'))
        || array_send(array_replace(s.vector, NULL, -1)), ''
    ) AS packed
    FROM instance_registry i JOIN conversations c ON c.id = i.conversation_id CROSS JOIN LATERAL (
        SELECT vector FROM character_evolution
        WHERE conversation_id = i.conversation_id AND instance_id = i.id
              AND ts >= i.spawned_at - interval '5 minutes'
        ORDER BY ts DESC, seq DESC LIMIT 1
    ) s
    WHERE i.host = $1 AND i.ended_at IS NULL AND i.status IN ('running', 'restoring')
    GROUP BY i.character_id ORDER BY i.character_id COLLATE "C"
"""
_SCORE_SENT = np.dtype([("length", ">i4"), ("score", ">f4")])
_SENT = np.dtype(
    [
        ("id", "V16"),
        ("epoch", ">i8"),
        ("owner", "V16"),
        ("array", "V20"),
        ("scores", _SCORE_SENT, (len(axes.AXES),)),
    ]
)
