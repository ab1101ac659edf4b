"""The cluster in figures: aggregates over everybody, from which nothing about anybody can be read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from ccn.store.connection.pool import Pool


@dataclass(frozen=True, slots=True)
class ClusterTotals:
    """Counts, and means over conversations in which an instance is alive; None where none is measured."""

    at: datetime
    conversations: int
    active_instances: int
    quarantined_instances: int
    messages_last_hour: int
    measured: int
    ccc: float | None
    phi: float | None
    trust: float | None
    emergence: float | None
    drift: float | None
    max_drift: float | None


async def load_totals(pool: Pool) -> ClusterTotals:
    """Load all totals in one statement."""
    row = await pool.row(_TAKEN)
    assert row is not None, "aggregates over nothing are a row too"
    return ClusterTotals(**row)


_TAKEN = """
    WITH alive AS MATERIALIZED (
        SELECT i.status, i.drift AS from_others, m.*
        FROM instance_registry i LEFT JOIN LATERAL (
            SELECT ccc, phi, trust, emergence FROM consciousness_metrics
            WHERE conversation_id = i.conversation_id ORDER BY ts DESC, seq DESC LIMIT 1
        ) m ON true
        WHERE i.ended_at IS NULL
    )
    SELECT clock_timestamp() AS at, (SELECT count(*) FROM conversations) AS conversations,
           count(*) AS active_instances,
           count(*) FILTER (WHERE status = 'quarantined') AS quarantined_instances,
           (SELECT count(*) FROM messages
            WHERE created_at > clock_timestamp() - interval '1 hour') AS messages_last_hour,
           count(*) FILTER (WHERE num_nonnulls(ccc, phi, trust, emergence) > 0) AS measured,
           avg(ccc) AS ccc, avg(phi) AS phi, avg(trust) AS trust, avg(emergence) AS emergence,
           avg(from_others) AS drift, max(from_others) AS max_drift
    FROM alive
"""
