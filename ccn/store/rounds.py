"""Rounds as the database keeps them: a block with everything it was decided from, or why there is none.

The leader writes a block in one transaction inside the fence of its term. The chain's own keys are the
compare-and-swap: a second block of a height, or one on another tip, cannot be inserted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import structlog

from ccn import errors
from ccn.core import block, header, merkle, note, rules
from ccn.core.ballot import Certificate, Draft, Vote
from ccn.core.block import Tip
from ccn.core.character import UNIT
from ccn.core.header import Header, Span
from ccn.core.ids import CharacterId, NodeId
from ccn.core.readback import Shown
from ccn.core.report import Report
from ccn.core.roster import Roster
from ccn.core.rules import Rules
from ccn.core.signed import Signed
from ccn.store import terms
from ccn.store.pool import Connection, Pool, Record

_logger = structlog.get_logger(__name__)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the consensus log."""

    index: int
    term: int
    command: str
    data: Mapping[str, object]
    committed: bool
    at: datetime


async def found(pool: Pool, term: int, tip: Tip) -> None:
    """Write the founding of the chain down, in the first term; the same founding again changes nothing."""
    async with terms.led(pool, term) as connection:
        known = await connection.fetchval("SELECT hash FROM verification_chain WHERE height = 0")
        if known is not None:
            if known != tip.hash:
                raise errors.Conflict("the chain in this database was founded with other rules")
            return
        await connection.execute("INSERT INTO cluster_origin (origin) VALUES ($1)", tip.origin)
        root, at = tip.tree.root(), _EPOCH
        await connection.execute(_BLOCK, 0, tip.hash, None, term, b"", 0, root, at)
        await _rule(connection, 0, tip.rules)
        await _log(
            connection, term, "found", {"origin": tip.origin, "hash": tip.hash.hex()}, committed=True
        )


async def commit(pool: Pool, tip: Tip, draft: Draft, certificate: Certificate) -> Tip:
    """The block, its leaves' places, reports, votes, results and log entry, together; the tip after it."""
    sealed, made = draft.block, draft.block.header
    after = block.follow(tip, made, tip.tree.extend(sealed.leaves), sealed.next_rules)
    async with terms.led(pool, made.term) as connection:
        at = _EPOCH + timedelta(microseconds=made.time_us)
        chained = (after.hash, made.previous, made.term, made.body(), after.tree.size, after.tree.root())
        await connection.execute(_BLOCK, made.height, *chained, at)
        await connection.execute(_TREE, made.height, after.tree.to_bytes())
        await connection.executemany(_LEAVES, _places(made))
        await connection.executemany(_VOTE, [_vote(vote) for vote in certificate.votes])
        await connection.executemany(_REPORT, [_report(report) for report in draft.proposal.reports])
        await connection.executemany(_ROSTER, _rosters(draft.proposal.reports))
        results = [(made.height, result.character, result.body()) for result in sealed.results]
        await connection.executemany(_RESULT, results)
        await connection.execute(_DRIFT, *_drifts(draft))
        if sealed.next_rules != tip.rules:
            await _rule(connection, made.height, sealed.next_rules)
        await _log(connection, made.term, "round", _summary(draft, certificate), committed=True)
        # Still open: what happens now finds the block neither there nor gone.
        _logger.debug("block written", height=made.height, term=made.term)
    return after


async def fail(pool: Pool, term: int, reason: str, data: Mapping[str, object]) -> None:
    """A round that came to nothing, in the log; serving goes on and the next round seals the backlog."""
    async with terms.led(pool, term) as connection:
        await _log(connection, term, "round", {"reason": reason, **data}, committed=False)


async def record(pool: Pool, term: int, command: str, data: Mapping[str, object]) -> None:
    """Something an operator asked the leader to do."""
    async with terms.led(pool, term) as connection:
        await _log(connection, term, command, data, committed=True)


async def height(pool: Pool) -> int | None:
    """The height the database shows, None before the founding."""
    shown: int | None = await pool.value("SELECT max(height) FROM verification_chain")
    return shown


