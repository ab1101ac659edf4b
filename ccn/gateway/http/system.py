"""What a node says about itself: alive, ready, its metrics, its reference, and a pointer to all of them."""

from __future__ import annotations

import html
import os
from typing import Annotated

from fastapi import APIRouter, FastAPI, Header
from fastapi.responses import HTMLResponse, Response

import ccn
from ccn import metrics
from ccn.gateway import readiness
from ccn.gateway.http import reference, schemas

NOTICE = (
    "This is software, an AI system. Whoever seems to speak here is a character played by a language model."
)

_LINKS = {
    "health": "/health",
    "ready": "/ready",
    "metrics": "/metrics",
    "docs": "/docs",
    "openapi": "/openapi.json",
}
_NO_SCRIPTS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}


def routes(app: FastAPI, node: str, ready: readiness.Readiness) -> APIRouter:
    """The routes that need no character, no conversation and no account."""
    router = APIRouter(tags=["system"])

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
                schemas.Check(name=c.name, passes=c.passes, reason=c.reason) for c in ready.checks
            ),
        )

    @router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    async def series(accept: Annotated[str, Header()] = "") -> Response:
        """Every series, for Prometheus."""
        body, content_type = metrics.page(accept)
        return Response(body, headers={"Content-Type": content_type})

    @router.get("/", response_model=schemas.Pointer, responses={200: {"content": {"text/html": {}}}})
    async def pointer(accept: Annotated[str, Header()] = "") -> Response:
        """What answers here, for a browser or a program."""
        here = schemas.Pointer(notice=NOTICE, node=node, version=ccn.__version__, links=_LINKS)
        headers = {"Vary": "Accept"}
        if "text/html" in accept:
            return HTMLResponse(_front(here), headers=headers | _NO_SCRIPTS)
        return Response(here.model_dump_json(), media_type="application/json", headers=headers)

    @router.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(reference.page(app.openapi()), headers=_NO_SCRIPTS)

    return router


def _front(here: schemas.Pointer) -> str:
    links = "".join(f"<li><a href='{path}'>{name}</a>" for name, path in here.links.items())
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><title>CCN</title>"
        "<style>body{font:16px/1.5 system-ui,sans-serif;max-width:40rem;margin:3rem auto;padding:0 1rem}"
        ":root{color-scheme:light dark}</style>"
        f"<h1>CCN</h1><p>{html.escape(here.notice)}</p>"
        f"<p>Node {html.escape(here.node)}, version {html.escape(here.version)}.</p><ul>{links}</ul></html>"
    )
