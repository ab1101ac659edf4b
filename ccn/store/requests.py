"""What operators ask of whoever leads. A row waits until the leader of the day answers it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

from ccn.store import terms
from ccn.store.pool import Pool

ROUND = "round"
"""Hold a round now."""


async def ask(pool: Pool, request: UUID, command: str, by: str) -> None:
    """Ask; the same request again changes nothing."""
    await pool.rows(_ASK, request, command, by)


async def waiting(pool: Pool, command: str) -> list[UUID]:
    """What was asked and has no answer yet."""
    return [row["id"] for row in await pool.rows(_WAITING, command)]


async def answer(pool: Pool, term: int, asked: Sequence[UUID], outcome: Mapping[str, object]) -> None:
    """The outcome, for all who asked before it began; only the leader of the term answers."""
    if asked:
        async with terms.led(pool, term) as connection:
            await connection.execute(_ANSWER, list(asked), dict(outcome))


async def outcome(pool: Pool, request: UUID) -> Mapping[str, object] | None:
    """What came of a request; None while it waits."""
    found: Mapping[str, object] | None = await pool.value(_OUTCOME, request)
    return found


_ASK = "INSERT INTO operator_requests (id, command, asked_by) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING"
_WAITING = "SELECT id FROM operator_requests WHERE answered_at IS NULL AND command = $1 ORDER BY asked_at"
_ANSWER = """
    UPDATE operator_requests SET answered_at = clock_timestamp(), outcome = $2
    WHERE id = ANY ($1::uuid[]) AND answered_at IS NULL
"""
_OUTCOME = "SELECT outcome FROM operator_requests WHERE id = $1"
