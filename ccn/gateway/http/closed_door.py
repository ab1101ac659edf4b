"""The HTTP door of a node that serves nobody: alive, not ready, and why. Nothing else is answered.

For a node whose database does not show what it must. Whoever asks for more gets the reason as a problem, so
that people at the page, in the chat and at `ccn status` read what an operator has to do.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from fastapi import APIRouter, FastAPI, Request

from ccn import errors, settings
from ccn.gateway import readiness
from ccn.gateway.http import app, problems, server, system
from ccn.node.recovery import database_check

_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
_LOOK_AGAIN_S = 2.0
_LOOK_DEADLINE_S = 15.0


async def hold(chosen: settings.Settings, look: Callable[[], Awaitable[None]], told: asyncio.Event) -> None:
    """Stay so until `look` raises nothing any more, or until told to stop."""
    mended, done = asyncio.Event(), asyncio.Event()

    async def record() -> None:
        await look()
        mended.set()
        raise errors.Unavailable("the doors are about to open")

    ready = readiness.Readiness({"record": record}, interval_s=_LOOK_AGAIN_S, deadline_s=_LOOK_DEADLINE_S)
    made, grace_s = create(chosen.node.id, ready, chosen.http), chosen.node.shutdown_timeout_s
    with contextlib.closing(server.listen(chosen.http)) as listening:
        async with asyncio.TaskGroup() as parts:
            parts.create_task(server.serve(made, listening, done, grace_s, chosen.http), name="http")
            parts.create_task(ready.watch(), name="readiness")
            await database_check.first_of(told, mended)
            done.set()
            ready.stop()


def create(node: str, ready: readiness.Readiness, chosen: settings.Http) -> FastAPI:
    """The application; it asks nobody but `ready`."""
    made = app.bare(chosen)
    problems.install(made)
    for router in (system.routes(made, node, ready), _refusing(ready)):
        made.router.routes.extend(router.routes)
    return made


def _refusing(ready: readiness.Readiness) -> APIRouter:
    router = problems.router()

    @router.api_route("/{path:path}", methods=_METHODS, include_in_schema=False)
    async def refuse(_: Request) -> None:
        raise errors.RecordLost("; ".join(check.reason for check in ready.checks if not check.passes))

    return router
