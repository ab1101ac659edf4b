"""What was measured of the character in one conversation, for its owner and for operators."""

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
    """The measures of one conversation. None means that it could not be estimated yet."""

    conversation: StoredConversation
    instance: Instance | None
    measure: ConversationMeasure | None
    """The measure of this conversation, or else of another one of the character, which shares some of
    it."""
    character: VectorState | None
    relation: VectorState | None
    drift: float | None


async def load_health(pool: Pool, conversation: StoredConversation) -> ConversationHealth:
    """Load the health of a conversation as it is now."""
    instance, measure, character, relation = await asyncio.gather(
        instances.find_in_conversation(pool, conversation.id),
        measures.load_latest(pool, conversation.id),
        vectors.load_latest(pool, conversation.id),
        vectors.load_relational(pool, conversation.id),
    )
    if measure is None:
        measure = await measures.load_of_character(pool, conversation.character)
    distance = instance.drift if instance is not None else None
    if distance is None and character is not None:
        distance = await _drift_from_agreement(pool, conversation.character, character)
    return ConversationHealth(conversation, instance, measure, character, relation, distance)


async def _drift_from_agreement(pool: Pool, character: CharacterId, state: VectorState) -> float | None:
    """Measure how far a state is from the last agreed median, if no round measured its instance."""
    newest = await agreements.load_medians(pool, character, last=1)
    if not newest:
        return None
    row = np.array([[MISSING if v is None else v for v in state.vector.millionths]], dtype=np.int32)
    return float(drift.measure_distances(row, newest[0].median.millionths)[0]) / UNIT
