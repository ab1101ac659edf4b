"""Asking the cluster for something on somebody's behalf, and waiting for what comes of it.

Whoever gives up waiting has still asked: a request is a row, and is answered once somebody can.
"""

from __future__ import annotations

import asyncio
import contextlib
from uuid import UUID

from ccn import errors
from ccn.core.ids import NodeId
from ccn.store.connection.pool import Pool
from ccn.store.operators import requests
from ccn.store.operators.requests import Body, RequestState

PATIENCE_S = 30.0
SEALED_WITHIN_S = 5.0
"""How long to wait until a node has sealed that a request was taken back."""
_LOOK_S = 0.1


async def ask_and_wait(
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
    await requests.add_request(pool, request, command, by, body or {}, node=node)
    return await wait_for_outcome(pool, request, node, patience_s)


async def force_round(pool: Pool, request: UUID, by: str, patience_s: float = PATIENCE_S) -> Body:
    """Have the leader hold a round now, and wait for what came of it; a failed one is an answer too."""
    return await ask_and_wait(pool, request, requests.ROUND, by, patience_s=patience_s)


async def wait_for_outcome(
    pool: Pool, request: UUID, node: NodeId | None, patience_s: float = PATIENCE_S
) -> Body:
    """What came of a request that was asked, perhaps of a node; or the error that it was refused with."""
    found = await requests.load_outcome(pool, request)  # also for who does not want to wait
    try:
        async with asyncio.timeout(patience_s):
            while found is None:
                await asyncio.sleep(_LOOK_S)
                found = await requests.load_outcome(pool, request)
    except TimeoutError:
        whoever = node or "whoever may"
        raise errors.Unanswered(
            f"nobody answered within {patience_s:g} s; {whoever} will, once able to, unless "
            f"`ccn request cancel {request}` takes it back"
        ) from None
    if (refused := requests.outcome_to_error(found)) is not None:
        raise refused
    return found


async def list_newest(pool: Pool, limit: int, *, ended: bool = True) -> list[dict[str, object]]:
    """The newest requests as people look at them; without those that `ended`, what waits for an answer."""
    return [_request_to_dict(each) for each in await requests.list_newest(pool, limit, ended=ended)]


async def take_back(
    pool: Pool, request: UUID, by: str, why: str = "", patience_s: float = SEALED_WITHIN_S
) -> dict[str, object]:
    """Take it back, and how it stands when a node has sealed that or `patience_s` are over.

    A leader may have been at it: then it stands answered, and the answer tells what was done.
    """
    await requests.take_back_request(pool, request, by, why)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(patience_s):
            while await requests.load_outcome(pool, request) is None:  # noqa: ASYNC110 - a row
                await asyncio.sleep(_LOOK_S)
    return _request_to_dict(await requests.request_state(pool, request))


def _request_to_dict(each: RequestState) -> dict[str, object]:
    asked, outcome = each.request, each.outcome
    refused = None if outcome is None else requests.outcome_to_error(outcome)
    back = asked.taken_back_by and (outcome is None or isinstance(refused, errors.TakenBack))
    return {
        "request": str(asked.id),
        "command": asked.command,
        "body": {name: value for name, value in asked.body.items() if name != "content"},
        "node": asked.node,
        "by": asked.by,
        "asked_at": asked.asked_at.isoformat(),
        "state": "taken back" if back else "waiting" if outcome is None else "answered",
        "at_it": each.at_it,
        "answered_at": each.answered_at.isoformat() if each.answered_at else None,
        "error": None if refused is None or back else f"refused: {type(refused).__name__}",
        "outcome": outcome,
    }
