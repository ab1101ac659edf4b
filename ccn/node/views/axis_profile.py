"""The state of one conversation's character on each axis, beside what it is compared with.

There are two references, because each misses something. The median moves along when all instances drift
together. The figures of the plate never move, but they are only what its author wanted. A third reference,
the charter, is how the character answers under its plate alone. It and the instance's own past are in
`drift_review`.
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
    """The state and its references. None means unknown, or not for this person to know.

    Unknown means that nothing was scored, that no round was held, or that the plate has no figures.
    """

    state: Vector | None
    agreed: Vector | None
    written: Vector | None
    """The figures of the plate."""
    from_written: float | None
    """How far the state is from these figures, over the axes that both have."""
    height: int | None
    """The block that holds what was agreed."""


async def load_profile(pool: Pool, conversation: StoredConversation) -> AxisProfile:
    """Load the profile as it is now."""
    state, (height, median), current = await asyncio.gather(
        vectors.load_latest(pool, conversation.id),
        _load_agreed(pool, conversation),
        characters.load_plate(pool, conversation.character),
    )
    vector, written = None if state is None else state.vector, plate.parse_plate(current.content).baseline
    from_written = (
        None
        if vector is None or written is None
        else references.measure_distance(_vector_to_row(vector), _vector_to_row(written))
    )
    return AxisProfile(vector, median, written, from_written, height)


def _vector_to_row(vector: Vector) -> references.Row:
    return np.array(vector.scores(), dtype=np.float64)


async def _load_agreed(pool: Pool, conversation: StoredConversation) -> tuple[int | None, Vector | None]:
    """Load the median of this character in the newest block, if the block has one that may be shown.

    The median of only a few owners would show how the character is with one of them. So it is shown if
    there are enough owners, or if all of its instances are of the owner of this conversation.
    """
    height, character = await blocks.load_height(pool), conversation.character
    for line in await blocks.load_results(pool, height or 0):
        agreed = json.loads(line)
        if agreed["character"] == character and (
            agreed.get("owners", 0) >= result.SHARED
            or await agreements.is_of_one_owner(pool, height or 0, character, conversation.owner)
        ):
            return height, Vector(tuple(agreed["median"]))
    return height, None
