"""What operators ask for over HTTP: the same requests as on the command line, and the rounds to look at.

Separate from `cluster`, which anybody may read and which changes nothing.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID, uuid4

from fastapi import APIRouter, Body, Depends, Header, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from ccn import errors
from ccn.core.ids import NodeId
from ccn.gateway.accounts.access import Caller
from ccn.gateway.http import auth, problems
from ccn.node.operators import submission
from ccn.node.views import round_history
from ccn.store.connection.pool import Pool
from ccn.store.operators import drains

Admin = Annotated[Caller, Depends(auth.require_admin)]
NodeName = Annotated[str, Path(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]


class CommandRequest(BaseModel):
    """Something an operator wants."""

    model_config = ConfigDict(extra="forbid")

    command: Literal["round", "drain", "validators", "redact", "plate", "release"] = Field(
        description="As on the command line.", examples=["round"]
    )
    body: dict[str, Any] = Field(default={}, description="What the command needs to know.", examples=[{}])
    node: str | None = Field(
        default=None,
        pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$",
        description="The node that is to do it; whoever may if not given.",
        examples=[None],
    )
    by: str = Field(
        default="",
        max_length=100,
        description="Who asks, beside the name of the account.",
        examples=["ada"],
    )


class OutcomeAnswer(BaseModel):
    """What came of a request; what it holds depends on the command."""

    request: UUID
    outcome: dict[str, Any]


class RequestAnswer(BaseModel):
    """A request as it stands."""

    request: UUID
    command: str
    body: dict[str, Any] = Field(description="What was asked for, without the text of a plate.")
    node: str | None
    by: str
    asked_at: datetime
    state: Literal["waiting", "taken back", "answered"]
    at_it: str | None = Field(description="The node that is at it just now.")
    answered_at: datetime | None = Field(description="When the record got its answer.")
    error: str | None
    outcome: dict[str, Any] | None


class RequestsAnswer(BaseModel):
    """The newest requests, the newest first."""

    requests: list[RequestAnswer]


class RoundsAnswer(BaseModel):
    """The newest rounds, the newest first."""

    rounds: list[dict[str, Any]]


class ValidatorsAnswer(BaseModel):
    """Every node that ever ran here, and whether it votes."""

    nodes: list[dict[str, Any]]


class NodeLoadAnswer(BaseModel):
    """What still ties a node to its cluster."""

    draining: bool
    leads: bool
    instances: int
    unsealed: int
    empty: bool


def make_router() -> APIRouter:
    """Requests, rounds, and what a node still carries."""
    router = problems.new_router(prefix="/api/v1/admin", tags=["operating"])

    @router.post("/requests")
    async def ask_cluster(
        pool: Annotated[Pool, Depends(_require_pool)],
        caller: Admin,
        asked: Annotated[CommandRequest, Body()],
        idempotency_key: Annotated[UUID | None, Header()] = None,
    ) -> OutcomeAnswer:
        """Ask, wait, and answer with what came of it. The same key again is the same request."""
        named = idempotency_key or uuid4()
        node = None if asked.node is None else NodeId(asked.node)
        by = f"{caller.name} ({asked.by})" if asked.by else caller.name
        found = await submission.ask_and_wait(pool, named, asked.command, by, body=asked.body, node=node)
        return OutcomeAnswer(request=named, outcome=dict(found))

    @router.get("/requests")
    async def list_requests(
        pool: Annotated[Pool, Depends(_require_pool)],
        _: Admin,
        limit: Annotated[int, Query(ge=1, le=1000)] = 20,
        ended: Annotated[bool, Query(description="Also those that have their answer.")] = True,
    ) -> RequestsAnswer:
        """What operators asked for, changes of accounts among it; the newest first."""
        found = await submission.list_newest(pool, limit, ended=ended)
        return RequestsAnswer(requests=[RequestAnswer.model_validate(each) for each in found])

    @router.delete("/requests/{request}")
    async def take_back_request(
        pool: Annotated[Pool, Depends(_require_pool)],
        caller: Admin,
        request: UUID,
        by: Annotated[str, Query(max_length=100)] = "",
        reason: Annotated[str, Query(max_length=500)] = "",
    ) -> RequestAnswer:
        """Take a request back that nobody has begun, and seal that. 409 if it is too late."""
        whom = f"{caller.name} ({by})" if by else caller.name
        return RequestAnswer.model_validate(await submission.take_back(pool, request, whom, reason))

    @router.get("/rounds")
    async def list_rounds(
        pool: Annotated[Pool, Depends(_require_pool)],
        _: Admin,
        limit: Annotated[int, Query(ge=1, le=1000)] = 20,
    ) -> RoundsAnswer:
        """The newest rounds, committed or failed."""
        return RoundsAnswer(rounds=await round_history.load_log(pool, limit))

    @router.get("/rounds/{height}")
    async def get_round(
        pool: Annotated[Pool, Depends(_require_pool)],
        _: Admin,
        height: Annotated[int, Path(ge=1, le=2**53)],
    ) -> dict[str, Any]:
        """One block: who reported, who voted, and what was agreed."""
        return await round_history.load_block(pool, height)

    @router.get("/validators")
    async def list_validators(pool: Annotated[Pool, Depends(_require_pool)], _: Admin) -> ValidatorsAnswer:
        """Every node that ever ran here: whether it votes, its last vote, and what of it is unsealed."""
        return ValidatorsAnswer(nodes=await round_history.load_voters(pool))

    @router.get("/nodes/{node}/load")
    async def get_node_load(
        pool: Annotated[Pool, Depends(_require_pool)], _: Admin, node: NodeName
    ) -> NodeLoadAnswer:
        """What still ties a node to its cluster: nothing is lost when an empty one goes."""
        left = await drains.load_of_node(pool, NodeId(node))
        return NodeLoadAnswer(
            draining=left.draining,
            leads=left.leads,
            instances=left.instances,
            unsealed=left.unsealed,
            empty=left.empty,
        )

    return router


def _require_pool(request: Request) -> Pool:
    found = auth.get_context(request).pool
    if found is None:
        raise errors.Unavailable("this node keeps no record")
    return found
