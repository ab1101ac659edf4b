"""The composition root of one node: opens every neighbour, starts every task, ends them in order.

Long-lived work stands in one TaskGroup with names. One death stops the node, because a node that lost a
part of itself would look alive and not be. On SIGTERM or Ctrl-C the node says that it is not ready, stops
accepting, finishes what runs within its deadline, and closes its neighbours in the reverse order.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import secrets
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from uuid import UUID

import structlog
import uvloop

import ccn
from ccn import errors, metrics, settings
from ccn.certificates import identity
from ccn.certificates.identity import TlsIdentity as PeerIdentity
from ccn.claude import client as claude
from ccn.core import ids
from ccn.core.ids import NodeId
from ccn.core.rounds.signer import NumberedHash
from ccn.etcd import access
from ccn.gateway import file_limit, readiness, search_places
from ccn.gateway.accounts.accounts import Accounts
from ccn.gateway.accounts.keyring import Keyring, Voters
from ccn.gateway.accounts.passwords import Passwords
from ccn.gateway.grpc import peer as peer_door
from ccn.gateway.grpc import server as grpc_server
from ccn.gateway.grpc import services as grpc_services
from ccn.gateway.grpc.client_calls import ClientCalls
from ccn.gateway.http import app as http_app
from ccn.gateway.http import auth as http_auth
from ccn.gateway.http import closed_door as http_shut
from ccn.gateway.http import connection_limit
from ccn.gateway.http import server as http_server
from ccn.gateway.http.conversations.context import ConversationContext, StreamShutdown
from ccn.gateway.limiting import Limiter
from ccn.gateway.open_streams import OpenStreams
from ccn.gateway.search_places import Searches
from ccn.node import assembly
from ccn.node.assembly import NodeInstances
from ccn.node.character import scorers
from ccn.node.character.judge import Judge
from ccn.node.external_loop import ExternalLoop
from ccn.node.instances.forwarding import Forwarding
from ccn.node.operators import execution
from ccn.node.recovery import database_check
from ccn.node.rounds.membership import Membership
from ccn.node.rounds.peer_answers import PeerAnswers
from ccn.node.rounds.presence import NodeDoors
from ccn.node.rounds.voting import NodeIdentity
from ccn.node.signing import signing_key
from ccn.node.signing.memory import SigningRight
from ccn.node.spending.paid_model import PaidModel
from ccn.node.upkeep import errands, example
from ccn.node.views import cluster_probes, cluster_status
from ccn.peers import client as peers
from ccn.peers.certificate_watch import CertificateWatch
from ccn.store.connection import migrate, pool
from ccn.store.connection.fence import Fence
from ccn.store.connection.pool import Pool
from ccn.store.writing.writer import Writer

_log = structlog.get_logger()

Parts = Mapping[str, Coroutine[None, None, None]]
ExtraParts = Callable[[Pool, Writer, asyncio.Event], Parts]
"""What somebody else runs within a node, until the event says stop."""

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_HAND_OVER_S = 1.5  # of the time to stop, what streams leave to the turns that are handed over
_MARGIN_S = 2.0  # each part has a deadline of its own; this one is for a part that misses it


def run(chosen: settings.Settings, beside: ExtraParts = lambda *_: {}) -> None:
    """Be a node until told to stop; raise if it could not start or a part of it died.

    `beside` names further parts, which live and die with the others.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run_node(chosen, beside))


