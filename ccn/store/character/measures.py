"""Metrics of conversations over time, and their hourly means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from ccn.core.ids import CharacterId, ConversationId
from ccn.store.connection.pool import NamedRow, Pool


@dataclass(frozen=True, slots=True)
class ConversationMeasure:
    """What was measured after a message; None where a measure was not estimable."""

    conversation: ConversationId
    at: datetime
    seq: int
    phi: float | None = None
    ccc: float | None = None
    trust: float | None = None
    emergence: float | None = None
    drift: float | None = None


async def keep_measures(pool: Pool, measures: Sequence[ConversationMeasure]) -> None:
    """Keep measurements; one that is there already stays as it is."""
    columns = zip(
        *[(m.conversation, m.at, m.seq, m.phi, m.ccc, m.trust, m.emergence, m.drift) for m in measures],
        strict=True,
    )
    if measures:
        await pool.rows(_KEEP, *columns)


async def load_latest(pool: Pool, conversation: ConversationId) -> ConversationMeasure | None:
    """The newest measurement of a conversation."""
    measures = await load_window(pool, conversation, last=1)
    return measures[0] if measures else None


async def load_of_character(pool: Pool, character: CharacterId) -> ConversationMeasure | None:
    """The newest of a character's latest conversations: some of it is estimated for all of them at once."""
    row = await pool.row(_OF_CHARACTER, character)
    return None if row is None else measure_from_row(row)


async def load_window(pool: Pool, conversation: ConversationId, *, last: int) -> list[ConversationMeasure]:
    """The last so many, oldest first."""
    return [measure_from_row(row) for row in reversed(await pool.rows(_WINDOW, conversation, last))]


async def load_hourly(
    pool: Pool, conversation: ConversationId, since: datetime
) -> list[ConversationMeasure]:
    """Hourly means since a moment; `seq` counts the samples of each."""
    return [measure_from_row(row) for row in await pool.rows(_HOURLY, conversation, since)]


async def load_series_key(pool: Pool) -> bytes:
    """What names the series of conversations in metrics; drawn with the schema, and never another."""
    return bytes(await pool.value("SELECT secret FROM series_key"))


async def roll_up_hours(pool: Pool, upto: datetime) -> int:
    """Bring the hourly means up to a moment; how many were written."""
    return int(await pool.value("SELECT ccn_refresh_rollups($1)", upto))


def measure_from_row(row: NamedRow) -> ConversationMeasure:
    """A row as a measure."""
    return ConversationMeasure(
        row["conversation_id"],
        row["ts"],
        row["seq"],
        row["phi"],
        row["ccc"],
        row["trust"],
        row["emergence"],
        row["drift"],
    )


_KEEP = """
    INSERT INTO consciousness_metrics (conversation_id, ts, seq, phi, ccc, trust, emergence, drift)
    SELECT * FROM unnest($1::uuid[], $2::timestamptz[], $3::bigint[], $4::float8[], $5::float8[],
                         $6::float8[], $7::float8[], $8::float8[])
    ON CONFLICT DO NOTHING
"""
COLUMNS = "conversation_id, ts, seq, phi, ccc, trust, emergence, drift"
_WINDOW = f"""
    SELECT {COLUMNS} FROM consciousness_metrics
    WHERE conversation_id = $1 ORDER BY ts DESC, seq DESC LIMIT $2
"""  # noqa: S608 - constants joined, here and below
_OF_CHARACTER = f"""
    SELECT m.* FROM (
        SELECT id FROM conversations WHERE character_id = $1 ORDER BY created_at DESC, id DESC LIMIT 20
    ) AS young CROSS JOIN LATERAL (
        SELECT {COLUMNS} FROM consciousness_metrics
        WHERE conversation_id = young.id ORDER BY ts DESC, seq DESC LIMIT 1
    ) AS m ORDER BY m.ts DESC LIMIT 1
"""  # noqa: S608
_HOURLY = """
    SELECT conversation_id, bucket AS ts, samples AS seq, phi, ccc, trust, emergence, drift
    FROM consciousness_metrics_hourly WHERE conversation_id = $1 AND bucket >= $2 ORDER BY bucket
"""
