"""How many open conversations and living instances each user may have, and has.

The triggers in `schema/` refuse one too many, under the lock of the user's row. A batch first locks the
rows of all users whom it concerns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ccn.core.ids import UserId
from ccn.store.connection.pool import Connection, Pool


@dataclass(frozen=True, slots=True)
class Quota:
    """How much a user may have at once, or has."""

    conversations: int
    instances: int


async def count_used(pool: Pool, owner: UserId) -> Quota:
    """Count what a user has now. Others may add to it at the same time, which the triggers see."""
    row = await pool.row(_OF_OWNER, owner)
    assert row is not None, "counts are always there"
    return Quota(row["conversations"], row["instances"])


async def set_and_lock(connection: Connection, allowed: Mapping[UserId, Quota]) -> None:
    """Store the quotas of these users, and lock the rows until the transaction ends."""
    most = allowed.values()
    await connection.execute(
        _SET, list(allowed), [each.conversations for each in most], [each.instances for each in most]
    )


_OF_OWNER = """
    SELECT (SELECT count(*) FROM conversations WHERE owner_id = $1 AND status = 'open') AS conversations,
           (SELECT count(*) FROM instance_registry WHERE owner_id = $1 AND ended_at IS NULL) AS instances
"""
# A row with the same values is not written again, but it is locked.
_SET = """
    INSERT INTO quotas AS q (owner_id, conversations, instances)
    SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::bigint[]) AS new (owner_id, conversations, instances)
    ORDER BY owner_id
    ON CONFLICT (owner_id) DO UPDATE
    SET conversations = EXCLUDED.conversations, instances = EXCLUDED.instances
    WHERE (q.conversations, q.instances) IS DISTINCT FROM (EXCLUDED.conversations, EXCLUDED.instances)
"""
