"""Guards every route: limits the size and time of request bodies, and adds headers to every answer.

Plain ASGI, because a wrapper around request and response objects would buffer streams. `slow_clients`
limits the time that a client has for its headers.
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
"""Added to every answer that does not set them itself."""

_ENCODED_HEADERS = [(name.lower().encode(), value.encode()) for name, value in _HEADERS.items()]

_ONLY_TLS = (b"strict-transport-security", b"max-age=31536000")
"""Added only where a proxy speaks TLS for us, because a browser remembers it for a year."""

_CLOSE = {"Connection": "close"}  # the rest of the body will not be read


class Guard:
    """Wraps an application and guards it."""

    def __init__(self, app: ASGIApp, http: settings.HttpSettings) -> None:
        self._app, self._http = app, http

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, with its body limited in size and time."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_decorated(message: Message) -> None:
            if message["type"] == "http.response.start":
                _add_headers(scope, message)
            await send(message)

        await self._app(scope, _LimitedBody(scope, receive, self._http).receive_part, send_decorated)


class _LimitedBody:
    """The body that a client sends. Raises a problem if it is too large or takes too long."""

    def __init__(self, scope: Scope, receive: Receive, http: settings.HttpSettings) -> None:
        self._receive, self._limit, self._patience_s = receive, http.body_limit, http.patience_s
        self._deadline = asyncio.get_running_loop().time() + http.patience_s
        content_length = Headers(scope=scope).get("content-length", "")
        is_number = content_length.isascii() and content_length.isdigit()
        self._announced = int(content_length) if is_number else 0
        self._received = 0
        self._complete = False

    async def receive_part(self) -> Message:
        """Receive the next part. After the last one there is no deadline, as the client waits."""
        if self._complete:
            return await self._receive()
        if self._announced > self._limit:
            raise self._too_large_error()
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            raise HTTPException(
                HTTPStatus.REQUEST_TIMEOUT, f"the body took longer than {self._patience_s:g} s", _CLOSE
            ) from None
        self._received += len(message.get("body", b""))
        self._complete = not message.get("more_body", False)
        if self._received > self._limit:
            raise self._too_large_error()
        return message

    def _too_large_error(self) -> HTTPException:
        return HTTPException(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a body has at most {self._limit} bytes", _CLOSE
        )


def _add_headers(scope: Scope, message: Message) -> None:
    headers = list(message.get("headers", ()))
    own_names = {name for name, _ in headers}
    headers += [header for header in _ENCODED_HEADERS if header[0] not in own_names]
    if scope["scheme"] == "https":
        headers.append(_ONLY_TLS)
    if (verdict := auth.limit_verdict(scope)) is not None:
        headers.append((b"x-ratelimit-limit", b"%d" % verdict.limit))
        headers.append((b"x-ratelimit-remaining", b"%d" % verdict.remaining))
        headers.append((b"x-ratelimit-reset", b"%d" % verdict.reset_s))
    message["headers"] = headers
