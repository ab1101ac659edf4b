"""What a node says about itself: alive, ready, its metrics and its reference. The page is in page.py."""

from __future__ import annotations

import os
from typing import Annotated

from fastapi import APIRouter, FastAPI, Header
from fastapi.responses import HTMLResponse, Response

import ccn
from ccn import metrics
from ccn.gateway import readiness
from ccn.gateway.http import problems, reference, schemas

_NO_SCRIPTS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}


def routes(app: FastAPI, node: str, ready: readiness.Readiness) -> APIRouter:
    """The routes that need no character, no conversation and no account."""
    router = problems.router(tags=["system"])

    @router.get("/health")
    async def health() -> schemas.Health:
        """Whether this process is alive. It asks no neighbour: restart the node only if this fails."""
        return schemas.Health(node=node, version=ccn.__version__)

    @router.get("/ready", responses={503: {"model": schemas.Ready, "description": "Not now"}})
    async def is_ready(response: Response) -> schemas.Ready:
        """Whether this node can serve now, with each check and what stands against it."""
        response.status_code = 200 if ready.ready else 503
        return schemas.Ready(
            ready=ready.ready,
            node=node,
            pid=os.getpid(),
            checks=tuple(
                schemas.Check(name=c.name, passes=c.passes, needed=c.needed, reason=c.reason)
                for c in ready.checks
            ),
        )

    @router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    async def series(accept: Annotated[str, Header()] = "") -> Response:
        """Every series, for Prometheus."""
        body, content_type = metrics.page(accept)
        return Response(body, headers={"Content-Type": content_type})

    @router.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(reference.page(app.openapi()), headers=_NO_SCRIPTS)

    return router
