"""Listens on the gRPC port: health and reflection, which every client tool asks for first."""

from __future__ import annotations

import asyncio

import grpc  # type: ignore[import-untyped]  # the library ships no types, here and below
from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped]
from grpc_health.v1._async import HealthServicer  # type: ignore[import-untyped]
from grpc_reflection.v1alpha import reflection  # type: ignore[import-untyped]

from ccn import errors, settings
from ccn.gateway import readiness

_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
_SERVICES = (health_pb2.DESCRIPTOR.services_by_name["Health"].full_name, reflection.SERVICE_NAME)
_OPTIONS = (
    # Two nodes on one port would each get half of the calls and nobody an error.
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", 16 << 20),
)


class Server:
    """The gRPC door of one node."""

    def __init__(self, ready: readiness.Readiness) -> None:
        self._ready = ready
        self._health = HealthServicer()
        self._server = grpc.aio.server(options=_OPTIONS)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection(_SERVICES, self._server)

    def listen(self, door: settings.Grpc) -> int:
        """Take the port; which one matters when the setting is 0."""
        host = f"[{door.host}]" if ":" in door.host else door.host
        try:
            return int(self._server.add_insecure_port(f"{host}:{door.port}"))
        except RuntimeError as refused:
            raise errors.SettingsInvalid(
                f"CCN_GRPC_PORT: {door.host}:{door.port} is in use or cannot be used"
            ) from refused

    async def serve(self, stop: asyncio.Event, grace_s: float) -> None:
        """Answer calls until `stop`; then finish those that are running, for `grace_s` at most."""
        await self._server.start()
        try:
            telling = asyncio.create_task(self._tell(), name="grpc health")
            await stop.wait()
            telling.cancel()
            await self._health.enter_graceful_shutdown()
        finally:
            await self._server.stop(grace_s)

    async def _tell(self) -> None:
        """The health service says SERVING exactly while the node is ready."""
        while True:
            seen, status = self._ready.checks, _SERVING if self._ready.ready else _NOT_SERVING
            for name in ("", *_SERVICES):
                await self._health.set(name, status)
            await self._ready.changed(seen)