async def tip(pool: Pool, at: int | None = None) -> Tip | None:
    """The tip as the database shows it, now or after a block: a claim, to be checked."""
    row = await pool.row(_TIP, at)
    if row is None:
        return None
    in_force = rules.parse(row["validators"], row["parameters"])
    if row["height"] == 0:
        return block.genesis(row["origin"], in_force)
    ends = await pool.rows(_SEALED, row["height"])
    made = header.parse(row["header"])
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


async def standing(pool: Pool, block_height: int) -> tuple[bytes, list[note.Signature]] | None:
    """The hash that the database shows at a height, and the cosignatures below its checkpoint."""
    row = await pool.row(_STANDING, block_height)
    if row is None:
        return None
    try:
        below = note.parse((row["note"] or b"") + b"\n" + b"".join(row["lines"])).signatures
    except errors.InputInvalid:
        below = ()  # nobody cosigned it yet, or what is there is no note
    return row["hash"], list(below)


async def shown(pool: Pool, block_height: int) -> Shown | None:
    """A block as the database shows it, for `readback.confirm`."""
    row = await pool.row(_SHOWN, block_height)
    if row is None:
        return None
    leaves = await pool.rows(_SHOWN_LEAVES, block_height)
    votes = await pool.rows(_SHOWN_VOTES, block_height)
    return Shown(
        header.parse(row["header"]),
        tuple(leaf["hash"] for leaf in leaves),
        tuple(Signed(Vote(v["node_id"], v["height"], v["term"], v["hash"]), v["signature"]) for v in votes),
        rules.parse(row["validators"], row["parameters"]),
    )


async def reports(pool: Pool, block_height: int) -> list[Signed[Report]]:
    """The reports a block was made of, as their nodes signed them."""
    made = await pool.row(_SHOWN, block_height)
    if made is None:
        raise errors.NotFound(f"there is no block {block_height}")
    head = header.parse(made["header"])
    rosters: dict[str, list[Roster]] = {}
    for row in await pool.rows(_SHOWN_ROSTERS, block_height):
        rosters.setdefault(row["node_id"], []).append(
            Roster(CharacterId(row["character_id"]), row["packed"])
        )
    return [_restored(row, head, rosters) for row in await pool.rows(_SHOWN_REPORTS, block_height)]


async def results(pool: Pool, block_height: int) -> list[str]:
    """What a block agreed on, one canonical line a character."""
    return [row["body"].decode() for row in await pool.rows(_RESULTS, block_height)]


async def last_votes(pool: Pool) -> dict[NodeId, int]:
    """The height of the last block that each node voted for; of late, not ever."""
    return {NodeId(row["node_id"]): row["height"] for row in await pool.rows(_LAST_VOTES)}


async def log(
    pool: Pool, *, command: str | None = None, before: int | None = None, limit: int = 50
) -> list[Entry]:
    """The newest entries of the consensus log, of one command or of all, newest first."""
    return [
        Entry(row["log_index"], row["term"], row["command_type"], row["data"], row["committed"], row["at"])
        for row in await pool.rows(_ENTRIES, before, limit, command)
    ]


async def _rule(connection: Connection, block_height: int, following: Rules) -> None:
    bodies = following.validators_body(), following.parameters.body()
    await connection.execute(
        "INSERT INTO block_rules (height, validators, parameters) VALUES ($1, $2, $3)",
        block_height,
        *bodies,
    )


async def _log(
    connection: Connection, term: int, command: str, data: Mapping[str, object], *, committed: bool
) -> None:
    await connection.execute(_ENTRY, term, command, dict(data), committed)


def _summary(draft: Draft, certificate: Certificate) -> dict[str, object]:
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


def _drifts(draft: Draft) -> tuple[list[UUID], list[float]]:
    """Each instance and its drift, without those of which two nodes say something."""
    rosters = [roster for report in draft.proposal.reports for roster in report.statement.rosters]
    named, drifts = list[UUID](), list[float]()
    for result in draft.block.results:
        ids = [each for roster in rosters if roster.character == result.character for each in roster.ids()]
        doubtful = set(result.disputed)
        told = [place for place in range(len(ids)) if place not in doubtful]
        named += [UUID(bytes=ids[place]) for place in told]
        drifts += [result.drift[place] / UNIT for place in told]
    return named, drifts


