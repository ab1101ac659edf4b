"""What an export reads: the tables of the record as streams, each in the order of the tree.

The order is that of the blocks, then of the nodes' names, then of the leaves' numbers. The database sorts,
so an export of a million leaves needs no more memory here than one of ten. A row has the names that its
leaf uses, so the two can be compared field by field.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

import orjson

from ccn import errors
from ccn.core.ledger import commitment
from ccn.core.ledger.commitment import LeafKind
from ccn.store.character import vectors
from ccn.store.connection.pool import Connection, Record
from ccn.store.writing.batch import micros

Fields = dict[str, object]
Key = TypeVar("Key", int, "tuple[int, str, int]")

_LONG_S = 3_600.0
"""An export sorts whole tables, for which the usual limit on a statement is too short."""


class RowStream(Generic[Key]):
    """A sorted cursor that is read along another one."""

    def __init__(self, rows: AsyncIterator[Record], key: Callable[[Record], Key]) -> None:
        self._rows = rows
        self._key: Callable[[Record], Key] = key
        self._next: Record | None = None
        self._begun = False

    async def rows_of(self, key: Key) -> list[Record]:
        """Return the rows of a key. Rows of lower keys are skipped."""
        if not self._begun:
            self._begun = True
            await self._advance()
        rows: list[Record] = []
        while self._next is not None and (at := self._key(self._next)) <= key:
            if at == key:
                rows.append(self._next)
            await self._advance()
        return rows

    async def _advance(self) -> None:
        self._next = await anext(self._rows, None)


@dataclass(frozen=True, slots=True)
class ExportTable:
    """A table whose rows have leaves: how it is read, and how a row is spelled."""

    name: str
    kind: LeafKind
    columns: str
    fields: Callable[[Record], Fields]
    shown: Callable[[Record], Fields] = lambda _: {}
    source: str = ""

    def stream_sealed(self, connection: Connection) -> RowStream[tuple[int, str, int]]:
        """Stream the rows whose leaves are sealed."""
        sql = _SEALED_ROWS.format(columns=self.columns, source=self.source or f"{self.name} r")
        return RowStream(open_cursor(connection, sql), place_of)

    def read_strays(self, connection: Connection) -> AsyncIterator[Record]:
        """Read the rows whose leaf does not exist."""
        return open_cursor(
            connection, _STRAYS.format(columns=self.columns, source=self.source or f"{self.name} r")
        )


def open_cursor(connection: Connection, sql: str, prefetch: int = 200) -> AsyncIterator[Record]:
    """Open a cursor in the transaction of the export."""
    return aiter(connection.cursor(sql, prefetch=prefetch, timeout=_LONG_S))


def height_of(row: Record) -> int:
    """Return the key of a row that belongs to a block."""
    at: int = row["height"]
    return at


def place_of(row: Record) -> tuple[int, str, int]:
    """Return the key of a row that belongs to a leaf."""
    return row["height"], row["leaf_node"], row["leaf_number"]


def to_micros(moment: datetime | None) -> int | None:
    """Return a moment in whole microseconds, as leaves have it."""
    return None if moment is None else micros(moment)


def to_text(value: object) -> str | None:
    """Write an id as leaves have it."""
    return None if value is None else str(value)


def document_to_json(value: object) -> object:
    """Write a JSON document with its keys in PostgreSQL's order: short ones first.

    A document that no node would have sealed, as with a number with a point, is shown as JSON in base64.
    """
    if _document_hash(value) is None or not isinstance(value, dict):
        return base64.b64encode(orjson.dumps(value)).decode()
    return _sort_keys(value)


def _sort_keys(value: object) -> object:
    if isinstance(value, dict):
        names = sorted(value, key=lambda name: (len(name.encode()), name.encode()))
        return {name: _sort_keys(value[name]) for name in names}
    return [_sort_keys(each) for each in value] if isinstance(value, list) else value


def _document_hash(value: object) -> str | None:
    """Hash a document as a leaf commits to it. Return None if no leaf can commit to it."""
    try:
        return commitment.hash_document(value).hex()
    except errors.InputInvalid:
        return None


def _message_to_fields(row: Record) -> Fields:
    return {
        "at": to_micros(row["created_at"]),
        "conversation": to_text(row["conversation_id"]),
        "epoch": row["host_epoch"],
        "role": row["role"],
        "seq": row["seq"],
        "speaker": row["speaker"],
        "turn": to_text(row["turn_id"]),
    }


def _content_to_fields(row: Record) -> Fields:
    fields: Mapping[str, object | None] = {
        "content": row["content"],
        "salt": None if row["salt"] is None else row["salt"].hex(),
    }
    return {name: value for name, value in fields.items() if value is not None}


def _turn_to_fields(row: Record) -> Fields:
    return {
        "at": to_micros(row["ended_at"]),
        "conversation": to_text(row["conversation_id"]),
        "epoch": row["host_epoch"],
        "error": row["error"],
        "reply": row["reply_seq"],
        "status": row["status"],
        "turn": to_text(row["id"]),
        "user": row["user_seq"],
    }


def _life_to_fields(row: Record) -> Fields:
    return {
        "at": to_micros(row["at"]),
        "conversation": to_text(row["conversation_id"]),
        "epoch": row["epoch"],
        "host": row["host"],
        "instance": to_text(row["instance_id"]),
        "model": row["model"],
        "plate": row["plate_version"],
        "reason": row["reason"],
        "status": row["status"],
        "version": row["version"],
    }


def _plate_to_fields(row: Record) -> Fields:
    return {
        "at": to_micros(row["imported_at"]),
        "by": row["imported_by"],
        "character": row["character_id"],
        "hash": row["hash"].hex(),
        "version": row["version"],
    }


def _snapshot_to_fields(row: Record) -> Fields:
    return {
        "at": to_micros(row["taken_at"]),
        "conversation": to_text(row["conversation_id"]),
        "hash": row["hash"].hex(),
        "head": row["head_seq"],
        "snapshot": to_text(row["id"]),
    }


def _vector_to_fields(row: Record) -> Fields:
    scores = vectors.vector_from_stored(row["vector"])
    return {
        "at": to_micros(row["ts"]),
        "conversation": to_text(row["conversation_id"]),
        "instance": to_text(row["instance_id"]),
        "scorer": row["scorer"],
        "seq": row["seq"],
        "vector": list(scores.millionths) if scores else None,
    }


def _redaction_to_fields(row: Record) -> Fields:
    return {
        "at": to_micros(row["at"]),
        "by": row["by"],
        "conversation": to_text(row["conversation_id"]),
        "first": row["first_seq"],
        "last": row["last_seq"],
        "reason": row["reason"],
    }


def _request_to_fields(row: Record) -> Fields:
    return {
        "asked": to_micros(row["asked_at"]),
        "at": to_micros(row["answered_at"]),
        "body": _document_hash(row["body"]),
        "by": row["asked_by"],
        "command": row["command"],
        "error": row["error"],
        "for": row["node"],
        "outcome": _document_hash(row["outcome"]),
        "request": to_text(row["id"]),
    }


TABLES = (
    ExportTable(
        "messages",
        LeafKind.MESSAGE,
        "r.conversation_id, r.seq, r.role, r.content, r.salt, r.speaker, r.created_at, r.turn_id,"
        " r.host_epoch",
        _message_to_fields,
        _content_to_fields,
    ),
    ExportTable(
        "turns",
        LeafKind.TURN,
        "r.id, r.conversation_id, r.status, r.user_seq, r.reply_seq, r.host_epoch, r.ended_at, r.error",
        _turn_to_fields,
    ),
    ExportTable(
        "instance_lives",
        LeafKind.INSTANCE,
        "r.instance_id, r.version, r.at, r.host, r.epoch, r.status, r.reason, g.conversation_id, g.model,"
        " g.plate_version",
        _life_to_fields,
        source="instance_lives r LEFT JOIN instance_registry g ON g.id = r.instance_id",
    ),
    ExportTable(
        "plates",
        LeafKind.PLATE,
        "r.character_id, r.version, r.hash, r.content, r.imported_by, r.imported_at",
        _plate_to_fields,
        lambda row: {"content": row["content"]},
    ),
    ExportTable(
        "snapshots",
        LeafKind.SNAPSHOT,
        "r.id, r.conversation_id, r.taken_at, r.head_seq, r.state, r.hash",
        _snapshot_to_fields,
        lambda row: {"state": row["state"]},
    ),
    ExportTable(
        "character_evolution",
        LeafKind.VECTOR,
        "r.conversation_id, r.ts, r.seq, r.instance_id, r.vector, r.scorer",
        _vector_to_fields,
    ),
    ExportTable(
        "redactions",
        LeafKind.REDACTION,
        "r.conversation_id, r.first_seq, r.last_seq, r.by, r.reason, r.at",
        _redaction_to_fields,
    ),
    ExportTable(
        "operator_requests",
        LeafKind.OPERATOR,
        "r.id, r.command, r.body, r.node, r.asked_by, r.asked_at, r.answered_at, r.outcome,"
        " r.outcome->>'error' AS error",
        _request_to_fields,
        lambda row: {"asked": document_to_json(row["body"]), "answer": document_to_json(row["outcome"])},
    ),
)

# A leaf belongs to the first range that ends at or after it, so a range that was moved shows too.
_SEALED_BY = """
    CROSS JOIN LATERAL (
        SELECT height FROM block_leaves
        WHERE node_id = {node} AND last >= {number} ORDER BY last LIMIT 1
    ) s
