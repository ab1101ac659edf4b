"""Listens on the HTTP port and serves the application there, with uvicorn inside this process."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import uvicorn
from fastapi import FastAPI

from ccn import errors, settings
from ccn.certificates import identity
from ccn.certificates.server_context import RenewableContext
from ccn.certificates.watch import CertificateWatches
from ccn.gateway import exposure
from ccn.gateway.http import connection_limit, slow_clients
from ccn.gateway.http.connection_limit import ConnectionLimit, ForwardedLimit
from ccn.gateway.tls_listener import TlsListener

_UNREAD_MS = 60_000  # how long a client may leave unread what we sent


def listen_on_port(http: settings.HttpSettings) -> socket.socket:
    """Take the port now: a busy port is then an error of ours, where uvicorn would end the process."""
    exposure.refuse_plain_door("http", http.host, http)
    family = socket.AF_INET6 if ":" in http.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(
            socket, "TCP_USER_TIMEOUT"
        ):  # connections inherit it: a client that stops reading is cut off
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNREAD_MS)
        listening.bind((http.host, http.port))
        listening.listen(connection_limit.BACKLOG)
    except OSError as refused:
        listening.close()
        why = "is in use" if refused.errno == errno.EADDRINUSE else f"cannot be used ({refused.strerror})"
        raise errors.SettingsInvalid(f"CCN_HTTP_PORT: {http.host}:{http.port} {why}") from refused
    return listening


def read_certificate(
    http: settings.HttpSettings, certificates: CertificateWatches
) -> ssl.SSLContext | None:
    """Make the TLS context of this door, which shows a renewed certificate. None if it has no TLS."""
    certificate = certificates.add_door("http", http)
    if certificate.current is None:
        return None
    context = RenewableContext(identity.door_files("http", http))
    certificate.on_change(context.renew)
    return context.listening


async def serve_app(
    app: FastAPI,
    listening: socket.socket,
    stop: asyncio.Event,
    grace_s: float,
    http: settings.HttpSettings | None = None,
    *,
    tls: ssl.SSLContext | None = None,
    wait_until_quiet: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Answer requests until `stop`; then let running requests finish, for `grace_s` at most.

    uvicorn cuts WebSockets off as soon as it is told to exit. So tell it only after `wait_until_quiet`.
    `tls` comes from `read_certificate`; without it, a certificate that the settings name is read once.
    """
    http = http or settings.HttpSettings()
    tls = tls or read_certificate(http, CertificateWatches())
    http_protocol, websocket_protocol = slow_clients.make_protocols(ConnectionLimit(http), http.head_s)
    server = _UvicornServer(
        uvicorn.Config(
            ForwardedLimit(app, http) if http.trusted_proxies else app,
            loop="none",
            http=http_protocol,
            ws=websocket_protocol,
            ws_max_size=http.body_limit,
            ws_per_message_deflate=False,  # each socket would cost memory, and small frames can grow large
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,  # metrics count requests, and a log must not hold clients' addresses
            server_header=False,
            proxy_headers=bool(
                http.trusted_proxies
            ),  # otherwise a client could choose the address it is counted by
            forwarded_allow_ips=list(http.trusted_proxies),
            backlog=connection_limit.BACKLOG,
            timeout_graceful_shutdown=max(1, int(grace_s)),
        ),
        tls,
        http,
    )
    serving = asyncio.create_task(server.serve(sockets=[listening]), name="uvicorn")
    stopping = asyncio.create_task(stop.wait(), name="http stop")
    try:
        await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
        if wait_until_quiet is not None and stop.is_set():
            stopped_at = time.monotonic()
            await wait_until_quiet()
            remaining_s = grace_s - (time.monotonic() - stopped_at)
            server.config.timeout_graceful_shutdown = max(1, int(remaining_s))
        server.should_exit = True
        await serving
    finally:
        stopping.cancel()
        serving.cancel()


class _UvicornServer(uvicorn.Server):
    def __init__(
        self, config: uvicorn.Config, tls: ssl.SSLContext | None, http: settings.HttpSettings
    ) -> None:
        super().__init__(config)
        self._tls, self._http = tls, http

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen as uvicorn does, but over TLS with limits for those who have not agreed on it yet."""
        if self._tls is None:
            await super().startup(sockets)
            return
        config, state = self.config, self.server_state
        protocol: Any = config.http_protocol_class
        self.servers = [
            TlsListener(  # type: ignore[misc]  # all that is asked of a server here is to close
                listening,
                self._tls,
                lambda: protocol(config=config, server_state=state, app_state={}),
                within_s=self._http.head_s,
                limit=connection_limit.silent_limit(self._http),
            )
            for listening in sockets or ()
        ]
        self.started = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone: `ccn.service` handles them."""
        yield
