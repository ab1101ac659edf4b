"""The routes by which a node describes itself: health, readiness, metrics, and the reference of its API."""

from __future__ import annotations

import os
from functools import cache
from typing import Annotated

import orjson
from fastapi import APIRouter, FastAPI, Header
from fastapi.responses import Response

import ccn
from ccn import metrics
from ccn.gateway import readiness
from ccn.gateway.http import problems, schemas
from ccn.gateway.http.cached_bodies import CachedBody, FreshBodies
from ccn.gateway.http.docs import reference

_NO_SCRIPTS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}


def make_router(app: FastAPI, node: str, ready: readiness.Readiness) -> APIRouter:
    """Make the routes that need no account."""
    router = problems.new_router(tags=["system"])
    metrics_pages = FreshBodies(lambda content_type: metrics.series.render_page(content_type)[0])

    @cache
    def encode_document() -> CachedBody:
        return CachedBody(orjson.dumps(app.openapi()), "application/json")

    @cache
    def encode_reference() -> CachedBody:
        return CachedBody(reference.render_page(app.openapi()).encode(), "text/html; charset=utf-8")

    @router.get("/health")
    async def get_health() -> schemas.LivenessAnswer:
        """Show whether this process is alive. It asks no neighbour: restart the node only if this fails."""
        return schemas.LivenessAnswer(node=node, version=ccn.__version__)

    @router.get("/ready", responses={503: {"model": schemas.ReadyAnswer, "description": "Not now"}})
    async def get_readiness(response: Response) -> schemas.ReadyAnswer:
        """Show whether this node can serve now, and for each check why it fails."""
        response.status_code = 200 if ready.ready else 503
        return schemas.ReadyAnswer(
            ready=ready.ready,
            node=node,
            pid=os.getpid(),
            checks=tuple(
                schemas.ReadyCheck(
                    name=check.name, passes=check.passes, needed=check.needed, reason=check.reason
                )
                for check in ready.checks
            ),
        )

    @router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    async def get_metrics(accept: Annotated[str, Header()] = "") -> Response:
        """Show every series, for Prometheus."""
        content_type = metrics.series.choose_content_type(accept)
        return Response(metrics_pages.get_body(content_type), headers={"Content-Type": content_type})

    @router.get("/openapi.json", include_in_schema=False)
    async def get_document(if_none_match: Annotated[str, Header()] = "") -> Response:
        return encode_document().make_response(if_none_match)

    @router.get("/docs", include_in_schema=False)
    async def get_reference(if_none_match: Annotated[str, Header()] = "") -> Response:
        return encode_reference().make_response(if_none_match, headers=_NO_SCRIPTS)

    return router
