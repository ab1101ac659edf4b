"""Open the doors for everybody: HTTP and gRPC over the same accounts, limits and streams."""

from __future__ import annotations

import socket
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from functools import partial

from ccn import settings
from ccn.core.ids import NodeId
from ccn.gateway import readiness
from ccn.gateway.accounts.accounts import Accounts
from ccn.gateway.accounts.keyring import Keyring, Voters
from ccn.gateway.accounts.passwords import Passwords
from ccn.gateway.grpc import server as grpc_server
from ccn.gateway.grpc import services as grpc_services
from ccn.gateway.grpc.client_calls import ClientCalls
from ccn.gateway.http import app as http_app
from ccn.gateway.http import auth as http_auth
from ccn.gateway.http import connection_limit
from ccn.gateway.http import server as http_server
from ccn.gateway.http.conversations.context import ConversationContext, StreamShutdown
from ccn.gateway.limiting import Limiter
from ccn.gateway.open_streams import OpenStreams
from ccn.node.external_loop import ExternalLoop
from ccn.node.rounds.membership import Membership
from ccn.node.rounds.voting import NodeIdentity
from ccn.node.signing import signing_key
from ccn.node.views import cluster_probes, cluster_status
from ccn.service import clock
from ccn.service.served_node import ServedNode

_HAND_OVER_S = 1.5  # of the time to stop, what streams leave to the turns that are handed over


@dataclass(frozen=True, slots=True)
class OpenDoors:
    """The doors for everybody, which listen already; `parts` serve them."""

    http: str
    grpc: str
    ready: readiness.Readiness
    parts: dict[str, Coroutine[None, None, None]]


def open_doors(node: ServedNode, listening: socket.socket, passwords: Passwords) -> OpenDoors:
    """HTTP and gRPC over the same accounts, limits and streams, so that a caller is one caller at both."""
    chosen, membership = node.chosen, node.membership
    needed = {"database": lambda: node.database.value("SELECT 1"), "record": node.database.check_fence}
    ready = readiness.Readiness(needed, _cluster_probes(membership))
    tell = partial(cluster_status.load_status, membership) if membership is not None else None
    limiter = Limiter(chosen.limits)
    keyring = Keyring(node.database, *_token_identity(chosen, membership), chosen.accounts, clock.utc_now)
    accounts = Accounts(node.database, chosen.accounts, passwords, keyring, clock.utc_now)
    streams = OpenStreams(node.database, chosen.accounts, chosen.limits)
    leaving = StreamShutdown(node.stop, max(0.2, node.grace_s - _HAND_OVER_S))

    rpc = grpc_server.GrpcServer(
        ready,
        grpc_services.assemble_services(
            ClientCalls(limiter, accounts, streams),
            pool=node.database,
            conversations=node.instances.conversations,
            external_loop=ExternalLoop(
                node.database, node.writer, node.instances.prompts, node.instances.scoring, clock.new_id
            ),
            load_status=tell,
            stop=node.stop,
        ),
        connection_limit.trusted_proxies(chosen.http),
    )
    grpc_port = rpc.listen(chosen.grpc)

    talk = ConversationContext(
        node.instances.conversations,
        node.database,
        node.instances.prompts,
        node.model,
        leaving,
        node.searches,
        streams,
        chosen.claude,
    )
    auth = http_auth.AuthContext(limiter, accounts, node.database)
    other_doors = membership.presence.list_doors if membership is not None else None
    app = http_app.create_app(
        chosen.node.id,
        ready,
        tell,
        auth,
        chosen.http,
        conversation_context=talk,
        list_addresses=other_doors,
    )
    host, port = listening.getsockname()[:2]
    return OpenDoors(
        f"http://{host}:{port}",
        f"{chosen.grpc.host}:{grpc_port}",
        ready,
        {
            "http": http_server.serve_app(
                app,
                listening,
                node.stop,
                node.grace_s,
                chosen.http,
                wait_until_quiet=leaving.wait_until_quiet,
            ),
            "limits": limiter.watch_redis(node.stop),
            "streams": streams.watch_credentials(node.stop),
            "grpc": rpc.serve(node.stop, node.grace_s),
            "readiness": ready.watch_probes(),
        },
    )


def _token_identity(
    chosen: settings.Settings, membership: Membership | None
) -> tuple[NodeIdentity, Voters]:
    """Who this node is to those who read its tokens, and whose it believes; without a cluster its own."""
    if membership is not None:
        return membership.identity, membership.load_voters
    key = signing_key.create_temporary()
    return NodeIdentity(
        NodeId(chosen.node.id), key.public, key.sign, signing_key.check_signature
    ), _load_no_voters


def _cluster_probes(membership: Membership | None) -> Mapping[str, readiness.Probe]:
    """What a node tells of its cluster, and serves without."""
    if membership is None:
        return {}
    return {
        "leadership": partial(cluster_probes.check_leader, membership),
        "quorum": partial(cluster_probes.check_quorum, membership),
    }


async def _load_no_voters() -> None:
    """A node without a place in a cluster knows no chain."""
