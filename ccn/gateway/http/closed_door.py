"""The HTTP door of a node that may not serve: it answers that it is alive, and why it is not ready.

A node opens it when its database lacks what the node remembers. Every other request gets the reason as a
problem. So people at the page, in the chat and at `ccn status` read what an operator has to do.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from fastapi import APIRouter, FastAPI, Request

from ccn import errors, settings
from ccn.certificates.watch import CertificateWatches
from ccn.gateway import readiness
from ccn.gateway.http import app, problems, server, system
from ccn.node.recovery import database_check

_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
_LOOK_AGAIN_S = 2.0
_LOOK_DEADLINE_S = 15.0


async def serve_until_mended(
    node_settings: settings.Settings, check: Callable[[], Awaitable[None]], stop: asyncio.Event
) -> None:
    """Serve the closed door until `check` raises no error any more, or until `stop`."""
    mended, done = asyncio.Event(), asyncio.Event()

    async def check_record() -> None:
        await check()
        mended.set()
        raise errors.Unavailable("the doors are about to open")

    ready = readiness.Readiness(
        {"record": check_record}, interval_s=_LOOK_AGAIN_S, deadline_s=_LOOK_DEADLINE_S
    )
    http, grace_s = node_settings.http, node_settings.node.shutdown_timeout_s
    closed_app = create_closed_app(node_settings.node.id, ready, http)
    certificates = CertificateWatches(look_s=node_settings.tls.look_s)
    tls = server.read_certificate(http, certificates)
    with contextlib.closing(server.listen_on_port(http)) as listening:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(
                server.serve_app(closed_app, listening, done, grace_s, http, tls=tls), name="http"
            )
            tasks.create_task(certificates.watch_files(done), name="certificates")
            tasks.create_task(ready.watch_probes(), name="readiness")
            await database_check.wait_for_first(stop, mended)
            done.set()
            ready.stop()


def create_closed_app(node: str, ready: readiness.Readiness, http: settings.HttpSettings) -> FastAPI:
    """Create the application of the closed door, which needs nothing but `ready`."""
    closed_app = app.create_bare_app(http)
    problems.install_handlers(closed_app)
    for router in (system.make_router(closed_app, node, ready), _make_refusing_router(ready)):
        closed_app.router.routes.extend(router.routes)
    return closed_app


def _make_refusing_router(ready: readiness.Readiness) -> APIRouter:
    router = problems.new_router()

    @router.api_route("/{path:path}", methods=_METHODS, include_in_schema=False)
    async def refuse_request(_: Request) -> None:
        raise errors.RecordLost("; ".join(check.reason for check in ready.checks if not check.passes))

    return router
