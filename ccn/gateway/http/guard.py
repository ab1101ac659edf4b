"""What stands around every route: limits on bodies, and headers on every answer.

Plain ASGI, because a wrapper around request and response objects would buffer streams. Headers that a slow
client never finishes are limited in slow_clients.py; here the body has its size and its time.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ccn import settings
from ccn.gateway.http import auth

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(), usb=()",
    "Cache-Control": "no-store",
}
"""On every answer that does not say otherwise itself."""

_RAW = [(name.lower().encode(), value.encode()) for name, value in _HEADERS.items()]

_ONLY_TLS = (b"strict-transport-security", b"max-age=31536000")
"""Said where a proxy speaks TLS for us, and nowhere else: a browser remembers it for a year."""

_CLOSE = {"Connection": "close"}  # what is left of the body will not be read


class Guard:
    """The application, guarded."""

    def __init__(self, app: ASGIApp, chosen: settings.HttpSettings) -> None:
        self._app, self._chosen = app, chosen

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on with a body that is limited in size and time."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_decorated(message: Message) -> None:
            if message["type"] == "http.response.start":
                _add_headers(scope, message)
            await send(message)

        await self._app(scope, _LimitedBody(scope, receive, self._chosen).receive_part, send_decorated)


class _LimitedBody:
    """What a client sends, until it is too much or takes too long. Both are problems like any other."""

    def __init__(self, scope: Scope, receive: Receive, chosen: settings.HttpSettings) -> None:
        self._receive, self._limit, self._patience_s = receive, chosen.body_limit, chosen.patience_s
        self._until = asyncio.get_running_loop().time() + chosen.patience_s
        announced = Headers(scope=scope).get("content-length", "")
        self._announced = int(announced) if announced.isascii() and announced.isdigit() else 0
        self._got = 0
        self._complete = False

    async def receive_part(self) -> Message:
        """The next part. After the last one, a client may stay silent as long as it is answered."""
        if self._complete:
            return await self._receive()
        if self._announced > self._limit:
            raise self._too_large_error()
        try:
            async with asyncio.timeout_at(self._until):
                message = await self._receive()
        except TimeoutError:
            raise HTTPException(
                HTTPStatus.REQUEST_TIMEOUT, f"the body took longer than {self._patience_s:g} s", _CLOSE
            ) from None
        self._got += len(message.get("body", b""))
        self._complete = not message.get("more_body", False)
        if self._got > self._limit:
            raise self._too_large_error()
        return message

    def _too_large_error(self) -> HTTPException:
        return HTTPException(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a body has at most {self._limit} bytes", _CLOSE
        )


def _add_headers(scope: Scope, message: Message) -> None:
    headers = list(message.get("headers", ()))
    said_itself = {name for name, _ in headers}
    headers += [each for each in _RAW if each[0] not in said_itself]
    if scope["scheme"] == "https":
        headers.append(_ONLY_TLS)
    if (said := auth.limit_verdict(scope)) is not None:
        headers.append((b"x-ratelimit-limit", b"%d" % said.limit))
        headers.append((b"x-ratelimit-remaining", b"%d" % said.remaining))
        headers.append((b"x-ratelimit-reset", b"%d" % said.reset_s))
    message["headers"] = headers