def _places(made: Header) -> list[tuple[object, ...]]:
    places, start = list[tuple[object, ...]](), made.before_size
    for span in made.spans:
        places.append((made.height, span.node, span.first, span.last, start))
        start += _length(span)
    return places


def _length(span: Span) -> int:
    return span.last - span.first + 1


def _vote(vote: Signed[Vote]) -> tuple[object, ...]:
    said = vote.statement
    return said.height, said.term, said.node, said.block, vote.signature


def _report(report: Signed[Report]) -> tuple[object, ...]:
    said = report.statement
    return said.height, said.node, said.first, said.count, said.wants, report.signature


def _rosters(reported: Sequence[Signed[Report]]) -> list[tuple[object, ...]]:
    return [
        (report.statement.height, report.statement.node, roster.character, roster.packed)
        for report in reported
        for roster in report.statement.rosters
    ]


def _restored(row: Record, made: Header, rosters: Mapping[str, list[Roster]]) -> Signed[Report]:
    said = Report(
        NodeId(row["node_id"]),
        made.height,
        made.term,
        made.previous,
        tuple(rosters.get(row["node_id"], ())),
        row["first"],
        b"".join(row["leaves"]),
        row["wants"],
    )
    return Signed(said, row["signature"])


_BLOCK = """
    INSERT INTO verification_chain (height, hash, previous_hash, term, header, tree_size, root, sealed_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
"""
_TREE = "INSERT INTO block_trees (height, tree) VALUES ($1, $2)"
_LEAVES = "INSERT INTO block_leaves (height, node_id, first, last, tree_start) VALUES ($1, $2, $3, $4, $5)"
_VOTE = "INSERT INTO votes (height, term, node_id, hash, signature) VALUES ($1, $2, $3, $4, $5)"
_REPORT = """
    INSERT INTO block_reports (height, node_id, first, count, wants, signature)
    VALUES ($1, $2, $3, $4, $5, $6)
"""
_ROSTER = "INSERT INTO block_rosters (height, node_id, character_id, packed) VALUES ($1, $2, $3, $4)"
_RESULT = "INSERT INTO block_results (height, character_id, body) VALUES ($1, $2, $3)"
_DRIFT = """
    UPDATE instance_registry i SET drift = d.drift
    FROM unnest($1::uuid[], $2::real[]) AS d (id, drift)
    WHERE i.id = d.id AND i.ended_at IS NULL AND i.drift IS DISTINCT FROM d.drift
"""
_ENTRY = """
    INSERT INTO consensus_log (log_index, term, command_type, data, committed)
    SELECT coalesce(max(log_index), 0) + 1, $1, $2, $3, $4 FROM consensus_log
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
_STANDING = """
    SELECT b.hash, c.note, ARRAY(
        SELECT line FROM cosignatures WHERE tree_size = b.tree_size ORDER BY signer
    ) AS lines
    FROM verification_chain b LEFT JOIN checkpoints c USING (tree_size) WHERE b.height = $1
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
    SELECT node_id, character_id, packed FROM block_rosters WHERE height = $1 ORDER BY node_id, character_id
"""
_SHOWN_REPORTS = """
    SELECT r.node_id, r.first, r.wants, r.signature, coalesce(l.leaves, '{}') AS leaves
    FROM block_reports r LEFT JOIN LATERAL (
        SELECT array_agg(hash ORDER BY number) AS leaves FROM leaves
        WHERE node_id = r.node_id AND number BETWEEN r.first AND r.first + r.count - 1
    ) l ON true
    WHERE r.height = $1 ORDER BY r.node_id
"""
_RESULTS = "SELECT body FROM block_results WHERE height = $1 ORDER BY character_id"
_ENTRIES = """
    SELECT log_index, term, command_type, data, committed, at FROM consensus_log
    WHERE ($1::bigint IS NULL OR log_index < $1) AND ($3::text IS NULL OR command_type = $3)
    ORDER BY log_index DESC LIMIT $2
"""