"""
_SEALED_ROWS = (  # constants joined, here and below
    "SELECT s.height, r.leaf_node, r.leaf_number, {columns} FROM {source}"  # noqa: S608 - filled from TABLES
    + _SEALED_BY.format(node="r.leaf_node", number="r.leaf_number")
    + 'ORDER BY s.height, r.leaf_node COLLATE "C", r.leaf_number'
)
_STRAYS = """
    SELECT r.leaf_node, r.leaf_number, {columns} FROM {source}
    WHERE NOT EXISTS (SELECT FROM leaves l WHERE l.node_id = r.leaf_node AND l.number = r.leaf_number)
"""
LEAVES = (
    "SELECT s.height, l.node_id AS leaf_node, l.number AS leaf_number, l.kind, l.body, l.hash FROM leaves l"  # noqa: S608
    + _SEALED_BY.format(node="l.node_id", number="l.number")
    + 'ORDER BY s.height, l.node_id COLLATE "C", l.number'
)
WAITING = """
    SELECT l.node_id, l.number, l.body FROM leaves l
    WHERE l.number > coalesce((SELECT max(last) FROM block_leaves WHERE node_id = l.node_id), 0)
    ORDER BY l.node_id COLLATE "C", l.number
"""
BLOCKS = """
    SELECT b.height, b.hash, b.previous_hash, b.term, b.header, b.tree_size, b.root, b.sealed_at, t.tree,
           r.validators, r.parameters
    FROM verification_chain b LEFT JOIN block_trees t USING (height) LEFT JOIN block_rules r USING (height)
    ORDER BY b.height
