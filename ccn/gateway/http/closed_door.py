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


async def serve_until_mended(
    chosen: settings.Settings, look: Callable[[], Awaitable[None]], told: asyncio.Event
) -> None:
    """Stay so until `look` raises nothing any more, or until told to stop."""
    mended, done = asyncio.Event(), asyncio.Event()

    async def check_record() -> None:
        await look()
        mended.set()
        raise errors.Unavailable("the doors are about to open")

    ready = readiness.Readiness(
        {"record": check_record}, interval_s=_LOOK_AGAIN_S, deadline_s=_LOOK_DEADLINE_S
    )
    made, grace_s = create_closed_app(chosen.node.id, ready, chosen.http), chosen.node.shutdown_timeout_s
    with contextlib.closing(server.listen_on_port(chosen.http)) as listening:
        async with asyncio.TaskGroup() as parts:
            parts.create_task(server.serve_app(made, listening, done, grace_s, chosen.http), name="http")
            parts.create_task(ready.watch_probes(), name="readiness")
            await database_check.wait_for_first(told, mended)
            done.set()
            ready.stop()


def create_closed_app(node: str, ready: readiness.Readiness, chosen: settings.HttpSettings) -> FastAPI:
    """The application; it asks nobody but `ready`."""
    made = app.create_bare_app(chosen)
    problems.install_handlers(made)
    for router in (system.make_router(made, node, ready), _make_refusing_router(ready)):
        made.router.routes.extend(router.routes)
    return made


def _make_refusing_router(ready: readiness.Readiness) -> APIRouter:
    router = problems.new_router()

    @router.api_route("/{path:path}", methods=_METHODS, include_in_schema=False)
    async def refuse_request(_: Request) -> None:
        raise errors.RecordLost("; ".join(check.reason for check in ready.checks if not check.passes))

    return router
