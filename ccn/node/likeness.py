"""Where one conversation's character stands on each axis, beside what it is compared with.

Three references, because each is blind to something: the median follows when everybody drifts together,
the charter never follows, and the past of the instance is in its metrics.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass

from ccn.core import plate
from ccn.core.character import Vector
from ccn.core.ids import CharacterId
from ccn.store import characters, rounds, vectors
from ccn.store.conversations import Conversation
from ccn.store.pool import Pool


@dataclass(frozen=True, slots=True)
class Likeness:
    """What is None is not known: nothing was scored, no round was held, the plate gives no figures."""

    state: Vector | None
    agreed: Vector | None
    charter: Vector | None
    height: int | None
    """The block that holds what was agreed."""


async def of(pool: Pool, conversation: Conversation) -> Likeness:
    """As the database has it now."""
    state, (height, agreed), written = await asyncio.gather(
        vectors.latest(pool, conversation.id),
        _agreed(pool, conversation.character),
        characters.plate(pool, conversation.character),
    )
    charter = plate.read(written.content).baseline
    return Likeness(None if state is None else state.vector, agreed, charter, height)


async def _agreed(pool: Pool, character: CharacterId) -> tuple[int | None, Vector | None]:
    """The newest median of this character; a block in which nobody reported an instance has none."""
    height = await rounds.height(pool)
    for line in await rounds.results(pool, height or 0):
        result = json.loads(line)
        if result["character"] == character:
            return height, Vector(tuple(result["median"]))
    return height, None
