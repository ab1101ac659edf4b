"""Puts all routes of the HTTP door together into one application.

Everything it needs arrives as an argument. Nothing here reads settings or connects to a neighbour.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.telemetry import TelemetryConfig
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

import ccn
from ccn import settings
from ccn.gateway import readiness
from ccn.gateway.http import auth, guard, head_requests, problems, request_metrics, sign_in, system
from ccn.gateway.http.anthropic import api_errors
from ccn.gateway.http.anthropic import routes as anthropic_routes
from ccn.gateway.http.conversations import axes, context, figures, glance, websocket
from ccn.gateway.http.conversations import routes as conversation_routes
from ccn.gateway.http.docs import examples, page
from ccn.gateway.http.operators import instances, requests, status
from ccn.gateway.limiting import Limiter

DESCRIPTION = (
    "Keeps one character alive across many Claude instances, and a record of it that anybody can verify. "
    "This is software, an AI system: no person answers here."
)

TAGS = [
    {
        "name": "conversations",
        "description": "Begin a conversation, say something, read the reply as it comes, read back, end.",
    },
    {"name": "anthropic", "description": "The Messages API, with characters as models."},
    {"name": "accounts", "description": "Sign in, renew a token, sign out, and show your account."},
    {
        "name": "metrics",
        "description": "Measures of characters: aggregates for anybody, your own conversations in detail.",
    },
    {"name": "cluster", "description": "The status of the cluster, for anybody."},
    {"name": "system", "description": "What probes, scrapers and browsers ask a node for."},
    {
        "name": "operating",
        "description": "For admins. POST and DELETE here **change the cluster**: which nodes vote, which "
        "take work, and what of the record's content is kept.",
    },
    {"name": "admin", "description": "For admins. A forced round **commits a block** if a quorum agrees."},
]

_CORS: dict[str, Any] = {
    "allow_methods": ["GET", "HEAD", "POST", "DELETE"],
    # We read no cookies, so a header gives a page no rights that it does not have; SDKs add many headers.
    "allow_headers": ["*"],
    "expose_headers": [
        "Location",
        "Request-Id",
        "Retry-After",
        "X-CCN-Conversation",
        "X-RateLimit-Limit",
        "X-RateLimit-Remaining",
        "X-RateLimit-Reset",
    ],
    "max_age": 600,
}

_SILENT: TelemetryConfig = {
    "tracing": False,
    "metrics": False,
    "logs": False,
    "operation_spans": False,
    "auto_configure": False,
}
"""Without this, FastAPI passes queries and error texts to any OpenTelemetry provider that is installed, or
exports them to the address in an environment variable. We choose what is traced."""

_SHARED_ROUTERS = (
    conversation_routes.make_router(),
    glance.make_router(),
    axes.make_router(),
    figures.make_router(),
    anthropic_routes.make_router(),
    websocket.make_router(),
    sign_in.make_router(),
    requests.make_router(),
    instances.make_router(),
)
"""The routes that every node shares: they find their node in the application that serves the request.
Making them is slow, so a process makes them once, before it forks nodes."""


def create_app(
    node: str,
    ready: readiness.Readiness,
    load_status: status.LoadStatus | None = None,
    auth_context: auth.AuthContext | None = None,
    http: settings.HttpSettings | None = None,
    *,
    conversation_context: context.ConversationContext | None = None,
    list_addresses: page.HttpAddresses | None = None,
) -> FastAPI:
    """Create the application of one node.

    Without `auth_context` nobody can sign in, and requests are counted by address. Without
    `conversation_context` the routes of conversations answer that they are unavailable. `list_addresses`
    lists the HTTP doors of the cluster: a page of one node may go on at another when its own is gone.
    """
    http = http or settings.HttpSettings()
    app = create_bare_app(http)
    problems.install_handlers(app)
    api_errors.install_handlers(app)
    auth.install_context(app, auth_context or auth.AuthContext(Limiter(settings.LimitsSettings())))
    context.install_context(app, conversation_context)
    _add_routes(
        app,
        system.make_router(app, node, ready),
        page.make_router(node, list_addresses or tuple),
        *_SHARED_ROUTERS,
        status.make_router(load_status),
    )
    origins = page.AllowedOrigins(http.cors_origins, list_addresses or tuple)
    websocket.install_origins(app, origins)
    if http.cors_origins or list_addresses is not None:
        app.add_middleware(CORSMiddleware, allow_origins=origins, **_CORS)
    app.add_middleware(request_metrics.RequestMetrics)
    return app


def create_bare_app(http: settings.HttpSettings) -> FastAPI:
    """Create an application without routes. It has the guard that all our applications have."""
    return _Application(
        http,
        telemetry=_SILENT,
        title="CCN",
        servers=[{"url": "/", "description": "The node that was asked for this document."}],
        openapi_tags=TAGS,
        license_info={"name": "MIT", "identifier": "MIT"},
        version=ccn.__version__,
        description=DESCRIPTION,
        openapi_url=None,  # `system` serves this document, and `docs_url` next
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # a redirect would lead to whatever Host the client sent
        responses=problems.RESPONSES,
    )


def _add_routes(app: FastAPI, *routers: APIRouter) -> None:
    """Put the routes into the application's own list, in the order of the routers: it is searched in order.

    FastAPI's `include_router` would put the routers there, and try each of them with every request.
    """
    for router in routers:
        app.router.routes.extend(router.routes)


class _Application(FastAPI):
    def __init__(self, http: settings.HttpSettings, **options: Any) -> None:
        super().__init__(**options)
        self._http = http
        self._document: dict[str, Any] | None = None

    def build_middleware_stack(self) -> ASGIApp:
        """Put the guard around everything, including the answer to a defect."""
        return head_requests.HeadRequests(guard.Guard(super().build_middleware_stack(), self._http))

    def openapi(self) -> dict[str, Any]:
        """Make the OpenAPI document, once."""
        if self._document is None:
            self._document = examples.add_examples(
                auth.describe_api_keys(problems.describe_problems(super().openapi()))
            )
        return self._document
