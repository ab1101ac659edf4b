"""Submitting a request of an operator, and waiting for its outcome.

A request is a row. It stays when its caller gives up waiting, and a node answers it as soon as one can.
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
_OUTCOME_POLL_S = 0.1


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
    """Submit a request and return its outcome, or raise the error with which it was refused.

    Submitting the same request again adds nothing.
    """
    await requests.add_request(pool, request, command, by, body or {}, node=node)
    return await wait_for_outcome(pool, request, node, patience_s)


async def force_round(pool: Pool, request: UUID, by: str, patience_s: float = PATIENCE_S) -> Body:
    """Have the leader run a round now, and return its outcome, also if the round fails."""
    return await ask_and_wait(pool, request, requests.ROUND, by, patience_s=patience_s)


async def wait_for_outcome(
    pool: Pool, request: UUID, node: NodeId | None, patience_s: float = PATIENCE_S
) -> Body:
    """Wait for the outcome of a submitted request, or raise the error with which it was refused."""
    outcome = await requests.load_outcome(pool, request)  # once before the timeout, which may be 0
    try:
        async with asyncio.timeout(patience_s):
            while outcome is None:
                await asyncio.sleep(_OUTCOME_POLL_S)
                outcome = await requests.load_outcome(pool, request)
    except TimeoutError:
        who = node or "a node"
        raise errors.Unanswered(
            f"no answer came within {patience_s:g} s; {who} will answer as soon as it can, unless "
            f"`ccn request cancel {request}` takes the request back"
        ) from None
    if (refused := requests.outcome_to_error(outcome)) is not None:
        raise refused
    return outcome


async def list_newest(pool: Pool, limit: int, *, ended: bool = True) -> list[dict[str, object]]:
    """List the newest requests for people; without those that `ended`, only those that wait."""
    return [_request_to_dict(state) for state in await requests.list_newest(pool, limit, ended=ended)]


async def take_back(
    pool: Pool, request: UUID, by: str, why: str = "", patience_s: float = SEALED_WITHIN_S
) -> dict[str, object]:
    """Take a request back, and return its state once a node answered it or `patience_s` are over.

    A leader may have begun it. Then it is answered, and the answer tells what was done.
    """
    await requests.take_back_request(pool, request, by, why)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(patience_s):
            while await requests.load_outcome(pool, request) is None:  # noqa: ASYNC110 - a row
                await asyncio.sleep(_OUTCOME_POLL_S)
    return _request_to_dict(await requests.request_state(pool, request))


def _request_to_dict(state: RequestState) -> dict[str, object]:
    request, outcome = state.request, state.outcome
    refused = None if outcome is None else requests.outcome_to_error(outcome)
    taken_back = request.taken_back_by and (outcome is None or isinstance(refused, errors.TakenBack))
    return {
        "request": str(request.id),
        "command": request.command,
        "body": {name: value for name, value in request.body.items() if name != "content"},
        "node": request.node,
        "by": request.by,
        "asked_at": request.asked_at.isoformat(),
        "state": "taken back" if taken_back else "waiting" if outcome is None else "answered",
        "at_it": state.at_it,
        "answered_at": state.answered_at.isoformat() if state.answered_at else None,
        "error": None if refused is None or taken_back else f"refused: {type(refused).__name__}",
        "outcome": outcome,
    }
