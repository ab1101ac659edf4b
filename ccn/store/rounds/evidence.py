"""Evidence as the database keeps it: who signed two things that no honest node signs, with both of them.

Separate from rounds, because it is about the nodes and outlives every round. The first find of each kind is
kept; nobody changes or deletes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from ccn.core.ids import NodeId
from ccn.core.rounds.ballot import Proposal, Vote
from ccn.core.rounds.evidence import Cosigned, Evidence
from ccn.store.connection.pool import DatabaseReads, Pool

SHOWN = 100
"""Entries an operator is shown."""


@dataclass(frozen=True, slots=True)
class RecordedEvidence:
    """One contradiction of a node, by whom it was found, and the two statements as bytes."""

    node: NodeId
    kind: str
    height: int
    term: int
    found_by: NodeId
    at: datetime
    body: bytes


async def keep_evidence(
    pool: Pool, evidence: Evidence[Proposal] | Evidence[Vote] | Evidence[Cosigned], by: NodeId
) -> None:
    """Write it down; what is known already stays as it is."""
    await pool.rows(
        _KEEP, evidence.node, evidence.kind, evidence.height, evidence.term, evidence.body(), by
    )


async def list_newest(pool: DatabaseReads) -> list[RecordedEvidence]:
    """List the newest evidence, the newest first."""
    return [
        RecordedEvidence(
            row["node_id"],
            row["kind"],
            row["height"],
            row["term"],
            row["found_by"],
            row["found_at"],
            row["body"],
        )
        for row in await pool.rows(_NEWEST, SHOWN)
    ]


_KEEP = """
    INSERT INTO evidence (node_id, kind, height, term, body, found_by) VALUES ($1, $2, $3, $4, $5, $6)
    ON CONFLICT DO NOTHING
"""
_NEWEST = """
    SELECT node_id, kind, height, term, body, found_by, found_at FROM evidence
    ORDER BY found_at DESC, node_id, kind LIMIT $1
"""