async def _run_node(chosen: settings.Settings, beside: ExtraParts) -> None:
    if not chosen.database.url.get_secret_value():
        raise errors.SettingsInvalid("CCN_DATABASE_URL is not set: a node needs its cluster's database")
    node = NodeId(chosen.node.id)
    file_limit.reserve_files(chosen)
    metrics.set_build(node, ccn.__version__)
    chosen = await asyncio.to_thread(_with_scorer_version, chosen)
    acknowledged: NumberedHash | None = None

    async def look_at_database() -> None:
        async with database_check.open_right(chosen) as right:
            shown = database_check.make_fence(node, right, acknowledged)
            state = right.state if right is not None else None
            await database_check.check_database(chosen.database, shown, state, signing_key.check_signature)

    with _catch_stop_signals() as told:
        while not told.is_set():
            try:
                await look_at_database()
                async with database_check.open_right(chosen) as right:
                    fence = database_check.make_fence(node, right, acknowledged)
                    try:
                        await _live_until_lost(chosen, beside, told, right, fence)
                    finally:
                        acknowledged = fence.acknowledged
            except errors.RecordLost as lost:
                _log.critical("this node keeps its doors shut", reason=str(lost))
                await http_shut.serve_until_mended(chosen, look_at_database, told)
    _log.info("stopped")


async def _live_until_lost(
    chosen: settings.Settings,
    beside: ExtraParts,
    told: asyncio.Event,
    right: SigningRight | None,
    fence: Fence,
) -> None:
    """Serve until told to stop; `RecordLost` once the database does not show any more what it must."""
    stop = asyncio.Event()
    try:
        await migrate.apply_pending(chosen.database.url.get_secret_value())
        async with pool.open(chosen.database, chosen.node.id, fence) as database:
            writer = Writer(chosen.database, NodeId(chosen.node.id), _utc_now, fence)
            parts = {
                "record": database_check.watch_fence(fence, right, told, stop),
                "writer": writer.run(),
                **beside(database, writer, stop),
            }
            async with run_together(parts, stop, chosen.node.shutdown_timeout_s):
                if chosen.cluster.example:
                    await example.import_example(database, writer)
                async with (
                    _open_membership(chosen, database, writer, right) as membership,
                    claude.open_client(chosen.claude) as client,
                    search_places.open_searches(
                        chosen.database, chosen.limits, writer.node, fence
                    ) as searches,
                ):
                    model = PaidModel(client, database, chosen.claude, _utc_now, chosen.limits)
                    instances = _assemble_instances(chosen, database, writer, membership, model)
                    await _serve_node(
                        ServedNode(
                            chosen=chosen,
                            stop=stop,
                            database=database,
                            writer=writer,
                            membership=membership,
                            instances=instances,
                            model=model,
                            searches=searches,
                        )
                    )
                    await model.await_settlements()
                writer.stop()  # after the doors: what they accepted is still written
    except errors.CCNError:
        fence.raise_if_lost()  # whatever failed since then, this is why
        raise
    finally:
        await database_check.remember_acknowledged(fence, right)
    fence.raise_if_lost()


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedNode:
    """What a node consists of before its doors open."""

    chosen: settings.Settings
    stop: asyncio.Event
    database: Pool
    writer: Writer
    membership: Membership | None
    """None without etcd: then the node takes no part in rounds."""
    instances: NodeInstances
    model: PaidModel
    searches: Searches

    @property
    def grace_s(self) -> float:
        """How long each part may take to stop."""
        return self.chosen.node.shutdown_timeout_s


@contextlib.asynccontextmanager
async def _open_membership(
    chosen: settings.Settings, database: Pool, writer: Writer, right: SigningRight | None
) -> AsyncIterator[Membership | None]:
    """This node's peers and its place in the cluster; none without etcd, which is said aloud."""
    if right is None:
        _log.warning("no part in rounds: CCN_ETCD_ENDPOINTS and CCN_NODE_STATE_DIR are not both set")
        yield None
        return
    node, shown = (
        NodeId(chosen.node.id),
        identity.read_identity(chosen.tls, NodeId(chosen.node.id), _utc_now()),
    )
    access.read_access(chosen.etcd)  # what is wrong with it is said before anything starts
    async with peers.open_client(node, shown) as client:
        here = NodeIdentity(node, right.key.public, right.key.sign, signing_key.check_signature)
        yield Membership(
            here,
            right.open_memory,
            writer,
            database,
            client,
            partial(access.read_access, chosen.etcd),
            chosen.etcd.lease_ttl_s,
            chosen.cluster,
            _now_us,
        )


