"""What was done about instances that seemed out of character, with the figures that led to each step."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from ccn.core.ids import CharacterId, ConversationId, InstanceId
from ccn.store.connection.pool import Pool, Record

NOTE, CLEARED, RELEASED = "note", "cleared", "released"


@dataclass(frozen=True, slots=True)
class RestorationStep:
    """One step. `distance` and `threshold` are the alarm's for a note, and the confirmation's after it."""

    instance: InstanceId
    at: datetime
    step: str
    reason: str
    by: str
    distance: float | None = None
    threshold: float | None = None


async def keep_step(pool: Pool, step: RestorationStep) -> None:
    """Keep a step after all earlier ones of its instance."""
    await pool.rows(
        _KEEP, step.instance, step.at, step.step, step.reason, step.by, step.distance, step.threshold
    )


async def keep_step_within(
    pool: Pool, step: RestorationStep, character: CharacterId, since: datetime, most: int
) -> bool:
    """Keep a step only while fewer than `most` of a character were touched since a moment.

    One at a time for a character, whichever node asks: nodes that look at once see each other's steps.
    """
    async with pool.transaction() as connection:
        await connection.execute(_ONE_AT_A_TIME, character)
        if await connection.fetchval(_TOUCHED, character, since) >= most:
            return False
        await connection.execute(
            _KEEP, step.instance, step.at, step.step, step.reason, step.by, step.distance, step.threshold
        )
    return True


async def list_of_instance(pool: Pool, instance: InstanceId) -> list[RestorationStep]:
    """Everything done about an instance, in order."""
    return [_step_from_row(row) for row in await pool.rows(_OF_INSTANCE, instance)]


async def list_of_conversation(pool: Pool, instance: InstanceId) -> list[RestorationStep]:
    """Everything done about an instance and those before it in its conversation, in order."""
    return [_step_from_row(row) for row in await pool.rows(_OF_CONVERSATION, instance)]


async def load_checks(pool: Pool, conversation: ConversationId) -> list[bool]:
    """What was checked about a conversation's instances, in order: interviews, and what alarms led to."""
    return [row["passed"] for row in reversed(await pool.rows(_CHECKS, conversation))]


def _step_from_row(row: Record) -> RestorationStep:
    return RestorationStep(
        row["instance_id"],
        row["at"],
        row["step"],
        row["reason"],
        row["by"],
        row["distance"],
        row["threshold"],
    )


_KEEP = """
    INSERT INTO restorations (instance_id, number, at, step, reason, by, distance, threshold)
    SELECT $1, coalesce(max(number), 0) + 1, $2, $3, $4, $5, $6, $7 FROM restorations WHERE instance_id = $1
"""
_ONE_AT_A_TIME = "SELECT pg_advisory_xact_lock(hashtextextended('ccn/restoring/' || $1::text, 0))"
_OF_INSTANCE = """
    SELECT instance_id, at, step, reason, by, distance, threshold FROM restorations
    WHERE instance_id = $1 ORDER BY number
"""
_OF_CONVERSATION = """
    SELECT r.instance_id, r.at, r.step, r.reason, r.by, r.distance, r.threshold
    FROM instance_registry i JOIN instance_registry other USING (conversation_id)
        JOIN restorations r ON r.instance_id = other.id
    WHERE i.id = $1 ORDER BY r.at, other.spawned_at, r.number
"""
_CHECKS = """
    SELECT passed FROM (
        SELECT spawned_at AS at, (validation->>'passed')::boolean AS passed FROM instance_registry
        WHERE conversation_id = $1 AND validation ? 'passed'
        UNION ALL
        SELECT r.at, r.step = 'cleared'
        FROM restorations r JOIN instance_registry i ON i.id = r.instance_id
        WHERE i.conversation_id = $1 AND r.step NOT IN ('note', 'released')
    ) AS checked
    ORDER BY at DESC LIMIT 100
"""
_TOUCHED = """
    SELECT count(DISTINCT i.conversation_id)
    FROM restorations r JOIN instance_registry i ON i.id = r.instance_id
    WHERE i.character_id = $1 AND r.at >= $2 AND r.step IN ('re-anchor', 're-initialise', 'quarantine')
"""
