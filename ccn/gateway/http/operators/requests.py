"""The requests of operators over HTTP, the same as on the command line, and a look at rounds and nodes.

Separate from `status`, which anybody may read and which changes nothing.
"""

from __future__ import annotations

from typing import Annotated
from uuid import UUID, uuid4

from fastapi import APIRouter, Body, Header, Path, Query

from ccn.core.ids import NodeId
from ccn.gateway.http import auth, problems
from ccn.gateway.http.operators import schemas
from ccn.node.operators import submission
from ccn.node.views import round_history
from ccn.store.operators import drains

NodeName = Annotated[str, Path(pattern=schemas.NODE)]
Limit = Annotated[int, Query(ge=1, le=1000)]


def make_router() -> APIRouter:
    """The routes for requests, rounds, validators, and what a node still carries."""
    router = problems.new_router(prefix="/api/v1/admin", tags=["operating"])

    @router.post("/requests")
    async def ask_cluster(
        caller: auth.Admin,
        deeds: auth.Requests,
        asked: Annotated[schemas.CommandRequest, Body()],
        idempotency_key: Annotated[UUID | None, Header()] = None,
    ) -> schemas.OutcomeAnswer:
        """Give the cluster a command, wait, and show the outcome.

        The same `Idempotency-Key` again is the same request.
        """
        request = idempotency_key or uuid4()
        node = None if asked.node is None else NodeId(asked.node)
        outcome = await deeds.ask_and_wait(
            caller, request, asked.command, beside=asked.by, body=asked.body, node=node
        )
        return schemas.OutcomeAnswer(request=request, outcome=dict(outcome))

    @router.get("/requests")
    async def list_requests(
        _: auth.Admin,
        pool: auth.Database,
        limit: Limit = 20,
        ended: Annotated[bool, Query(description="Include those that have their outcome.")] = True,
    ) -> schemas.RequestsAnswer:
        """List what operators asked for, changes of accounts included, the newest first."""
        listed = await submission.list_newest(pool, limit, ended=ended)
        return schemas.RequestsAnswer(requests=tuple(map(schemas.RequestAnswer.model_validate, listed)))

    @router.delete("/requests/{request}")
    async def take_back_request(
        caller: auth.Admin,
        deeds: auth.Requests,
        request: UUID,
        by: Annotated[
            str, Query(max_length=100, description="The person who asks, beside the name of the account.")
        ] = "",
        reason: Annotated[str, Query(max_length=500, description="Why; sealed in the record.")] = "",
    ) -> schemas.RequestAnswer:
        """Take back a request that no node has begun, and seal that in the record. Too late is 409."""
        return schemas.RequestAnswer.model_validate(await deeds.take_back(caller, request, by, reason))

    @router.get("/rounds", response_model_exclude_unset=True)
    async def list_rounds(_: auth.Admin, pool: auth.Database, limit: Limit = 20) -> schemas.RoundsAnswer:
        """List the newest rounds, committed or failed."""
        logged = await round_history.load_log(pool, limit)
        return schemas.RoundsAnswer(rounds=tuple(map(schemas.RoundEntry.model_validate, logged)))

    @router.get("/rounds/{height}")
    async def get_round(
        _: auth.Admin, pool: auth.Database, height: Annotated[int, Path(ge=1, le=2**53)]
    ) -> schemas.BlockAnswer:
        """Show one block: which nodes reported, which voted, and what was agreed on."""
        return schemas.BlockAnswer.model_validate(await round_history.load_block(pool, height))

    @router.get("/validators")
    async def list_validators(_: auth.Admin, pool: auth.Database) -> schemas.ValidatorsAnswer:
        """List every node that has ever run here: whether it votes, its last vote, its unsealed leaves."""
        voters = await round_history.load_voters(pool)
        return schemas.ValidatorsAnswer(nodes=tuple(map(schemas.ValidatorEntry.model_validate, voters)))

    @router.get("/nodes/{node}/load")
    async def get_node_load(_: auth.Admin, pool: auth.Database, node: NodeName) -> schemas.NodeLoadAnswer:
        """Show what a node still carries. An empty node can be stopped without a loss."""
        load = await drains.load_of_node(pool, NodeId(node))
        return schemas.NodeLoadAnswer(
            draining=load.draining,
            leads=load.leads,
            instances=load.instances,
            unsealed=load.unsealed,
            empty=load.empty,
        )

    return router
