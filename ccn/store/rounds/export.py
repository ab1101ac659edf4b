"""The record in one file that an outsider can check: `ccn-verify FILE` needs neither CCN nor its database.

The file has JSON lines, which `ccn/docs/record.md` describes key by key. A record has one spelling, and
`ccn-verify` refuses every other. So the lines have the order of the database's keys, and the keys in a line
have the order in which this file puts them together. Bytes that were hashed are written as the canonical
object that they spell. Bytes that spell no object, which no node writes, are written in base64, so that the
reader sees them and can judge.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import BinaryIO

import orjson

from ccn import errors
from ccn.core.ledger import commitment
from ccn.core.ledger.commitment import LeafKind
from ccn.store.connection.pool import Connection, Pool, Record
from ccn.store.rounds import export_rows
from ccn.store.rounds.export_rows import Fields, RowStream, open_cursor, to_micros, to_text

VERSION = 2


@dataclass(frozen=True, slots=True)
class ExportCounts:
    """What an export holds."""

    lines: int
    blocks: int
    leaves: int
    waiting: int


async def export_record(
    pool: Pool, file: BinaryIO, told: Callable[[int], None] = lambda _: None
) -> ExportCounts:
    """Write the record as it is at one moment. `told` is called with the height of each block."""
    async with pool.transaction() as connection:
        await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        await connection.execute("SET LOCAL timezone = 'UTC'")
        out = _LineWriter(file)
        blocks = leaves = waiting = 0
        async for line in _block_lines(connection, told):
            out.write(line)
            blocks += "block" in line
            leaves += "leaf" in line
        async for line in _lines_after_blocks(connection):
            out.write(line)
            waiting += "waiting" in line
        out.write({"end": {"lines": out.count}})
    return ExportCounts(out.count, blocks, leaves, waiting)


class _LineWriter:
    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.count = 0

    def write(self, line: Fields) -> None:
        self._file.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
        self.count += 1


@dataclass(frozen=True, slots=True)
class _BlockStreams:
    """The rows that belong to blocks, read side by side in the order of the blocks."""

    spans: RowStream[int]
    reports: RowStream[int]
    rosters: RowStream[int]
    votes: RowStream[int]
    results: RowStream[int]
    checkpoints: RowStream[int]


async def _block_lines(connection: Connection, told: Callable[[int], None]) -> AsyncIterator[Fields]:
    origin = await connection.fetchval("SELECT origin FROM cluster_origin")
    along = _BlockStreams(
        *(RowStream(open_cursor(connection, sql, 50), export_rows.height_of) for sql in _ALONG)
    )
    leaves = _read_leaves(connection)
    leaf = await anext(leaves, None)
    founded = False
    async for row in open_cursor(connection, export_rows.BLOCKS, 50):
        if row["height"] == 0:
            yield _founding_to_line(origin or "", row)
            founded = True
            continue
        if not founded:
            break
        yield await _block_to_line(row, along)
        for roster in await along.rosters.rows_of(row["height"]):
            yield {"roster": _roster_to_fields(roster)}
        while leaf is not None and leaf[0] <= row["height"]:
            yield leaf[1]
            leaf = await anext(leaves, None)
        for checkpoint in await along.checkpoints.rows_of(row["tree_size"]):
            yield {"checkpoint": _checkpoint_to_fields(checkpoint)}
        told(row["height"])
    if not founded:
        raise errors.NotFound("this database has no record yet: its chain was never founded")


def _founding_to_line(origin: str, row: Record) -> Fields:
    return {
        "record": "ccn",
        "version": VERSION,
        "origin": origin,
        "validators": _body_to_json(row["validators"] or b""),
        "parameters": _body_to_json(row["parameters"] or b""),
        "row": _block_row_to_fields(row),
    }


async def _block_to_line(row: Record, along: _BlockStreams) -> Fields:
    height = row["height"]
    line: Fields = {
        "block": _body_to_json(row["header"]),
        "row": _block_row_to_fields(row)
        | {"spans": [_span_to_list(span) for span in await along.spans.rows_of(height)]},
        "reports": [_report_to_fields(report) for report in await along.reports.rows_of(height)],
        "votes": [_vote_to_fields(vote) for vote in await along.votes.rows_of(height)],
        "results": [
            [result["character_id"], _body_to_json(result["body"])]
            for result in await along.results.rows_of(height)
        ],
    }
    if row["validators"] is not None:
        line["rules"] = {
            "validators": _body_to_json(row["validators"]),
            "parameters": _body_to_json(row["parameters"]),
        }
    return line


def _block_row_to_fields(row: Record) -> Fields:
    previous, tree = row["previous_hash"], row["tree"]
    return {
        "height": row["height"],
        "hash": row["hash"].hex(),
        "previous": None if previous is None else previous.hex(),
        "term": row["term"],
        "at": to_micros(row["sealed_at"]),
        "size": row["tree_size"],
        "root": row["root"].hex(),
        "tree": None if tree is None else tree.hex(),
        **({"header": row["header"].hex()} if row["height"] == 0 else {}),
    }


def _span_to_list(row: Record) -> list[object]:
    return [row["node_id"], row["first"], row["last"], row["tree_start"]]


def _report_to_fields(row: Record) -> Fields:
    return {
        "node": row["node_id"],
        "first": row["first"],
        "count": row["count"],
        "leaves": row["leaves"].hex(),
        "wants": row["wants"].hex(),
        "signature": row["signature"].hex(),
    }


def _roster_to_fields(row: Record) -> Fields:
    packed = base64.b64encode(row["packed"]).decode()
    fields: Fields = {"node": row["node_id"], "character": row["character_id"], "packed": packed}
    return (
        fields if row["owners"] is None else fields | {"owners": base64.b64encode(row["owners"]).decode()}
    )


def _vote_to_fields(row: Record) -> Fields:
    return {
        "node": row["node_id"],
        "height": row["height"],
        "term": row["term"],
        "hash": row["hash"].hex(),
        "signature": row["signature"].hex(),
    }


def _checkpoint_to_fields(row: Record) -> Fields:
    return {
        "size": row["tree_size"],
        "note": row["note"].decode(errors="replace"),
        "cosignatures": [
            [signer.decode(errors="replace"), line.decode(errors="replace")]
            for signer, line in row["cosignatures"]
        ],
    }


async def _read_leaves(connection: Connection) -> AsyncIterator[tuple[int, Fields]]:
    """Read every sealed leaf with the height of its block, and the rows that name the leaf."""
    along = [(table, table.stream_sealed(connection)) for table in export_rows.TABLES]
    async for row in open_cursor(connection, export_rows.LEAVES):
        key = export_rows.place_of(row)
        named = [(table, table_row) for table, rows in along for table_row in await rows.rows_of(key)]
        yield key[0], _leaf_to_line(row, named)


def _leaf_to_line(row: Record, named: list[tuple[export_rows.ExportTable, Record]]) -> Fields:
    body = _body_to_json(row["body"])
    line: Fields = {"leaf": body}
    fields = body if isinstance(body, dict) else {}
    place = [row["leaf_node"], row["leaf_number"], row["kind"]]
    if place != [fields.get("node"), fields.get("number"), fields.get("kind")]:
        line["as"] = place
    if row["hash"] != commitment.leaf_hash(row["body"]):
        line["hash"] = row["hash"].hex()
    beside: Fields = {}
    for table, table_row in named:
        for name, value in table.shown(table_row).items():
            beside.setdefault(name, _body_to_json(value) if isinstance(value, bytes) else value)
    line |= {name: beside[name] for name in _BESIDE if name in beside}
    rows = [{"table": table.name, **table.fields(table_row)} for table, table_row in named]
    if not _rows_repeat_leaf(fields, [table.name for table, _ in named], rows):
        line["rows"] = rows
    return line


def _rows_repeat_leaf(leaf: Fields, tables: list[str], rows: list[Fields]) -> bool:
    """Return whether the rows say what the leaf says, so that the line need not repeat them."""
    kind = leaf.get("kind")
    own = next((table.name for table in export_rows.TABLES if table.kind.value == kind), None)
    if own is None or (kind == LeafKind.REDACTION.value and "series" in leaf):
        return not rows
    return tables == [own] and all(leaf.get(k) == value for k, value in rows[0].items() if k != "table")


async def _lines_after_blocks(connection: Connection) -> AsyncIterator[Fields]:
    """Write what belongs to the record but to no block."""
    async for row in open_cursor(connection, export_rows.WAITING):
        yield {"waiting": [row["node_id"], row["number"], _body_to_json(row["body"])]}
    async for row in open_cursor(connection, export_rows.VERSIONS):
        yield {"conversation": _version_to_fields(row)}
    async for row in open_cursor(connection, export_rows.CONVERSATIONS):
        more = {"plate": row["plate_version"], "head": row["head_seq"]}
        yield {"standing": _state_to_fields("conversation", row) | more}
    async for row in open_cursor(connection, export_rows.INSTANCES):
        yield {"standing": _state_to_fields("instance", row) | {"host": row["host"], "epoch": row["epoch"]}}
    for table in export_rows.TABLES:
        async for row in table.read_strays(connection):
            if row["leaf_number"] is not None or _has_ended(table, row):
                yield {"stray": {"table": table.name, **table.fields(row)}}
    async for row in open_cursor(connection, export_rows.LOOSE):
        yield {"stray": dict(row)}


def _has_ended(table: export_rows.ExportTable, row: Record) -> bool:
    """Return whether a row should have a leaf.

    A turn has one once it has ended, a request once it is answered, every other row from the beginning.
    """
    match table.kind:
        case LeafKind.TURN:
            return row["ended_at"] is not None
        case LeafKind.OPERATOR:
            return row["answered_at"] is not None
    return True


def _version_to_fields(row: Record) -> Fields:
    return {
        "conversation": to_text(row["conversation_id"]),
        "version": row["version"],
        "at": to_micros(row["changed_at"]),
        "plate": row["plate_version"],
        "status": row["status"],
        "character": row["character_id"],
        "owner": to_text(row["owner_id"]),
    }


def _state_to_fields(what: str, row: Record) -> Fields:
    return {what: to_text(row["id"]), "version": row["version"], "status": row["status"]}


def _body_to_json(body: bytes) -> Fields | str:
    """Return the object that these bytes spell, or the bytes in base64."""
    try:
        return commitment.parse_canonical(body)
    except errors.InputInvalid:
        return base64.b64encode(body).decode()


_BESIDE = ("content", "salt", "state", "asked", "answer")
"""The fields that are shown beside a leaf, in the order in which they are written."""

_ALONG = (
    export_rows.SPANS,
    export_rows.REPORTS,
    export_rows.ROSTERS,
    export_rows.VOTES,
    export_rows.RESULTS,
    export_rows.CHECKPOINTS,
)
