"""The HTTP door: all routes, put together into one application.

What it needs arrives as arguments; nothing here reads settings or opens a neighbour.
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
    # No cookie is ever read, so a header gives a page nothing that it does not have; SDKs add many.
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
"""Without this, FastAPI passes queries and errors with their text to any OpenTelemetry provider that is
installed, or exports them to where an environment variable says. We choose what is traced."""

_SAME = (
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
"""The routes that are the same for every node, because they find it in their application. Making them is
slow, so it is done once in a process, and before nodes are forked."""


def create_app(
    node: str,
    ready: readiness.Readiness,
    tell: status.LoadStatus | None = None,
    desk: auth.AuthContext | None = None,
    chosen: settings.HttpSettings | None = None,
    *,
    talking: context.ConversationContext | None = None,
    doors: page.HttpAddresses | None = None,
) -> FastAPI:
    """The application of one node. Without a desk nobody can sign in, and each address is counted alone.

    Without `talking` there is nobody to talk with, which every route that would need somebody says. `doors`
    are those of the cluster: a page of one may go on at another when its own is gone.
    """
    http = chosen or settings.HttpSettings()
    app = create_bare_app(http)
    problems.install_handlers(app)
    api_errors.install_handlers(app)
    auth.install_context(app, desk or auth.AuthContext(Limiter(settings.LimitsSettings())))
    context.install_context(app, talking)
    _add_routes(
        app,
        system.make_router(app, node, ready),
        page.make_router(node, doors or tuple),
        *_SAME,
        status.make_router(tell),
    )
    origins = page.AllowedOrigins(http.cors_origins, doors or tuple)
    websocket.install_origins(app, origins)
    if http.cors_origins or doors is not None:
        app.add_middleware(CORSMiddleware, allow_origins=origins, **_CORS)
    app.add_middleware(request_metrics.RequestMetrics)
    return app


def create_bare_app(http: settings.HttpSettings) -> FastAPI:
    """Create an application without routes, with the guard that every one of ours has."""
    return _Application(
        http,
        telemetry=_SILENT,
        title="CCN",
        servers=[{"url": "/", "description": "The node that was asked for this document."}],
        openapi_tags=TAGS,
        license_info={"name": "MIT", "identifier": "MIT"},
        version=ccn.__version__,
        description=DESCRIPTION,
        openapi_url=None,  # see system.py, for this one and the next
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # the target would be made from whatever Host the client sent
        responses=problems.RESPONSES,
    )


def _add_routes(app: FastAPI, *routers: APIRouter) -> None:
    """Put the routes into the application's own list; those that are used most come first.

    FastAPI's include_router would put the routers there, and try each of them with every request.
    """
    for router in routers:
        app.router.routes.extend(router.routes)


class _Application(FastAPI):
    def __init__(self, chosen: settings.HttpSettings, **about: Any) -> None:
        super().__init__(**about)
        self._chosen = chosen
        self._document: dict[str, Any] | None = None

    def build_middleware_stack(self) -> ASGIApp:
        """Put the guard around everything, the answer to a defect included."""
        return head_requests.HeadRequests(guard.Guard(super().build_middleware_stack(), self._chosen))

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document, made once."""
        if self._document is None:
            self._document = examples.add_examples(
                auth.describe_api_keys(problems.describe_problems(super().openapi()))
            )
        return self._document
