"""What operators do through this door: see every instance, and have a round held now."""

from __future__ import annotations

import asyncio
import secrets
import uuid
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response

from ccn.core.ids import InstanceId
from ccn.gateway.accounts.access import Caller
from ccn.gateway.http import auth, paging, problems
from ccn.gateway.http.conversations import context, presenters, schemas
from ccn.gateway.http.conversations.context import ConversationContext
from ccn.gateway.http.conversations.routes import Key
from ccn.store.connection.pool import Pool
from ccn.store.conversations import instances
from ccn.store.operators import requests
from ccn.store.operators.requests import Body

Admin = Annotated[Caller, Depends(auth.require_admin)]
Talking = Annotated[ConversationContext, Depends(context.get_context)]

_KEYS = UUID("5d0c0c58-9b6e-4a35-9a0e-3c1c2f0c7b52")
"""The name space of requests that were made under an idempotency key."""
_LOOK_S = 0.05


def make_router() -> APIRouter:
    """For admins only."""
    router = problems.new_router(prefix="/api/v1/admin", tags=["admin"])

    @router.get("/instances")
    async def list_instances(
        caller: Admin, talking: Talking, cursor: paging.Cursor = None, limit: paging.Limit = 50
    ) -> schemas.InstancesAnswer:
        """Every instance that is alive, on all nodes, in the order of spawning."""
        del caller
        after = None if (named := paging.id_from_cursor(cursor)) is None else InstanceId(named)
        found = await instances.list_page(talking.pool, None, after, limit + 1)
        return schemas.InstancesAnswer(
            instances=tuple(map(presenters.instance_to_entry, found[:limit])),
            next=paging.cursor_from_id(found[limit - 1].id) if len(found) > limit else None,
        )

    @router.post(
        "/consensus/force",
        responses={
            202: {"model": schemas.ForcedRoundAnswer, "description": "Asked; nobody has answered yet."}
        },
    )
    async def force_round(
        *,
        caller: Admin,
        talking: Talking,
        response: Response,
        wait_s: Annotated[
            float, Query(ge=0, le=60, description="How long to wait for what came of it.")
        ] = 20,
        key: Key = None,
    ) -> schemas.ForcedRoundAnswer:
        """Have the leader hold a round now. What was asked is in the record, and what came of it.

        A round that fails is an answer too. With 202 nobody has answered yet; the leader will, once there
        is one; the same `Idempotency-Key` again waits for the same answer.
        """
        name = f"{caller.user}/{key or secrets.token_hex(16)}"
        request = uuid.uuid5(_KEYS, name)
        await requests.add_request(talking.pool, request, requests.ROUND, caller.name)
        outcome = await _wait_for_outcome(talking.pool, request, wait_s)
        if outcome is None:
            response.status_code = 202
            return schemas.ForcedRoundAnswer(request_id=request, answered=False)
        if (refused := requests.outcome_to_error(outcome)) is not None:
            raise refused
        return schemas.ForcedRoundAnswer.model_validate(
            {"request_id": request, "answered": True}
            | {name: outcome[name] for name in _TOLD if outcome.get(name) is not None}
        )

    return router


async def _wait_for_outcome(pool: Pool, request: UUID, within_s: float) -> Body | None:
    clock = asyncio.get_running_loop().time
    until = clock() + within_s
    while (outcome := await requests.load_outcome(pool, request)) is None and clock() < until:  # noqa: ASYNC110
        await asyncio.sleep(_LOOK_S)  # what is waited for is a row, not an event
    return outcome


_TOLD = ("committed", "height", "term", "reason", "votes")
