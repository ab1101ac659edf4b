"""How the cluster is, for whoever operates it: no secrets, no content, nobody's name but the nodes'."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict

from fastapi import APIRouter, Depends, Request

from ccn import errors
from ccn.gateway.http import auth, problems, schemas
from ccn.gateway.http.conversations.context import Talk
from ccn.node.views.cluster_status import Status

Tell = Callable[[], Awaitable[Status]]


def routes(tell: Tell | None) -> APIRouter:
    """The one page that says who is here, who leads, and what the last round came to."""
    router = problems.router(tags=["cluster"], dependencies=[Depends(auth.onlooker)])

    @router.get("/status")
    async def get_status(request: Request) -> schemas.Status:
        """Nodes, leader, term, height, the last round, and what waits to be sealed."""
        if tell is None:
            raise errors.Unavailable("this node takes no part in rounds")
        talking: Talk | None = request.app.state.talk
        trouble = talking.model.trouble if talking is not None else None
        told = (
            None if trouble is None else {key: getattr(trouble, key) for key in schemas.Retry.model_fields}
        )
        return schemas.Status.model_validate(asdict(await tell()) | {"model": told})

    return router
