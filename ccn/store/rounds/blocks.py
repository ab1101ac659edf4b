"""Blocks as the database keeps them, each with everything from which it was decided.

The leader writes a block in one transaction inside the fence of its term. The keys of the chain's table
refuse a second block of a height, and a block on another tip.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import structlog

from ccn import errors
from ccn.core.chain import block, header, rules
from ccn.core.chain.block import Tip
from ccn.core.chain.header import Header, Span
from ccn.core.chain.report import Report
from ccn.core.chain.roster import Roster
from ccn.core.chain.rules import Rules
from ccn.core.ids import CharacterId, NodeId
from ccn.core.ledger import merkle, note
from ccn.core.ledger.signed import Signed
from ccn.core.rounds.ballot import Certificate, Draft, Vote
from ccn.core.rounds.readback import ShownBlock
from ccn.store.connection.pool import Connection, DatabaseReads, Pool, Record
from ccn.store.rounds import consensus_log, terms

_logger = structlog.get_logger(__name__)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class ChainState:
    """Who leads which term, how far the chain goes, and at one height the block and its cosignatures."""

    term: int
    leader: NodeId | None
    height: int
    hash: bytes | None
    lines: tuple[note.Signature, ...]
    standbys: bool = False
    """Whether the server waits for standbys, so that what is shown may be on none of them yet."""


async def write_genesis(pool: Pool, term: int, tip: Tip) -> None:
    """Write the founding of the chain, in the first term. Writing the same again changes nothing."""
    async with terms.lead_transaction(pool, term) as connection:
        known = await connection.fetchval("SELECT hash FROM verification_chain WHERE height = 0")
        if known is not None:
            if known != tip.hash:
                raise errors.Conflict("the chain in this database was founded with other rules")
            return
        await connection.execute("INSERT INTO cluster_origin (origin) VALUES ($1)", tip.origin)
        root, at = tip.tree.root(), _EPOCH
        await connection.execute(_BLOCK, 0, tip.hash, None, term, b"", 0, root, at)
        await _write_rules(connection, 0, tip.rules)
        await consensus_log.write_entry(
            connection, term, "found", {"origin": tip.origin, "hash": tip.hash.hex()}, committed=True
        )


async def write_block(pool: Pool, tip: Tip, draft: Draft, certificate: Certificate) -> Tip:
    """Write a block, all that it was made of and its log entry in one statement. Return the new tip."""
    sealed, made = draft.block, draft.block.header
    after = block.advance_tip(tip, made, tip.tree.extend(sealed.leaves), sealed.next_rules)
    changed = sealed.next_rules if sealed.next_rules != tip.rules else None
    async with terms.lead_transaction(pool, made.term) as connection:
        await connection.execute(
            _COMMIT,
            *(made.height, made.term, made.hash(), made.previous, made.body()),
            *(after.tree.size, after.tree.root(), _EPOCH + timedelta(microseconds=made.time_us)),
            after.tree.to_bytes(),
            *_rows_to_columns(4, _spans_to_rows(made)),
            *_rows_to_columns(2, [(vote.statement.node, vote.signature) for vote in certificate.votes]),
            *_rows_to_columns(5, map(_report_to_row, draft.proposal.reports)),
            *_rows_to_columns(4, _rosters_to_rows(draft.proposal.reports)),
            *_rows_to_columns(2, [(result.character, result.body()) for result in sealed.results]),
            *((changed.validators_body(), changed.parameters_body()) if changed else (None, None)),
            _summarise_round(draft, certificate),
        )
        # The transaction is open: whatever fails now leaves the block neither there nor surely gone.
        _logger.debug("block written", height=made.height, term=made.term)
    return after


async def project_drift(pool: Pool, draft: Draft) -> None:
    """Write to each instance the drift that a committed block found. The block itself says the same.

    It is no part of the commit: hosts change ten thousand instances all the time, and a block must not wait
    for their locks. If the leader dies before this, the next round does it.
    """
    async with terms.lead_transaction(pool, draft.block.header.term) as connection:
        await connection.execute(_DRIFT, *_drifts_to_arrays(draft))


async def load_height(pool: DatabaseReads) -> int | None:
    """Load the newest height, or None before the founding."""
    shown: int | None = await pool.value("SELECT max(height) FROM verification_chain")
    return shown


async def load_tip(pool: Pool, at: int | None = None) -> Tip | None:
    """Load the tip that the database shows, now or after a block. The caller must check this claim."""
    row = await pool.row(_TIP, at)
    if row is None:
        return None
    in_force = rules.parse_rules(row["validators"], row["parameters"])
    if row["height"] == 0:
        return block.genesis_tip(row["origin"], in_force)
    ends = await pool.rows(_SEALED, row["height"])
    made = header.parse_header(row["header"])
    return Tip(
        row["origin"],
        row["height"],
        row["hash"],
        row["term"],
        made.time_us,
        merkle.Tree.from_bytes(row["tree"]),
        tuple((NodeId(end["node_id"]), end["last"]) for end in ends),
        in_force,
    )


async def chain_state(pool: Pool, block_height: int) -> ChainState:
    """Load the state of the chain, as seen from a height."""
    row = await pool.row(_CHAIN_STATE, block_height)
    if row is None:
        raise errors.StoreBroken("the row with the term is gone")
    try:
        below = note.parse_note((row["note"] or b"") + b"\n" + b"".join(row["lines"])).signatures
    except errors.InputInvalid:
        below = ()  # nobody cosigned the block yet, or the row has no note
    place = (row["term"], row["leader"], row["height"] or 0, row["hash"])
    return ChainState(*place, below, row["standbys"])


async def load_block(pool: Pool, block_height: int) -> ShownBlock | None:
    """Load a block as the database shows it, for `readback.confirm_block`."""
    row = await pool.row(_SHOWN, block_height)
    if row is None:
        return None
    leaves = await pool.rows(_SHOWN_LEAVES, block_height)
    votes = await pool.rows(_SHOWN_VOTES, block_height)
    return ShownBlock(
        header.parse_header(row["header"]),
        tuple(leaf["hash"] for leaf in leaves),
        tuple(Signed(Vote(v["node_id"], v["height"], v["term"], v["hash"]), v["signature"]) for v in votes),
        rules.parse_rules(row["validators"], row["parameters"]),
    )


async def load_reports(pool: Pool, block_height: int) -> list[Signed[Report]]:
    """Load the reports that a block was made of, as their nodes signed them."""
    made = await pool.row(_SHOWN, block_height)
    if made is None:
        raise errors.NotFound(f"there is no block {block_height}")
    head = header.parse_header(made["header"])
    rosters: dict[str, list[Roster]] = {}
    for row in await pool.rows(_SHOWN_ROSTERS, block_height):
        rosters.setdefault(row["node_id"], []).append(
            Roster(CharacterId(row["character_id"]), row["packed"], row["owners"] or b"")
        )
    return [_report_from_row(row, head, rosters) for row in await pool.rows(_SHOWN_REPORTS, block_height)]


async def load_results(pool: Pool, block_height: int) -> list[str]:
    """Load what a block agreed on, one canonical line for each character."""
    return [row["body"].decode() for row in await pool.rows(_RESULTS, block_height)]


async def load_last_votes(pool: Pool) -> dict[NodeId, int]:
    """Load the height of the last block that each node voted for lately."""
    return {NodeId(row["node_id"]): row["height"] for row in await pool.rows(_LAST_VOTES)}


async def _write_rules(connection: Connection, block_height: int, following: Rules) -> None:
    bodies = following.validators_body(), following.parameters_body()
    await connection.execute(
        "INSERT INTO block_rules (height, validators, parameters) VALUES ($1, $2, $3)",
        block_height,
        *bodies,
    )


def _summarise_round(draft: Draft, certificate: Certificate) -> dict[str, object]:
    made = draft.block.header
    return {
        "height": made.height,
        "hash": made.hash().hex(),
        "leader": made.leader,
        "leaves": made.count,
        "votes": [vote.statement.node for vote in certificate.votes],
        "reports": [report.statement.node for report in draft.proposal.reports],
        "left_out": [[node, refusal.reason.value] for node, refusal in draft.refused],
        "characters": [
            {
                "character": result.character,
                "instances": len(result.drift),
                "outliers": len(result.outliers),
                "disputed": len(result.disputed),
            }
            for result in draft.block.results
        ],
    }


def _drifts_to_arrays(draft: Draft) -> tuple[str, str]:
    """Write two arrays as text: the instances that only one node reported, and their drifts.

    The server parses them faster than the driver encodes ten thousand values one by one.
    """
    rosters = [roster for report in draft.proposal.reports for roster in report.statement.rosters]
    named, drifts = b"", list[int]()
    for result in draft.block.results:
        undisputed = np.delete(np.array(result.drift), result.disputed)
        ids = np.concatenate(
            [each.instance_ids() for each in rosters if each.character == result.character]
        )
        named += np.delete(ids, result.disputed).tobytes()
        drifts += undisputed.tolist()
    return f"{{{named.hex(',', 16)}}}", f"{{{str(drifts)[1:-1]}}}"


def _rows_to_columns(count: int, rows: Iterable[tuple[object, ...]]) -> list[list[object]]:
    """Turn rows into the columns that unnest joins again."""
    columns: list[list[object]] = [[] for _ in range(count)]
    for row in rows:
        for column, value in zip(columns, row, strict=True):
            column.append(value)
    return columns


def _spans_to_rows(made: Header) -> list[tuple[object, ...]]:
    places, start = list[tuple[object, ...]](), made.before_size
    for span in made.spans:
        places.append((span.node, span.first, span.last, start))
        start += _span_length(span)
    return places


def _span_length(span: Span) -> int:
    return span.last - span.first + 1


def _report_to_row(report: Signed[Report]) -> tuple[object, ...]:
    statement = report.statement
    return statement.node, statement.first, statement.count, statement.wants, report.signature


def _rosters_to_rows(reported: Sequence[Signed[Report]]) -> list[tuple[object, ...]]:
    return [
        (report.statement.node, roster.character, roster.packed, roster.owners or None)
        for report in reported
        for roster in report.statement.rosters
    ]


def _report_from_row(row: Record, made: Header, rosters: Mapping[str, list[Roster]]) -> Signed[Report]:
    report = Report(
        NodeId(row["node_id"]),
        made.height,
        made.term,
        made.previous,
        tuple(rosters.get(row["node_id"], ())),
        row["first"],
        b"".join(row["leaves"]),
        row["wants"],
    )
    return Signed(report, row["signature"])


_BLOCK = """
    INSERT INTO verification_chain (height, hash, previous_hash, term, header, tree_size, root, sealed_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
"""
# One statement, so that the server checks foreign keys once all rows are there.
_COMMIT = """
    WITH block AS (
        INSERT INTO verification_chain
            (height, hash, previous_hash, term, header, tree_size, root, sealed_at)
        VALUES ($1, $3, $4, $2, $5, $6, $7, $8)
    ), tree AS (
        INSERT INTO block_trees (height, tree) VALUES ($1, $9)
    ), spans AS (
        INSERT INTO block_leaves (height, node_id, first, last, tree_start)
        SELECT $1, * FROM unnest($10::text[], $11::bigint[], $12::bigint[], $13::bigint[])
    ), ayes AS (
        INSERT INTO votes (height, term, hash, node_id, signature)
        SELECT $1, $2, $3, * FROM unnest($14::text[], $15::bytea[])
    ), reports AS (
        INSERT INTO block_reports (height, node_id, first, count, wants, signature)
        SELECT $1, * FROM unnest($16::text[], $17::bigint[], $18::bigint[], $19::bytea[], $20::bytea[])
    ), rosters AS (
        INSERT INTO block_rosters (height, node_id, character_id, packed, owners)
        SELECT $1, * FROM unnest($21::text[], $22::text[], $23::bytea[], $24::bytea[])
    ), results AS (
        INSERT INTO block_results (height, character_id, body)
        SELECT $1, * FROM unnest($25::text[], $26::bytea[])
    ), rules AS (
        INSERT INTO block_rules (height, validators, parameters)
        SELECT $1, $27::bytea, $28::bytea WHERE $27 IS NOT NULL
    )
    INSERT INTO consensus_log (log_index, term, command_type, data, committed)
    SELECT coalesce(max(log_index), 0) + 1, $2, 'round', $29, true FROM consensus_log
"""
_DRIFT = """
    UPDATE instance_registry i SET drift = d.drift
    FROM (
        SELECT id, (millionths / 1000000::float8)::real AS drift
        FROM unnest($1::text::uuid[], $2::text::bigint[]) AS told (id, millionths)
    ) AS d
    WHERE i.id = d.id AND i.ended_at IS NULL AND i.drift IS DISTINCT FROM d.drift
"""
_RULES_AFTER = """
    SELECT validators, parameters FROM block_rules WHERE height <= b.height ORDER BY height DESC LIMIT 1
"""
_TIP = f"""
    SELECT o.origin, b.height, b.hash, b.term, b.header, t.tree, r.validators, r.parameters
    FROM cluster_origin o
    CROSS JOIN LATERAL (
        SELECT height, hash, term, header FROM verification_chain
        WHERE $1::bigint IS NULL OR height = $1 ORDER BY height DESC LIMIT 1
    ) b
    CROSS JOIN LATERAL ({_RULES_AFTER}) r
    LEFT JOIN block_trees t ON t.height = b.height
"""  # noqa: S608 - two constants joined
_CHAIN_STATE = """
    SELECT t.term, t.leader, (SELECT max(height) FROM verification_chain) AS height, b.hash, c.note, ARRAY(
        SELECT line FROM cosignatures WHERE tree_size = b.tree_size ORDER BY signer
    ) AS lines, current_setting('synchronous_standby_names') <> '' AS standbys
    FROM cluster_term t
    LEFT JOIN verification_chain b ON b.height = $1
    LEFT JOIN checkpoints c USING (tree_size)
"""
_SEALED = """
    SELECT node_id, max(last) AS last FROM block_leaves WHERE height <= $1 GROUP BY node_id ORDER BY node_id
"""
_SHOWN = f"""
    SELECT b.header, r.validators, r.parameters
    FROM verification_chain b CROSS JOIN LATERAL ({_RULES_AFTER}) r
    WHERE b.height = $1 AND b.height > 0
"""  # noqa: S608 - two constants joined
_SHOWN_LEAVES = """
    SELECT l.hash
    FROM block_leaves s JOIN leaves l ON l.node_id = s.node_id AND l.number BETWEEN s.first AND s.last
    WHERE s.height = $1 ORDER BY s.tree_start, l.number
"""
_SHOWN_VOTES = """
    SELECT node_id, height, term, hash, signature FROM votes WHERE height = $1 ORDER BY node_id
"""
_LAST_VOTES = """
    SELECT node_id, max(height) AS height FROM votes
    WHERE height > (SELECT max(height) FROM verification_chain) - 1000 GROUP BY node_id
"""
_SHOWN_ROSTERS = """
    SELECT node_id, character_id, packed, owners FROM block_rosters
    WHERE height = $1 ORDER BY node_id, character_id
"""
_SHOWN_REPORTS = """
    SELECT r.node_id, r.first, r.wants, r.signature, coalesce(l.leaves, '{}') AS leaves
    FROM block_reports r LEFT JOIN LATERAL (
        SELECT array_agg(hash ORDER BY number) AS leaves FROM leaves
        WHERE node_id = r.node_id AND number BETWEEN r.first AND r.first + r.count - 1
    ) l ON true
    WHERE r.height = $1 ORDER BY r.node_id
"""
# What the newest block with this character says of it.
LAST_OF_CHARACTER = """
    SELECT convert_from(body, 'UTF8')::jsonb AS said FROM block_results
    WHERE character_id = $1 ORDER BY height DESC LIMIT 1
"""
_RESULTS = "SELECT body FROM block_results WHERE height = $1 ORDER BY character_id"
