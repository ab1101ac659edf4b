"""What operators do besides requests: list all instances, and have a round held now."""

from __future__ import annotations

import secrets
import uuid
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Response

from ccn import errors
from ccn.core.ids import InstanceId
from ccn.gateway.http import auth, paging, problems
from ccn.gateway.http.conversations import presenters
from ccn.gateway.http.conversations.context import Context
from ccn.gateway.http.conversations.routes import Key
from ccn.gateway.http.operators import schemas
from ccn.store.conversations import instances
from ccn.store.conversations.instances import Instance
from ccn.store.operators import requests

_KEYS = UUID("5d0c0c58-9b6e-4a35-9a0e-3c1c2f0c7b52")
"""The name space of requests that were made under an idempotency key."""
_SHOWN = ("committed", "height", "term", "reason", "votes")
"""What of an outcome is shown."""


def make_router() -> APIRouter:
    """The routes for instances and for a round now."""
    router = problems.new_router(prefix="/api/v1/admin", tags=["admin"])

    @router.get("/instances")
    async def list_instances(
        _: auth.Admin, context: Context, cursor: paging.Cursor = None, limit: paging.Limit = 50
    ) -> schemas.InstancesAnswer:
        """List every living instance of the cluster, in the order in which they were spawned."""
        named = paging.id_from_cursor(cursor)
        after = None if named is None else InstanceId(named)
        found = await instances.list_page(context.pool, None, after, limit + 1)
        page = found[:limit]
        return schemas.InstancesAnswer(
            instances=tuple(map(_instance_to_entry, page)),
            next=paging.cursor_from_id(page[-1].id) if len(found) > limit else None,
        )

    @router.post(
        "/consensus/force",
        responses={
            202: {
                "model": schemas.ForcedRoundAnswer,
                "description": "The request is queued; no leader has held the round yet.",
            }
        },
    )
    async def force_round(
        *,
        caller: auth.Admin,
        deeds: auth.Requests,
        response: Response,
        wait_s: Annotated[float, Query(ge=0, le=60, description="How long to wait for the outcome.")] = 20,
        key: Key = None,
    ) -> schemas.ForcedRoundAnswer:
        """Have the leader hold a round now. The request and its outcome are sealed in the record.

        The answer also says if the round failed. 202 means that no leader has held it within the time; it
        stays queued, and the same `Idempotency-Key` again waits for the same outcome.
        """
        request = uuid.uuid5(_KEYS, f"{caller.user}/{key or secrets.token_hex(16)}")
        try:
            outcome = await deeds.ask_and_wait(caller, request, requests.ROUND, patience_s=wait_s)
        except errors.Unanswered:
            response.status_code = 202
            return schemas.ForcedRoundAnswer(request_id=request, answered=False)
        return schemas.ForcedRoundAnswer.model_validate(
            {"request_id": request, "answered": True}
            | {name: outcome[name] for name in _SHOWN if outcome.get(name) is not None}
        )

    return router


def _instance_to_entry(instance: Instance) -> schemas.InstanceEntry:
    return schemas.InstanceEntry(
        session_id=instance.conversation,
        character=instance.character,
        spawned_at=instance.spawned_at,
        heartbeat_at=instance.heartbeat_at,
        **presenters.speaker_fields(instance),
    )
