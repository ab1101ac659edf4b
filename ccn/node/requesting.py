"""Asking the cluster for something on somebody's behalf, and waiting for what comes of it.

Whoever gives up waiting has still asked: a request is a row, and is answered once somebody can.
"""

from __future__ import annotations

import asyncio
from uuid import UUID

from ccn import errors
from ccn.core.ids import NodeId
from ccn.store import requests
from ccn.store.pool import Pool
from ccn.store.requests import Body

PATIENCE_S = 30.0
_LOOK_S = 0.1


async def outcome(
    pool: Pool,
    request: UUID,
    command: str,
    by: str,
    *,
    body: Body | None = None,
    node: NodeId | None = None,
    patience_s: float = PATIENCE_S,
) -> Body:
    """What came of it, or the error that it was refused with. The same request again asks nothing new."""
    await requests.ask(pool, request, command, by, body or {}, node=node)
    try:
        async with asyncio.timeout(patience_s):
            while (found := await requests.outcome(pool, request)) is None:  # noqa: ASYNC110 - a row
                await asyncio.sleep(_LOOK_S)
    except TimeoutError:
        whoever = node or "whoever may"
        raise errors.Unavailable(
            f"nobody answered within {patience_s:g} s; {whoever} will, once able to (request {request})"
        ) from None
    if (refused := requests.refusal(found)) is not None:
        raise refused
    return found