def _assemble_instances(
    chosen: settings.Settings,
    database: Pool,
    writer: Writer,
    membership: Membership | None,
    model: PaidModel,
) -> NodeInstances:
    """The instances of this node, and the model that speaks for them."""
    return assembly.assemble_instances(
        database,
        writer,
        model,
        forwarding=Forwarding(writer.node, membership.peers if membership is not None else None),
        here=membership.presence.list_seen if membership is not None else _see_nobody,
        chosen=chosen.instances,
        claude=chosen.claude,
        new_id=_new_id,
        limits=chosen.limits,
        scorer=scorers.load_quantised(chosen.cluster.scorer, chosen.scoring.model, chosen.scoring.heads),
        judge=Judge(model, chosen.scoring.judge) if chosen.scoring.judge else None,
    )


def _with_scorer_version(chosen: settings.Settings) -> settings.Settings:
    """The settings with the whole version of the scorer that is here, which the nodes agree on."""
    found = scorers.load_quantised(chosen.cluster.scorer, chosen.scoring.model, chosen.scoring.heads)
    cluster = chosen.cluster.model_copy(update={"scorer": found.version})
    return chosen.model_copy(update={"cluster": cluster})


async def _serve_node(node: ServedNode) -> None:
    """Open the doors, run all parts until told to stop, and close the doors again."""
    with (
        contextlib.closing(http_server.listen_on_port(node.chosen.http)) as listening,
        contextlib.closing(Passwords()) as passwords,
    ):
        doors = _open_doors(node, listening, passwords)
        parts = doors.parts | _errand_parts(node) | node.instances.make_parts(node.stop, node.grace_s)
        if node.membership is not None:
            parts |= _round_parts(node, node.membership, doors.http)
        async with run_together(parts, node.stop, node.grace_s + _MARGIN_S):
            _log.info("listening", http=doors.http, grpc=doors.grpc)
            _freeze_objects()
            await node.stop.wait()
            _log.info("stopping")
            doors.ready.stop()


@dataclass(frozen=True, slots=True)
class OpenDoors:
    """The doors for everybody, which listen already; `parts` serve them."""

    http: str
    grpc: str
    ready: readiness.Readiness
    parts: dict[str, Coroutine[None, None, None]]


