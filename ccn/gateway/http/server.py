"""Listens on the HTTP port and serves the application there: uvicorn, run as a part of this process."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import time
from collections.abc import Awaitable, Callable, Iterator

import uvicorn
from fastapi import FastAPI

from ccn import errors, settings
from ccn.gateway.http import connection_limit, slow_clients
from ccn.gateway.http.connection_limit import ConnectionLimit, ForwardedLimit

_UNREAD_MS = 60_000  # how long what we sent may stay unread


def listen_on_port(http: settings.HttpSettings) -> socket.socket:
    """Take the port now, so that a busy one is an error of ours and not the end of the process."""
    family = socket.AF_INET6 if ":" in http.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # connections inherit it: who stops reading is cut off
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNREAD_MS)
        listening.bind((http.host, http.port))
        listening.listen(connection_limit.BACKLOG)
    except OSError as refused:
        listening.close()
        why = "is in use" if refused.errno == errno.EADDRINUSE else f"cannot be used ({refused.strerror})"
        raise errors.SettingsInvalid(f"CCN_HTTP_PORT: {http.host}:{http.port} {why}") from refused
    return listening


async def serve_app(
    app: FastAPI,
    listening: socket.socket,
    stop: asyncio.Event,
    grace_s: float,
    chosen: settings.HttpSettings | None = None,
    *,
    quiet: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Answer requests until `stop`; then finish those that are running, for `grace_s` at most.

    uvicorn would cut WebSockets off at once, so it is told only when streams are `quiet`.
    """
    http = chosen or settings.HttpSettings()
    requests, sockets = slow_clients.make_protocols(ConnectionLimit(http), http.head_s)
    server = _UvicornServer(
        uvicorn.Config(
            ForwardedLimit(app, http) if http.trusted_proxies else app,
            loop="none",
            http=requests,
            ws=sockets,
            ws_max_size=http.body_limit,
            ws_per_message_deflate=False,  # costs memory for each socket, and a small frame can grow large
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,  # metrics count requests, and an address is nobody's business
            server_header=False,
            proxy_headers=bool(http.trusted_proxies),  # else a client chooses the address it is counted by
            forwarded_allow_ips=list(http.trusted_proxies),
            backlog=connection_limit.BACKLOG,
            timeout_graceful_shutdown=max(1, int(grace_s)),
        )
    )
    serving = asyncio.create_task(server.serve(sockets=[listening]), name="uvicorn")
    stopping = asyncio.create_task(stop.wait(), name="http stop")
    try:
        await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
        if quiet is not None and stop.is_set():
            began = time.monotonic()
            await quiet()
            left_s = grace_s - (time.monotonic() - began)
            server.config.timeout_graceful_shutdown = max(1, int(left_s))
        server.should_exit = True
        await serving
    finally:
        stopping.cancel()
        serving.cancel()


class _UvicornServer(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals belong to the composition root."""
        yield
