"""Open the doors for everybody: HTTP and gRPC over the same accounts, limits and streams.

A door does not know who is behind it: a node in its own house (`house_doors`), or the voters that a gateway
asks (`gateway_doors`). Both hand the same parts over.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Coroutine
from dataclasses import dataclass

from ccn import settings
from ccn.certificates.watch import CertificateWatches
from ccn.gateway import exposure, readiness
from ccn.gateway.deeds.interface import Deeds
from ccn.gateway.grpc import server as grpc_server
from ccn.gateway.grpc import services as grpc_services
from ccn.gateway.grpc.client_calls import ClientCalls
from ccn.gateway.http import app as http_app
from ccn.gateway.http import auth as http_auth
from ccn.gateway.http import connection_limit
from ccn.gateway.http import server as http_server
from ccn.gateway.http.conversations.context import ConversationContext, StreamShutdown
from ccn.gateway.http.docs.page import HttpAddresses
from ccn.gateway.limiting import Limiter
from ccn.gateway.open_streams import OpenStreams
from ccn.gateway.reading_places import ReadingPlaces
from ccn.node.turns.plates import Plates
from ccn.service import clock, servers

_HAND_OVER_S = 1.5  # of the time to stop, what streams leave to the turns that are handed over


@dataclass(frozen=True, slots=True, kw_only=True)
class BehindDoors:
    """What the doors of one process stand before."""

    chosen: settings.Settings
    stop: asyncio.Event
    ready: readiness.Readiness
    limiter: Limiter
    deeds: Deeds
    plates: Plates
    reading: ReadingPlaces
    list_addresses: HttpAddresses | None
    """Where clients may go on when these doors are gone."""
    certificates: CertificateWatches
    """The files of every link of this process, which are read again while it runs."""


@dataclass(frozen=True, slots=True)
class OpenDoors:
    """The doors for everybody, which listen already; `parts` serve them."""

    http: str
    grpc: str
    ready: readiness.Readiness
    parts: dict[str, Coroutine[None, None, None]]


def open_doors(behind: BehindDoors, listening: socket.socket) -> OpenDoors:
    """HTTP and gRPC over the same accounts, limits and streams, so that a caller is one caller at both."""
    chosen, stop, deeds = behind.chosen, behind.stop, behind.deeds
    grace_s = chosen.node.shutdown_timeout_s
    streams = OpenStreams(deeds.access.pool, chosen.accounts, chosen.limits)
    leaving = StreamShutdown(stop, max(0.2, grace_s - _HAND_OVER_S))

    rpc = grpc_server.GrpcServer(
        behind.ready,
        grpc_services.assemble_services(
            ClientCalls(behind.limiter, deeds.accounts, streams),
            access=deeds.access,
            deeds=deeds.conversations,
            loop_deeds=deeds.loop,
            request_deeds=deeds.requests,
            load_status=deeds.load_status,
            reads=behind.reading.history,
            stop=stop,
        ),
        connection_limit.trusted_proxies(chosen.http),
    )
    grpc_port = rpc.listen(chosen.grpc, behind.certificates)
    servers.watch_redis(behind.limiter, behind.certificates)

    talk = ConversationContext(
        deeds.conversations,
        deeds.access.pool,
        behind.plates,
        deeds.model,
        leaving,
        behind.reading,
        streams,
        chosen.claude,
    )
    auth = http_auth.AuthContext(behind.limiter, deeds.accounts, deeds.access, deeds.requests)
    app = http_app.create_app(
        chosen.node.id,
        behind.ready,
        deeds.load_status,
        auth,
        chosen.http,
        conversation_context=talk,
        list_addresses=behind.list_addresses,
    )
    tls = http_server.read_certificate(chosen.http, behind.certificates)
    return OpenDoors(
        _http_address(chosen.http, listening),
        f"{chosen.grpc.host}:{grpc_port}",
        behind.ready,
        {
            "http": http_server.serve_app(
                app,
                listening,
                stop,
                grace_s,
                chosen.http,
                tls=tls,
                wait_until_quiet=leaving.wait_until_quiet,
            ),
            "limits": behind.limiter.watch_redis(stop),
            "streams": streams.watch_credentials(stop),
            "replicas": behind.reading.history.replicas.watch(stop),
            "grpc": rpc.serve(stop, grace_s),
            "readiness": behind.ready.watch_probes(),
        },
    )


def check_doors(chosen: settings.Settings) -> None:
    """Refuse doors that could not open, before anything else is begun."""
    exposure.refuse_plain_door("http", chosen.http.host, chosen.http)
    exposure.refuse_plain_door("grpc", chosen.grpc.host, chosen.grpc)
    certificates = CertificateWatches(clock.utc_now)
    http_server.read_certificate(chosen.http, certificates)
    certificates.add_door("grpc", chosen.grpc)


def _http_address(http: settings.HttpSettings, listening: socket.socket) -> str:
    """Where clients reach the HTTP door: as it is advertised, else where it listens."""
    host, port = listening.getsockname()[:2]
    scheme = "https" if http.tls_certificate is not None else "http"
    return http.advertise or f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"
