"""How the character is in one conversation: what was measured of it, for whoever looks after it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import numpy as np

from ccn.core.axes import UNIT
from ccn.core.chain import drift
from ccn.core.chain.median import MISSING
from ccn.core.ids import CharacterId
from ccn.store.character import measures, vectors
from ccn.store.character.measures import ConversationMeasure
from ccn.store.character.vectors import VectorState
from ccn.store.connection.pool import Pool
from ccn.store.conversations import instances
from ccn.store.conversations.conversations import StoredConversation
from ccn.store.conversations.instances import Instance
from ccn.store.rounds import agreements


@dataclass(frozen=True, slots=True)
class ConversationHealth:
    """What is None could not be estimated yet."""

    conversation: StoredConversation
    instance: Instance | None
    measure: ConversationMeasure | None
    """Of this conversation, or else of another one of the character: then what they share still counts."""
    character: VectorState | None
    relation: VectorState | None
    drift: float | None


async def load_health(pool: Pool, conversation: StoredConversation) -> ConversationHealth:
    """As the database has it now."""
    here = conversation.id
    instance, measure, character, relation = await asyncio.gather(
        instances.find_in_conversation(pool, here),
        measures.load_latest(pool, here),
        vectors.load_latest(pool, here),
        vectors.load_relational(pool, here),
    )
    if measure is None:
        measure = await measures.load_of_character(pool, conversation.character)
    drifted = instance.drift if instance is not None else None
    if drifted is None and character is not None:
        drifted = await _drift_from_agreement(pool, conversation.character, character)
    return ConversationHealth(conversation, instance, measure, character, relation, drifted)


async def _drift_from_agreement(pool: Pool, character: CharacterId, state: VectorState) -> float | None:
    """How far a state is from what the cluster agreed on last, for one that no round counted itself."""
    newest = await agreements.load_medians(pool, character, last=1)
    if not newest:
        return None
    row = np.array([[MISSING if v is None else v for v in state.vector.millionths]], dtype=np.int32)
    return float(drift.measure_distances(row, newest[0].median.millionths)[0]) / UNIT
