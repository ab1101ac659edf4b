"""Counts and times every HTTP request, under the template of its route.

Plain ASGI, because a wrapper around request and response objects would buffer streams.
"""

from __future__ import annotations

import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ccn import metrics

_UNMATCHED = "unmatched"  # a path that a stranger made up must not become a label


class RequestMetrics:
    """Wraps an application and measures its requests."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and count the status of its answer. An exception counts as 500."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 500

        async def send_and_note_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        began = time.perf_counter()
        try:
            await self._app(scope, receive, send_and_note_status)
        finally:
            route = getattr(scope.get("route"), "path_format", _UNMATCHED)
            metrics.doors.count_answer(scope["method"], route, status, time.perf_counter() - began)
