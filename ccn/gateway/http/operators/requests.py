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

Admin = Annotated[Caller, Depends(auth.admin)]
NodeName = Annotated[str, Path(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]


class Asked(BaseModel):
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


class Outcome(BaseModel):
    """What came of a request; what it holds depends on the command."""

    request: UUID
    outcome: dict[str, Any]


class Requested(BaseModel):
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


class Requests(BaseModel):
    """The newest requests, the newest first."""

    requests: list[Requested]


class Rounds(BaseModel):
    """The newest rounds, the newest first."""

    rounds: list[dict[str, Any]]


class Validators(BaseModel):
    """Every node that ever ran here, and whether it votes."""

    nodes: list[dict[str, Any]]


class Load(BaseModel):
    """What still ties a node to its cluster."""

    draining: bool
    leads: bool
    instances: int
    unsealed: int
    empty: bool


def routes() -> APIRouter:
    """Requests, rounds, and what a node still carries."""
    router = problems.router(prefix="/api/v1/admin", tags=["operating"])

    @router.post("/requests")
    async def ask_cluster(
        pool: Annotated[Pool, Depends(_pool)],
        caller: Admin,
        asked: Annotated[Asked, Body()],
        idempotency_key: Annotated[UUID | None, Header()] = None,
    ) -> Outcome:
        """Ask, wait, and answer with what came of it. The same key again is the same request."""
        named = idempotency_key or uuid4()
        node = None if asked.node is None else NodeId(asked.node)
        by = f"{caller.name} ({asked.by})" if asked.by else caller.name
        found = await submission.outcome(pool, named, asked.command, by, body=asked.body, node=node)
        return Outcome(request=named, outcome=dict(found))

    @router.get("/requests")
    async def list_requests(
        pool: Annotated[Pool, Depends(_pool)],
        _: Admin,
        limit: Annotated[int, Query(ge=1, le=1000)] = 20,
        ended: Annotated[bool, Query(description="Also those that have their answer.")] = True,
    ) -> Requests:
        """What operators asked for, changes of accounts among it; the newest first."""
        found = await submission.newest(pool, limit, ended=ended)
        return Requests(requests=[Requested.model_validate(each) for each in found])

    @router.delete("/requests/{request}")
    async def take_back_request(
        pool: Annotated[Pool, Depends(_pool)],
        caller: Admin,
        request: UUID,
        by: Annotated[str, Query(max_length=100)] = "",
        reason: Annotated[str, Query(max_length=500)] = "",
    ) -> Requested:
        """Take a request back that nobody has begun, and seal that. 409 if it is too late."""
        whom = f"{caller.name} ({by})" if by else caller.name
        return Requested.model_validate(await submission.take_back(pool, request, whom, reason))

    @router.get("/rounds")
    async def list_rounds(
        pool: Annotated[Pool, Depends(_pool)],
        _: Admin,
        limit: Annotated[int, Query(ge=1, le=1000)] = 20,
    ) -> Rounds:
        """The newest rounds, committed or failed."""
        return Rounds(rounds=await round_history.log(pool, limit))

    @router.get("/rounds/{height}")
    async def get_round(
        pool: Annotated[Pool, Depends(_pool)],
        _: Admin,
        height: Annotated[int, Path(ge=1, le=2**53)],
    ) -> dict[str, Any]:
        """One block: who reported, who voted, and what was agreed."""
        return await round_history.block(pool, height)

    @router.get("/validators")
    async def list_validators(pool: Annotated[Pool, Depends(_pool)], _: Admin) -> Validators:
        """Every node that ever ran here: whether it votes, its last vote, and what of it is unsealed."""
        return Validators(nodes=await round_history.voters(pool))

    @router.get("/nodes/{node}/load")
    async def get_node_load(pool: Annotated[Pool, Depends(_pool)], _: Admin, node: NodeName) -> Load:
        """What still ties a node to its cluster: nothing is lost when an empty one goes."""
        left = await drains.load(pool, NodeId(node))
        return Load(
            draining=left.draining,
            leads=left.leads,
            instances=left.instances,
            unsealed=left.unsealed,
            empty=left.empty,
        )

    return router


def _pool(request: Request) -> Pool:
    found = auth.desk(request).pool
    if found is None:
        raise errors.Unavailable("this node keeps no record")
    return found
