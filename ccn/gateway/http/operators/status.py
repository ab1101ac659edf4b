"""How the cluster is, for whoever operates it: no secrets, no content, nobody's name but the nodes'."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict

from fastapi import APIRouter, Depends, Request

from ccn import errors
from ccn.gateway.http import auth, problems, schemas
from ccn.gateway.http.conversations.context import ConversationContext
from ccn.node.views.cluster_status import ClusterStatus

LoadStatus = Callable[[], Awaitable[ClusterStatus]]


def make_router(tell: LoadStatus | None) -> APIRouter:
    """The one page that says who is here, who leads, and what the last round came to."""
    router = problems.new_router(tags=["cluster"], dependencies=[Depends(auth.admit_onlooker)])

    @router.get("/status")
    async def get_status(request: Request) -> schemas.StatusAnswer:
        """Nodes, leader, term, height, the last round, and what waits to be sealed."""
        if tell is None:
            raise errors.Unavailable("this node takes no part in rounds")
        talking: ConversationContext | None = request.app.state.talk
        trouble = talking.model.trouble if talking is not None else None
        told = (
            None
            if trouble is None
            else {key: getattr(trouble, key) for key in schemas.StatusRetry.model_fields}
        )
        return schemas.StatusAnswer.model_validate(asdict(await tell()) | {"model": told})

    return router
