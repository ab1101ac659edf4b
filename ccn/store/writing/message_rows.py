"""Messages and leaves as rows of one statement, which writes all of a transaction.

Most batches have messages with their leaves and nothing else. Those of a quiet node have one of each. Both
kinds have statements of their own, which cost the server and this process less.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from ccn.core.ids import NodeId
from ccn.core.ledger.commitment import Leaf

Packed = tuple[str, Sequence[object]]
"""A statement and its parameters."""

Row = tuple[object, ...]
"""The values of one row: of a message as in `COLUMNS`, or of a step of a turn."""

COLUMNS = (
    "said_in",
    "said_seqs",
    "said_roles",
    "said_contents",
    "said_salts",
    "said_speakers",
    "said_languages",
    "said_ats",
    "said_turns",
    "said_epochs",
    "said_keys",
    "said_leaves",
)
"""The values in the row of a message, by the names of the parameters of `ccn_turns`."""
_AT = COLUMNS.index("said_ats")


def pack_statement(
    node: NodeId, head: int, now: datetime, leaves: Sequence[Leaf], messages: Sequence[Row]
) -> Packed | None:
    """Pack leaves that follow the node's last one, number `head`, with their messages."""
    if len(messages) == len(leaves) == 1:
        return _ALONE, (node, head + 1, leaves[0].body, *messages[0][:-1])
    sealed = bodies_of(leaves)
    if not messages:
        return (_LEAVES, (node, head, kinds_of(leaves), sealed)) if leaves else None
    message_columns = _message_columns(messages, now)
    if len(messages) != len(leaves):
        return _MIXED, (node, head, now, sealed, *message_columns, kinds_of(leaves))
    # All leaves are of messages, so each message has the leaf at its own place.
    return _MESSAGES, (node, head, now, sealed, *message_columns[:-1])


def kinds_of(leaves: Sequence[Leaf]) -> list[str]:
    """Return the kind of each leaf."""
    return [each.kind.value for each in leaves]


def bodies_of(leaves: Sequence[Leaf]) -> list[bytes]:
    """Return the body of each leaf."""
    return [each.body for each in leaves]


def rows_to_columns(rows: Sequence[Row], width: int) -> list[Sequence[object]]:
    """Turn rows into columns."""
    return list(zip(*rows, strict=True)) if rows else [()] * width


def _message_columns(messages: Sequence[Row], now: datetime) -> list[Sequence[object] | None]:
    """Turn messages into columns. A column of nulls is left out, because unnest fills it with nulls."""
    message_columns = rows_to_columns(messages, len(COLUMNS))
    if message_columns[_AT].count(now) == len(messages):
        message_columns[_AT] = ()  # the moment that all share is a parameter of its own
    return [each if each.count(None) < len(each) else None for each in message_columns]


_LEAVES = """
    INSERT INTO leaves (node_id, number, kind, body)
    SELECT $1, $2::bigint + nth, kind, body
    FROM unnest($3::text[], $4::bytea[]) WITH ORDINALITY AS new (kind, body, nth)
"""
_INTO = """
    INSERT INTO messages (leaf_node, conversation_id, seq, role, content, salt, speaker, language,
                          created_at, turn_id, host_epoch, idempotency_key, leaf_number)
"""
_SAID = """
    SELECT $1, here, seq, role, content, salt, speaker, language,
           coalesce(at, $3::timestamptz), turn, epoch, key
"""
_COLUMNS = """
    unnest($5::uuid[], $6::bigint[], $7::text[], $8::text[], $9::bytea[], $10::text[], $11::text[],
           $12::timestamptz[], $13::uuid[], $14::bigint[], $15::text[]
"""
_NAMES = "here, seq, role, content, salt, speaker, language, at, turn, epoch, key"
_MIXED = f"""
    WITH sealed AS (
        INSERT INTO leaves (node_id, number, kind, body)
        SELECT $1, $2::bigint + nth, kind, body
        FROM unnest($17::text[], $4::bytea[]) WITH ORDINALITY AS new (kind, body, nth)
    ) {_INTO} {_SAID}, leaf FROM {_COLUMNS}, $16::bigint[]) AS said ({_NAMES}, leaf)
"""  # noqa: S608 - constants joined, here and below
_MESSAGES = f"""
    WITH sealed AS (
        INSERT INTO leaves (node_id, number, kind, body)
        SELECT $1, $2::bigint + nth, 'message', body
        FROM unnest($4::bytea[]) WITH ORDINALITY AS new (body, nth)
    ) {_INTO} {_SAID}, $2 + nth FROM {_COLUMNS}) WITH ORDINALITY AS said ({_NAMES}, nth)
"""  # noqa: S608
_ALONE = f"""
    WITH sealed AS (
        INSERT INTO leaves (node_id, number, kind, body) VALUES ($1::text, $2::bigint, 'message', $3::bytea)
    ) {_INTO}
    VALUES ($1, $4::uuid, $5::bigint, $6::text, $7::text, $8::bytea, $9::text, $10::text, $11::timestamptz,
            $12::uuid, $13::bigint, $14::text, $2)
"""  # noqa: S608
