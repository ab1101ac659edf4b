"""A round because somebody at a door wants one now: asked for as operators ask for things, and waited for.

Whoever gives up waiting has still asked, and the leader holds the round once there is one.
"""

from __future__ import annotations

import asyncio
from uuid import UUID

from ccn.store import requests
from ccn.store.pool import Pool
from ccn.store.requests import Body

PATIENCE_S = 30.0
_LOOK_S = 0.1


async def force(pool: Pool, request: UUID, by: str) -> Body:
    """What came of the round. The same request again waits for the same one."""
    await requests.ask(pool, request, requests.ROUND, by)
    while (outcome := await requests.outcome(pool, request)) is None:  # noqa: ASYNC110 - a row, no event
        await asyncio.sleep(_LOOK_S)
    if (refused := requests.refusal(outcome)) is not None:
        raise refused
    return outcome
