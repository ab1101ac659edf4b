"""The HTTP door: everything that is answered there, put together.

What it needs arrives as arguments; nothing here reads settings or opens a neighbour.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

import ccn
from ccn.gateway import readiness
from ccn.gateway.http import cluster, measured, problems, system

DESCRIPTION = (
    "Keeps one character alive across many Claude instances, and a record of it that anybody can verify. "
    "This is software, an AI system: no person answers here."
)


def create(node: str, ready: readiness.Readiness, tell: cluster.Tell | None = None) -> FastAPI:
    """The application of one node."""
    app = _Application(
        title="CCN",
        version=ccn.__version__,
        description=DESCRIPTION,
        docs_url=None,  # see reference.py
        redoc_url=None,
        responses=problems.RESPONSES,
    )
    problems.install(app)
    app.include_router(system.routes(app, node, ready))
    app.include_router(cluster.routes(tell))
    app.add_middleware(measured.Measured)
    return app


class _Application(FastAPI):
    def openapi(self) -> dict[str, Any]:
        """The document, made once by the base class."""
        return problems.describe(super().openapi())