def _open_doors(node: ServedNode, listening: socket.socket, passwords: Passwords) -> OpenDoors:
    """HTTP and gRPC over the same accounts, limits and streams, so that a caller is one caller at both."""
    chosen, membership = node.chosen, node.membership
    needed = {"database": lambda: node.database.value("SELECT 1"), "record": node.database.check_fence}
    ready = readiness.Readiness(needed, _cluster_probes(membership))
    tell = partial(cluster_status.load_status, membership) if membership is not None else None
    limiter = Limiter(chosen.limits)
    keyring = Keyring(node.database, *_token_identity(chosen, membership), chosen.accounts, _utc_now)
    accounts = Accounts(node.database, chosen.accounts, passwords, keyring, _utc_now)
    streams = OpenStreams(node.database, chosen.accounts, chosen.limits)
    leaving = StreamShutdown(node.stop, max(0.2, node.grace_s - _HAND_OVER_S))

    rpc = grpc_server.GrpcServer(
        ready,
        grpc_services.assemble_services(
            ClientCalls(limiter, accounts, streams),
            pool=node.database,
            talk=node.instances.conversations,
            lending=ExternalLoop(
                node.database, node.writer, node.instances.prompts, node.instances.scoring, _new_id
            ),
            tell=tell,
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
        chosen.node.id, ready, tell, auth, chosen.http, talking=talk, doors=other_doors
    )
    host, port = listening.getsockname()[:2]
    return OpenDoors(
        f"http://{host}:{port}",
        f"{chosen.grpc.host}:{grpc_port}",
        ready,
        {
            "http": http_server.serve_app(
                app, listening, node.stop, node.grace_s, chosen.http, quiet=leaving.wait_until_quiet
            ),
            "limits": limiter.watch_redis(node.stop),
            "streams": streams.watch_credentials(node.stop),
            "grpc": rpc.serve(node.stop, node.grace_s),
            "readiness": ready.watch_probes(),
        },
    )


def _errand_parts(node: ServedNode) -> dict[str, Coroutine[None, None, None]]:
    """What a node does by and by, and what operators ask for."""
    database, writer = node.database, node.writer
    takes_on = node.membership.accepts_new_work if node.membership is not None else _always_take_on
    handlers = execution.node_handlers(database, writer)
    handlers |= {execution.RELEASE: execution.release_handler(node.instances.restoration)}
    return {
        "keeping": errands.run_errands(
            database, writer, node.chosen.retention, _utc_now, takes_on, node.stop
        ),
        "operating": execution.run_requests(database, writer, handlers, takes_on, node.stop),
    }


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


def _round_parts(
    node: ServedNode, membership: Membership, http: str
) -> dict[str, Coroutine[None, None, None]]:
    """The door for other nodes, and what a node does in rounds."""
    chosen, stop = node.chosen, node.stop
    answering = PeerAnswers(membership, node.instances.forwarding.answer_request)
    certificates = CertificateWatch(chosen.tls, NodeId(chosen.node.id), _utc_now)
    door = peer_door.PeerServer(answering, certificates.identity)
    port = door.listen(chosen.peers)

    async def show_identity(renewed: PeerIdentity) -> None:
        await asyncio.gather(door.show_identity(renewed), membership.peers.replace_identity(renewed))

    here = NodeDoors(http, peer_door.advertised_address(chosen.peers, port), _now_us())
    return {
        "peers": door.serve(stop, node.grace_s),
        "certificates": certificates.watch_files(show_identity, stop),
        "trust": membership.presence.trust.watch_register(stop),
        "membership": membership.take_part(here, stop),
    }


@contextlib.asynccontextmanager
async def run_together(parts: Parts, stop: asyncio.Event, grace_s: float) -> AsyncIterator[None]:
    """Run all parts beside the body; after it, wait for them, but not longer than `grace_s`."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(_run_part(name, work, stop), name=name) for name, work in parts.items()
            ]
            yield
            _, late = await asyncio.wait(tasks, timeout=grace_s)
            if late:
                names = ", ".join(sorted(task.get_name() for task in late))
                raise errors.NodeFailed(f"{names} did not stop within {grace_s:g} s")
    except BaseExceptionGroup as failed:
        raise _first_failure(failed) from None


async def _run_part(name: str, work: Coroutine[None, None, None], stop: asyncio.Event) -> None:
    try:
        await work
    except Exception as died:
        _log.critical("a part of this node died", part=name, exc_info=True)
        raise errors.NodeFailed(f"{name} died: {type(died).__name__}: {died}") from died
    if not stop.is_set():
        _log.critical("a part of this node ended by itself", part=name)
        raise errors.NodeFailed(f"{name} ended by itself")


def _first_failure(failed: BaseExceptionGroup[BaseException]) -> BaseException:
    first = failed.exceptions[0]
    return _first_failure(first) if isinstance(first, BaseExceptionGroup) else first


async def _always_take_on() -> bool:
    """A node without a place in a cluster has nobody to leave its work to."""
    return True


async def _load_no_voters() -> None:
    """A node without a place in a cluster knows no chain."""


def _see_nobody() -> None:
    """A node without etcd cannot tell which others are there."""


def _new_id() -> UUID:
    return ids.make_uuid7(time.time_ns() // 1_000_000, secrets.token_bytes(10))


def _utc_now() -> datetime:
    """By the same clock as `_now_us`, so that one that is wrong is wrong everywhere in a node."""
    return datetime.fromtimestamp(time.time(), UTC)


def _now_us() -> int:
    return time.time_ns() // 1_000


def _freeze_objects() -> None:
    """What start-up made stays for ever: the collector need not look at it again."""
    gc.collect()
    gc.freeze()


@contextlib.contextmanager
def _catch_stop_signals() -> Iterator[asyncio.Event]:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, stop.set)
    try:
        yield stop
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
