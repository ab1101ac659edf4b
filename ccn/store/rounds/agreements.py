"""What rounds agreed on about a character over time, and which instances were beyond the tolerance.

Separate from `blocks`, which stores and proves single blocks. This reads across many of them, for measures
and for people, and proves nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import numpy as np

from ccn.core.axes import UNIT, Vector
from ccn.core.chain import owner_pseudonym
from ccn.core.chain.roster import Roster
from ccn.core.ids import CharacterId, ConversationId, InstanceId, NodeId, UserId
from ccn.store.character import vectors
from ccn.store.connection.pool import Pool


@dataclass(frozen=True, slots=True)
class AgreedMedian:
    """The median of one round."""

    height: int
    at: datetime
    median: Vector


@dataclass(frozen=True, slots=True)
class RoundOutlier:
    """An instance that a round found beyond the tolerance."""

    instance: InstanceId
    character: CharacterId
    height: int
    drift: float


@dataclass(frozen=True, slots=True)
class MeasuredInstance:
    """One instance in a round: how far it was from the median, and whether several nodes reported it."""

    instance: InstanceId
    node: NodeId
    drift: float
    outlier: bool
    disputed: bool


@dataclass(frozen=True, slots=True)
class Conclusion:
    """What one round agreed on about one character."""

    character: CharacterId
    median: Vector
    instances: tuple[MeasuredInstance, ...]
    owners: int | None
    """How many owners the instances have; None if the rules did not tell owners apart."""


async def load_conclusions(pool: Pool, height: int) -> list[Conclusion]:
    """Load what a block agreed on, by character."""
    conclusions = list[Conclusion]()
    for row in await pool.rows(_RESULTS, height):
        result, character = row["said"], CharacterId(row["character_id"])
        instances = await _list_instances(pool, height, character)
        outliers, disputed = set(result["outliers"]), set(result["disputed"])
        measured = (
            MeasuredInstance(instance, node, drift / UNIT, place in outliers, place in disputed)
            for place, ((node, instance), drift) in enumerate(zip(instances, result["drift"], strict=True))
        )
        median, owners = Vector(tuple(result["median"])), result.get("owners")
        conclusions.append(Conclusion(character, median, tuple(measured), owners))
    return conclusions


async def is_of_one_owner(pool: Pool, height: int, character: CharacterId, owner: UserId | None) -> bool:
    """Return whether all instances of a character that a block counted are of this owner."""
    rows = await pool.rows(_OWNERS, height, character)
    if not rows or any(row["owners"] is None for row in rows):
        return False
    previous, owner = rows[0]["previous_hash"], owner or owner_pseudonym.NOBODY
    rosters = [Roster(character, row["packed"], row["owners"]) for row in rows]
    pseudonyms = {pseudonym for roster in rosters for pseudonym in roster.owner_pseudonyms()}
    return pseudonyms == {owner_pseudonym.make_pseudonym(previous, character, owner)}


async def load_medians(pool: Pool, character: CharacterId, *, last: int) -> list[AgreedMedian]:
    """Load the medians of the last rounds, the oldest first."""
    rows = await pool.rows(_MEDIANS, character, last)
    return [
        AgreedMedian(row["height"], row["sealed_at"], Vector(tuple(row["median"])))
        for row in reversed(rows)
    ]


async def load_states_at(
    pool: Pool, conversations: Sequence[ConversationId], moments: Sequence[datetime]
) -> dict[ConversationId, list[Vector | None]]:
    """Load the state of each conversation at each of these moments. It is None before the first state."""
    states: dict[ConversationId, list[Vector | None]] = {conversation: [] for conversation in conversations}
    for row in await pool.rows(_STATES_AT, list(conversations), list(moments)):
        states[row["conversation_id"]].append(vectors.vector_from_stored(row["vector"]))
    return states


async def list_alive_since(
    pool: Pool, character: CharacterId, since: datetime, limit: int
) -> list[ConversationId]:
    """Conversations of a character that had a state at a moment and are hosted still, the oldest first."""
    return [row["conversation_id"] for row in await pool.rows(_ALIVE_SINCE, character, since, limit)]


async def load_last_outliers(pool: Pool, after: int) -> tuple[int, list[RoundOutlier]]:
    """Load the height of the last block, and its outliers if it is above `after`.

    The places of outliers count the instances in the order of the result: by nodes' names, then by ids.
    """
    results = await pool.rows(_LAST_RESULTS, after)
    if not results:
        return await pool.value("SELECT coalesce(max(height), 0) FROM verification_chain"), []
    height, outliers = results[0]["height"], list[RoundOutlier]()
    for result in results:
        if not result["outliers"]:
            continue
        character = CharacterId(result["character_id"])
        rows = sorted(await pool.rows(_ROSTERS, height, character), key=lambda row: row["node_id"])
        ids = np.concatenate([Roster(character, row["packed"]).instance_ids() for row in rows])
        for place, drift in zip(result["outliers"], result["drifts"], strict=True):
            instance = InstanceId(UUID(bytes=ids[place].tobytes()))
            outliers.append(RoundOutlier(instance, character, height, drift / UNIT))
    return height, outliers


async def _list_instances(
    pool: Pool, height: int, character: CharacterId
) -> list[tuple[NodeId, InstanceId]]:
    """List the instances in the order of the result: by the names of nodes, then by their ids."""
    rows = sorted(await pool.rows(_ROSTERS, height, character), key=lambda row: row["node_id"])
    return [
        (NodeId(row["node_id"]), roster_row.instance)
        for row in rows
        for roster_row in Roster(character, row["packed"]).rows()
    ]


_MEDIANS = """
    SELECT b.height, b.sealed_at, convert_from(r.body, 'UTF8')::jsonb -> 'median' AS median
    FROM block_results r JOIN verification_chain b USING (height)
    WHERE r.character_id = $1 ORDER BY b.height DESC LIMIT $2
