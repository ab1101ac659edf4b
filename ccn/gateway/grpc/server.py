"""Listens on the gRPC port and serves clients there, with the health and reflection that tools use."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container, Coroutine, Sequence
from functools import partial
from typing import Any

import grpc  # type: ignore[import-untyped]  # the library ships no types, here and below
from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped]
from grpc_health.v1._async import HealthServicer  # type: ignore[import-untyped]

from ccn import errors, settings
from ccn.certificates.watch import CertificateWatches
from ccn.gateway import exposure, readiness
from ccn.gateway.grpc import connection_limit, reflection
from ccn.gateway.grpc.door_credentials import DoorCredentials
from ccn.gateway.grpc.slow_callers import STREAM_S, SlowCallers

_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
_ALWAYS = (health_pb2.DESCRIPTOR.services_by_name["Health"].full_name, *reflection.NAMES)
_AGE_MS = 3_600_000
_OPTIONS = (
    # Without this, two nodes could take the same port: each would get half of the calls, and none an error.
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", 8 << 20),  # above the longest message that a client can send
    # Pings end the streams of a client that vanished. A client itself may ping twice a minute.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.http2.ping_timeout_ms", 10_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 1),
    # More streams than one user may have, and far fewer than all clients together may have.
    ("grpc.max_concurrent_streams", 128),
    ("grpc.server_handshake_timeout_ms", 5_000),
    # A connection ends after this age. Streams on it may still last as long as any stream may.
    ("grpc.max_connection_age_ms", _AGE_MS),
    ("grpc.max_connection_age_grace_ms", int(STREAM_S * 1_000)),
)
_CONCURRENT_CALLS = 16_384


class GrpcServer:
    """The gRPC door of one node. `ClientCalls` makes its services."""

    def __init__(
        self, ready: readiness.Readiness, services: Sequence[Any] = (), proxies: Container[str] = ()
    ) -> None:
        """`proxies` may have any number of connections: each stands for many clients."""
        self._ready, self._services, self._proxies = ready, tuple(services), proxies
        self._names = (*_ALWAYS, *(service.service_name() for service in services))
        self._health = HealthService(self._names)
        self._server: Any = None
        self._keep_limit: Callable[[], Coroutine[None, None, None]]

    def listen(
        self, grpc_settings: settings.GrpcSettings, certificates: CertificateWatches | None = None
    ) -> int:
        """Take the port and return its number, which the system chooses if the setting is 0.

        A certificate that is renewed is shown if `certificates` are watched.
        """
        self._server = self._make_server(grpc_settings)
        port = self._bind_port(grpc_settings, certificates or CertificateWatches())
        self._keep_limit = partial(
            connection_limit.keep_limit, "grpc", port, grpc_settings.address_limit, self._proxies
        )
        return port

    def _make_server(self, grpc_settings: settings.GrpcSettings) -> Any:
        limits = (
            ("grpc.max_allowed_incoming_connections", grpc_settings.connection_limit),
            ("grpc.max_connection_idle_ms", int(grpc_settings.idle_s * 1_000)),
        )
        server = grpc.aio.server(
            options=(*_OPTIONS, *limits),
            maximum_concurrent_rpcs=_CONCURRENT_CALLS,
            interceptors=(SlowCallers(),),
        )
        server.add_generic_rpc_handlers(self._services)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        reflection.add_reflection(self._names, server)
        return server

    def _bind_port(self, grpc_settings: settings.GrpcSettings, certificates: CertificateWatches) -> int:
        host, port = grpc_settings.host, grpc_settings.port
        exposure.refuse_plain_door("grpc", host, grpc_settings)
        certificate = certificates.add_door("grpc", grpc_settings)
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            if certificate.current is None:
                return int(self._server.add_insecure_port(address))
            credentials = DoorCredentials(certificate.current)
            certificate.on_change(credentials.show_identity)
            return int(self._server.add_secure_port(address, credentials.make_credentials()))
        except RuntimeError as refused:
            raise errors.SettingsInvalid(
                f"CCN_GRPC_PORT: {host}:{port} is in use or cannot be used"
            ) from refused

    async def serve(self, stop: asyncio.Event, grace_s: float) -> None:
        """Answer calls until `stop`; then let running calls finish, for `grace_s` at most."""
        await self._server.start()
        publishing = asyncio.create_task(self._publish_health(), name="grpc health")
        limiting = asyncio.create_task(self._keep_limit(), name="grpc connection limit")
        try:
            await stop.wait()
            publishing.cancel()
            await self._health.enter_graceful_shutdown()
        finally:
            limiting.cancel()
            await self._server.stop(grace_s)

    async def _publish_health(self) -> None:
        """Let the health service answer SERVING exactly while the node is ready."""
        while True:
            seen, status = self._ready.checks, _SERVING if self._ready.ready else _NOT_SERVING
            for name in ("", *self._names):
                await self._health.set(name, status)
            await self._ready.wait_for_change(seen)


class HealthService(HealthServicer):  # type: ignore[misc]
    """The library's health service, without its memory of unknown names.

    The library would keep for ever every name that a client asks it to watch.
    """

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self._names = {"", *names}

    async def Watch(self, request: Any, context: Any) -> None:  # noqa: N802 - the protocol's name
        """Send the status of a service whenever it changes. For an unknown service, say so once and end."""
        if request.service not in self._names:
            unknown = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
            await context.write(health_pb2.HealthCheckResponse(status=unknown))
            return
        await super().Watch(request, context)

    async def List(self, request: Any, context: Any) -> Any:  # noqa: N802, ARG002 - the protocol's name and form
        """Send the status of all services, which the library does not implement."""
        statuses = {
            name: health_pb2.HealthCheckResponse(status=status)
            for name, status in self._server_status.items()
        }
        return health_pb2.HealthListResponse(statuses=statuses)