"""
SPANS = """
    SELECT height, node_id, first, last, tree_start FROM block_leaves ORDER BY height, tree_start, first
"""
# The digest of all leaves that a node reported. A block may have sealed only the first of them.
REPORTS = """
    SELECT r.height, r.node_id, r.first, r.count, r.wants, r.signature, (
        SELECT sha256(coalesce(string_agg(l.hash, ''::bytea ORDER BY l.number), ''::bytea)) FROM leaves l
        WHERE l.node_id = r.node_id AND l.number BETWEEN r.first AND r.first + r.count - 1
    ) AS leaves
    FROM block_reports r ORDER BY r.height, r.node_id COLLATE "C"
"""
ROSTERS = """
    SELECT height, node_id, character_id, packed, owners FROM block_rosters
    ORDER BY height, node_id COLLATE "C", character_id COLLATE "C"
"""
VOTES = """
    SELECT height, term, node_id, hash, signature FROM votes ORDER BY height, node_id COLLATE "C", term
"""
RESULTS = """
    SELECT height, character_id, body FROM block_results ORDER BY height, character_id COLLATE "C"
"""
CHECKPOINTS = """
    SELECT c.tree_size AS height, c.tree_size, c.note, (
        SELECT coalesce(
            array_agg(ARRAY[convert_to(signer, 'UTF8'), line] ORDER BY signer COLLATE "C"), '{}')
        FROM cosignatures s WHERE s.tree_size = c.tree_size
    ) AS cosignatures
    FROM checkpoints c ORDER BY c.tree_size
"""
VERSIONS = """
    SELECT v.conversation_id, v.version, v.changed_at, v.plate_version, v.status, c.character_id, c.owner_id
    FROM conversation_versions v LEFT JOIN conversations c ON c.id = v.conversation_id
    ORDER BY v.conversation_id, v.version
"""
CONVERSATIONS = "SELECT id, version, plate_version, status, head_seq FROM conversations ORDER BY id"
INSTANCES = "SELECT id, version, host, epoch, status FROM instance_registry ORDER BY id"
# Rows whose block, report or checkpoint does not exist.
LOOSE = """
    SELECT 'block_leaves' AS "table", height, node_id AS node FROM block_leaves x
        WHERE NOT EXISTS (SELECT FROM verification_chain b WHERE b.height = x.height)
    UNION ALL SELECT 'votes', height, node_id FROM votes x
        WHERE NOT EXISTS (SELECT FROM verification_chain b WHERE b.height = x.height)
    UNION ALL SELECT 'block_reports', height, node_id FROM block_reports x
        WHERE NOT EXISTS (SELECT FROM verification_chain b WHERE b.height = x.height)
    UNION ALL SELECT 'block_rosters', height, node_id FROM block_rosters x
        WHERE NOT EXISTS (SELECT FROM block_reports b WHERE b.height = x.height AND b.node_id = x.node_id)
    UNION ALL SELECT 'block_results', height, character_id FROM block_results x
        WHERE NOT EXISTS (SELECT FROM verification_chain b WHERE b.height = x.height)
    UNION ALL SELECT 'block_rules', height, '' FROM block_rules x
        WHERE NOT EXISTS (SELECT FROM verification_chain b WHERE b.height = x.height)
    UNION ALL SELECT 'block_trees', height, '' FROM block_trees x
        WHERE NOT EXISTS (SELECT FROM verification_chain b WHERE b.height = x.height)
    UNION ALL SELECT 'checkpoints', tree_size, '' FROM checkpoints x
        WHERE NOT EXISTS (SELECT FROM verification_chain b WHERE b.tree_size = x.tree_size)
    UNION ALL SELECT 'cosignatures', tree_size, signer FROM cosignatures x
        WHERE NOT EXISTS (SELECT FROM checkpoints b WHERE b.tree_size = x.tree_size)
    ORDER BY 1, 2, 3
"""
