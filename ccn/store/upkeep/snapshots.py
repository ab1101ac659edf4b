"""Time travel: the complete state of a conversation at a moment, and snapshots of it in the ledger.

All parts of a state are kept as versions or in order, so the state can be read for any moment. A snapshot
is the same state, stored at the time in canonical bytes whose hash is sealed in the record.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime

from ccn import errors
from ccn.core import turn
from ccn.core.axes import Vector
from ccn.core.ids import ConversationId, NodeId, SnapshotId, TurnId
from ccn.core.ledger import commitment
from ccn.core.ledger.commitment import LeafKind
from ccn.store.character import vectors
from ccn.store.connection.pool import Pool
from ccn.store.writing.batch import Batch, Write, micros
from ccn.store.writing.writer import Writer


@dataclass(frozen=True, slots=True)
class HostState:
    """The node that hosted a conversation at a moment."""

    node: NodeId
    epoch: int
    status: str


@dataclass(frozen=True, slots=True)
class ConversationState:
    """The state of a conversation at a moment. Its messages are the history up to `head_seq`."""

    conversation: ConversationId
    at: datetime
    version: int
    open: bool
    plate_version: int | None
    head_seq: int
    character: Vector | None
    relational: Vector | None
    host: HostState | None
    unfinished: tuple[tuple[TurnId, turn.TurnStatus], ...]
    height: int | None
    """The newest block that was sealed by then."""


@dataclass(frozen=True, slots=True)
class ConversationSnapshot:
    """A state as a snapshot stores it."""

    id: SnapshotId
    conversation: ConversationId
    taken_at: datetime
    head_seq: int
    state: bytes


@dataclass(frozen=True, slots=True)
class _TakeSnapshot(Write[ConversationSnapshot]):
    id: SnapshotId
    seen: ConversationState

    def prepare(self, batch: Batch) -> ConversationSnapshot:
        seen, state = self.seen, state_to_bytes(self.seen)
        digest = hashlib.sha256(state).digest()
        leaf = batch.add_leaf(
            LeafKind.SNAPSHOT,
            {
                "at": micros(seen.at),
                "conversation": str(seen.conversation),
                "hash": digest.hex(),
                "head": seen.head_seq,
                "snapshot": str(self.id),
            },
        )
        where = (batch.node, leaf.number)
        batch.add_row(_TAKE, self.id, seen.conversation, seen.at, seen.head_seq, state, digest, *where)
        return ConversationSnapshot(self.id, seen.conversation, seen.at, seen.head_seq, state)


@dataclass(frozen=True, slots=True)
class _AwaitEarlier(Write[None]):
    """Writes nothing. Its answer comes when all that was submitted before it is durable."""

    def prepare(self, batch: Batch) -> None:
        pass


async def take_snapshot(
    pool: Pool, writer: Writer, snapshot: SnapshotId, conversation: ConversationId, now: datetime
) -> ConversationSnapshot:
    """Write down the state at `now`, which is not in the future, as anybody will find it later.

    It waits for writes of this node that are under way, because they may have an earlier time.
    """
    await writer.submit(_AwaitEarlier())
    return await writer.submit(_TakeSnapshot(snapshot, await load_state_at(pool, conversation, now)))


async def load_state_at(pool: Pool, conversation: ConversationId, moment: datetime) -> ConversationState:
    """Load the state at a moment. Raise NotFound before the conversation began."""
    row = await pool.row(_STATE, conversation, moment)
    if row is None:
        raise errors.NotFound("there was no such conversation at that time")
    return ConversationState(
        conversation,
        moment,
        row["version"],
        row["status"] == "open",
        row["plate_version"],
        row["head_seq"],
        vectors.vector_from_stored(row["character"]),
        vectors.vector_from_stored(row["relational"]),
        HostState(row["host"], row["epoch"], row["life"]) if row["host"] is not None else None,
        tuple((TurnId(t), turn.TurnStatus(s)) for t, s in zip(row["turns"], row["standings"], strict=True)),
        row["height"],
    )


async def list_due(pool: Pool, before: datetime, *, limit: int = 100) -> list[ConversationId]:
    """List conversations that went on since their last snapshot, if that is older than `before`."""
    return [row["id"] for row in await pool.rows(_DUE, before, limit)]


def state_to_bytes(state: ConversationState) -> bytes:
    """Write the bytes that a snapshot stores: integers and strings, no content."""
    return commitment.encode_canonical(
        {
            "at": micros(state.at),
            "character": state.character.millionths if state.character else None,
            "conversation": str(state.conversation),
            "epoch": state.host.epoch if state.host else None,
            "head": state.head_seq,
            "height": state.height,
            "host": state.host.node if state.host else None,
            "instance": state.host.status if state.host else None,
            "plate": state.plate_version,
            "relational": state.relational.millionths if state.relational else None,
            "status": "open" if state.open else "closed",
            "turns": [f"{turn_id} {status}" for turn_id, status in state.unfinished],
            "version": state.version,
        }
    )


_TAKE = """
    INSERT INTO snapshots (id, conversation_id, taken_at, head_seq, state, hash, leaf_node, leaf_number)
    SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[], $4::bigint[], $5::bytea[], $6::bytea[],
                         $7::text[], $8::bigint[])
"""
_STATE = """
    SELECT v.version, v.status, v.plate_version, ccn_seq_at($1, $2) AS head_seq,
           c.vector AS character, r.vector AS relational, i.host, i.epoch, i.status AS life,
           t.turns, t.standings, b.height
    FROM (
        SELECT version, status, plate_version FROM conversation_versions
        WHERE conversation_id = $1 AND changed_at <= $2 ORDER BY version DESC LIMIT 1
    ) v
    LEFT JOIN LATERAL (
        SELECT vector FROM character_evolution
        WHERE conversation_id = $1 AND ts <= $2 ORDER BY ts DESC, seq DESC LIMIT 1
    ) c ON true
    LEFT JOIN LATERAL (
        SELECT vector FROM relational_evolution
        WHERE conversation_id = $1 AND ts <= $2 ORDER BY ts DESC, seq DESC LIMIT 1
    ) r ON true
    LEFT JOIN LATERAL (
        SELECT l.host, l.epoch, l.status
        FROM instance_registry g JOIN instance_lives l ON l.instance_id = g.id
        WHERE g.conversation_id = $1 AND l.at <= $2 ORDER BY l.epoch DESC, l.version DESC LIMIT 1
    ) i ON true
    CROSS JOIN LATERAL (
        SELECT coalesce(array_agg(id ORDER BY user_seq), '{}') AS turns,
               coalesce(array_agg(CASE WHEN started_at <= $2 THEN 'running' ELSE 'accepted' END
                                  ORDER BY user_seq), '{}') AS standings
        FROM turns WHERE conversation_id = $1 AND accepted_at <= $2 AND (ended_at IS NULL OR ended_at > $2)
    ) t
    LEFT JOIN LATERAL (
        SELECT height FROM verification_chain WHERE sealed_at <= $2 ORDER BY sealed_at DESC LIMIT 1
    ) b ON true
"""
_DUE = """
    SELECT c.id FROM conversations c LEFT JOIN LATERAL (
        SELECT taken_at, head_seq FROM snapshots WHERE conversation_id = c.id ORDER BY taken_at DESC LIMIT 1
    ) s ON true
    WHERE c.head_seq > coalesce(s.head_seq, 0) AND coalesce(s.taken_at, '-infinity') < $1
    ORDER BY c.head_at DESC LIMIT $2
"""
