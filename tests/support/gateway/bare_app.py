"""An HTTP application without accounts, and any application behind a real socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from ccn import settings
from ccn.gateway import readiness
from ccn.gateway.http import app, auth, server
from ccn.gateway.limiting import Limiter


@asynccontextmanager
async def served(
    application: FastAPI, chosen: settings.HttpSettings | None = None
) -> AsyncIterator[tuple[str, int]]:
    """The application behind a real socket."""
    stop, wanted = asyncio.Event(), chosen or settings.HttpSettings(port=0)
    listening = server.listen_on_port(wanted.model_copy(update={"port": 0}))
    serving = asyncio.create_task(server.serve_app(application, listening, stop, 1.0, wanted))
    host, port = listening.getsockname()[:2]
    try:
        yield host, port
    finally:
        stop.set()
        await asyncio.wait_for(serving, 60)


def bare(
    chosen: settings.HttpSettings | None = None, limits: settings.LimitsSettings | None = None
) -> FastAPI:
    """An application without accounts."""
    desk = auth.AuthContext(Limiter(limits or settings.LimitsSettings(requests=1_000_000)))
    return app.create_app("node-2", readiness.Readiness({}), None, desk, chosen)