"""
_STATES_AT = """
    SELECT c.id AS conversation_id, s.vector
    FROM unnest($1::uuid[]) AS c (id) CROSS JOIN unnest($2::timestamptz[]) WITH ORDINALITY AS m (at, nth)
        LEFT JOIN LATERAL (
            SELECT vector FROM character_evolution e
            WHERE e.conversation_id = c.id AND e.ts <= m.at AND e.instance_id IS NOT NULL
            ORDER BY e.ts DESC, e.seq DESC LIMIT 1
        ) AS s ON true
    ORDER BY c.id, m.nth
"""
_ALIVE_SINCE = """
    SELECT i.conversation_id FROM instance_registry i
    WHERE i.character_id = $1 AND i.ended_at IS NULL AND i.status IN ('running', 'restoring')
          AND EXISTS (SELECT FROM character_evolution e
                      WHERE e.conversation_id = i.conversation_id AND e.ts <= $2
                            AND e.instance_id IS NOT NULL)
    ORDER BY i.spawned_at, i.id LIMIT $3
"""
_RESULTS = """
    SELECT character_id, convert_from(body, 'UTF8')::jsonb AS said FROM block_results
    WHERE height = $1 ORDER BY character_id COLLATE "C"
"""
# Places are looked up on the server: of ten thousand drifts only those of the outliers travel.
_LAST_RESULTS = """
    SELECT r.height, r.character_id, places.of AS outliers, places.drifts
    FROM block_results r
    CROSS JOIN LATERAL (SELECT convert_from(r.body, 'UTF8')::jsonb AS said) AS b
    CROSS JOIN LATERAL (
        SELECT coalesce(array_agg(place::int ORDER BY nth), '{}') AS of,
               coalesce(array_agg((b.said -> 'drift' ->> place::int)::int ORDER BY nth), '{}') AS drifts
        FROM jsonb_array_elements_text(b.said -> 'outliers') WITH ORDINALITY AS o (place, nth)
    ) AS places
    WHERE r.height = (SELECT max(height) FROM verification_chain) AND r.height > $1
"""
_OWNERS = """
    SELECT b.previous_hash, r.packed, r.owners
    FROM block_rosters r JOIN verification_chain b USING (height)
    WHERE height = $1 AND r.character_id = $2 AND length(r.packed) > 0
"""
_ROSTERS = "SELECT node_id, packed FROM block_rosters WHERE height = $1 AND character_id = $2"
