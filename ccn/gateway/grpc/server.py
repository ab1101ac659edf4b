"""Listens on the gRPC port: what clients call, with health and reflection, which tools ask for first."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container, Coroutine, Sequence
from functools import partial
from typing import Any

import grpc  # type: ignore[import-untyped]  # the library ships no types, here and below
from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped]
from grpc_health.v1._async import HealthServicer  # type: ignore[import-untyped]

from ccn import errors, settings
from ccn.gateway import readiness
from ccn.gateway.grpc import connection_limit, reflection
from ccn.gateway.grpc.slow_callers import STREAM_S, SlowCallers

_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
_ALWAYS = (health_pb2.DESCRIPTOR.services_by_name["Health"].full_name, *reflection.NAMES)
_AGE_MS = 3_600_000
_OPTIONS = (
    # Two nodes on one port would each get half of the calls and nobody an error.
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", 8 << 20),  # above the longest message there can be
    # A client that is gone without a word must not hold its streams; one that pings twice a minute may.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.http2.ping_timeout_ms", 10_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 1),
    # More streams than one user may have, and far fewer than there are calls for all.
    ("grpc.max_concurrent_streams", 128),
    ("grpc.server_handshake_timeout_ms", 5_000),
    # No connection is for ever. What goes on over an old one may last as long as any stream may.
    ("grpc.max_connection_age_ms", _AGE_MS),
    ("grpc.max_connection_age_grace_ms", int(STREAM_S * 1_000)),
)
_CALLS = 16_384


class GrpcServer:
    """The gRPC door of one node, with the services that `ClientCalls` made."""

    def __init__(
        self, ready: readiness.Readiness, services: Sequence[Any] = (), proxies: Container[str] = ()
    ) -> None:
        """Connections of `proxies` are those of nobody knows how many."""
        self._ready, self._services, self._proxies = ready, tuple(services), proxies
        self._names = (*_ALWAYS, *(service.service_name() for service in services))
        self._health = HealthService(self._names)
        self._server: Any = None
        self._keep: Callable[[], Coroutine[None, None, None]]

    def listen(self, door: settings.GrpcSettings) -> int:
        """Take the port; which one matters when the setting is 0."""
        self._server = self._make_server(door)
        port = self._bind_port(door)
        self._keep = partial(connection_limit.keep_limit, "grpc", port, door.address_limit, self._proxies)
        return port

    def _make_server(self, door: settings.GrpcSettings) -> Any:
        limits = (
            ("grpc.max_allowed_incoming_connections", door.connection_limit),
            ("grpc.max_connection_idle_ms", int(door.idle_s * 1_000)),
        )
        made = grpc.aio.server(
            options=(*_OPTIONS, *limits), maximum_concurrent_rpcs=_CALLS, interceptors=(SlowCallers(),)
        )
        made.add_generic_rpc_handlers(self._services)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, made)
        reflection.add_reflection(self._names, made)
        return made

    def _bind_port(self, door: settings.GrpcSettings) -> int:
        shown = _load_credentials(door)
        address = f"[{door.host}]:{door.port}" if ":" in door.host else f"{door.host}:{door.port}"
        try:
            if shown is None:
                return int(self._server.add_insecure_port(address))
            return int(self._server.add_secure_port(address, shown))
        except RuntimeError as refused:
            raise errors.SettingsInvalid(
                f"CCN_GRPC_PORT: {door.host}:{door.port} is in use or cannot be used"
            ) from refused

    async def serve(self, stop: asyncio.Event, grace_s: float) -> None:
        """Answer calls until `stop`; then finish those that are running, for `grace_s` at most."""
        await self._server.start()
        telling = asyncio.create_task(self._publish_health(), name="grpc health")
        keeping = asyncio.create_task(self._keep(), name="grpc doorkeeper")
        try:
            await stop.wait()
            telling.cancel()
            await self._health.enter_graceful_shutdown()
        finally:
            keeping.cancel()
            await self._server.stop(grace_s)

    async def _publish_health(self) -> None:
        """The health service says SERVING exactly while the node is ready."""
        while True:
            seen, status = self._ready.checks, _SERVING if self._ready.ready else _NOT_SERVING
            for name in ("", *self._names):
                await self._health.set(name, status)
            await self._ready.wait_for_change(seen)


class HealthService(HealthServicer):  # type: ignore[misc]
    """The library's, which would keep for ever what anybody asks it to watch."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self._names = {"", *names}

    async def Watch(self, request: Any, context: Any) -> None:  # noqa: N802 - the protocol's name
        """Tell how a service is, whenever that changes; that it is none of ours, once."""
        if request.service not in self._names:
            unknown = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
            await context.write(health_pb2.HealthCheckResponse(status=unknown))
            return
        await super().Watch(request, context)

    async def List(self, request: Any, context: Any) -> Any:  # noqa: N802, ARG002 - the protocol's name and form
        """Tell how all services are now; the library leaves it out."""
        answer = health_pb2.HealthCheckResponse
        known = {name: answer(status=status) for name, status in self._server_status.items()}
        return health_pb2.HealthListResponse(statuses=known)


def _load_credentials(door: settings.GrpcSettings) -> Any:
    """What clients see of this door; None if it has no TLS."""
    if (door.certificate is None) != (door.key is None):
        raise errors.SettingsInvalid("CCN_GRPC_CERTIFICATE and CCN_GRPC_KEY are set together or not at all")
    if door.certificate is None or door.key is None:
        return None
    try:
        return grpc.ssl_server_credentials([(door.key.read_bytes(), door.certificate.read_bytes())])
    except OSError as unreadable:
        raise errors.SettingsInvalid(f"CCN_GRPC_CERTIFICATE or CCN_GRPC_KEY: {unreadable}") from unreadable
