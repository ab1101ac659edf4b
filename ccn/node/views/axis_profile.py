"""Where one conversation's character stands on each axis, beside what it is compared with.

Two references, because each is blind to something: the median follows when everybody drifts together, and
what is written in the plate never follows but is what somebody wished for. A third one, the charter, is how
the plate alone makes the character answer; it and the instance's own past are in `drift_review`.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass

import numpy as np

from ccn.core.axes import Vector
from ccn.core.chain import result
from ccn.core.character import references
from ccn.core.prompts import plate
from ccn.store.character import vectors
from ccn.store.connection.pool import Pool
from ccn.store.conversations import characters
from ccn.store.conversations.conversations import StoredConversation
from ccn.store.rounds import agreements, blocks


@dataclass(frozen=True, slots=True)
class AxisProfile:
    """What is None is not known: nothing was scored, no round was held, the plate has no figures. Or it is
    not this person's to know.
    """

    state: Vector | None
    agreed: Vector | None
    written: Vector | None
    """The figures of the plate."""
    from_written: float | None
    """How far the state is from them, over the axes that both have."""
    height: int | None
    """The block that holds what was agreed."""


async def load_profile(pool: Pool, conversation: StoredConversation) -> AxisProfile:
    """As the database has it now."""
    state, (height, middle), current = await asyncio.gather(
        vectors.load_latest(pool, conversation.id),
        _load_agreed(pool, conversation),
        characters.load_plate(pool, conversation.character),
    )
    here, written = None if state is None else state.vector, plate.parse_plate(current.content).baseline
    away = (
        None
        if here is None or written is None
        else references.measure_distance(_vector_to_row(here), _vector_to_row(written))
    )
    return AxisProfile(here, middle, written, away, height)


def _vector_to_row(vector: Vector) -> references.Row:
    return np.array(vector.scores(), dtype=np.float64)


async def _load_agreed(pool: Pool, conversation: StoredConversation) -> tuple[int | None, Vector | None]:
    """The newest median of this character; a block in which nobody reported an instance has none.

    One that is of few people tells how the character was with a stranger; of oneself alone it may.
    """
    height, named = await blocks.load_height(pool), conversation.character
    for line in await blocks.load_results(pool, height or 0):
        said = json.loads(line)
        if said["character"] == named and (
            said.get("owners", 0) >= result.SHARED
            or await agreements.is_of_one_owner(pool, height or 0, named, conversation.owner)
        ):
            return height, Vector(tuple(said["median"]))
    return height, None
