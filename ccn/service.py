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
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from uuid import UUID

import structlog
import uvloop

import ccn
from ccn import errors, metrics, settings
from ccn.claude import client as claude
from ccn.core import ids
from ccn.core.ids import NodeId
from ccn.core.rounds.signer import Mark
from ccn.etcd import access
from ccn.gateway import file_limit, readiness, search_places
from ccn.gateway.accounts.accounts import Accounts
from ccn.gateway.accounts.keyring import Keyring, Voters
from ccn.gateway.accounts.passwords import Passwords
from ccn.gateway.grpc import peer as peer_door
from ccn.gateway.grpc import server as grpc_server
from ccn.gateway.grpc import services as grpc_services
from ccn.gateway.grpc.client_calls import Clients
from ccn.gateway.http import app as http_app
from ccn.gateway.http import auth as http_auth
from ccn.gateway.http import closed_door as http_shut
from ccn.gateway.http import connection_limit
from ccn.gateway.http import server as http_server
from ccn.gateway.http.conversations.context import Leaving, Talk
from ccn.gateway.limiting import Limiter
from ccn.gateway.open_streams import Streams
from ccn.gateway.search_places import Searching
from ccn.node import assembly
from ccn.node.assembly import Living
from ccn.node.character import scorers
from ccn.node.external_loop import Lending
from ccn.node.instances.forwarding import Forwarding
from ccn.node.operators import execution
from ccn.node.recovery import database_check
from ccn.node.rounds.membership import Membership
from ccn.node.rounds.peer_answers import Answering
from ccn.node.rounds.presence import Doors
from ccn.node.rounds.voting import Identity
from ccn.node.signing import signing_key
from ccn.node.signing.memory import Signing
from ccn.node.spending.paid_model import Paying
from ccn.node.upkeep import errands, example
from ccn.node.views import cluster_probes, cluster_status
from ccn.peers import client as peers
from ccn.peers import identity
from ccn.peers.identity import Identity as PeerIdentity
from ccn.peers.showing import Showing
from ccn.store.connection import migrate, pool
from ccn.store.connection.fence import Fence
from ccn.store.connection.pool import Pool
from ccn.store.writing.writer import Writer

_log = structlog.get_logger()

Parts = Mapping[str, Coroutine[None, None, None]]
Beside = Callable[[Pool, Writer, asyncio.Event], Parts]
"""What somebody else runs within a node, until the event says stop."""

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_HAND_OVER_S = 1.5  # of the time to stop, what streams leave to the turns that are handed over
_MARGIN_S = 2.0  # each part has a deadline of its own; this one is for a part that misses it


def run(chosen: settings.Settings, beside: Beside = lambda *_: {}) -> None:
    """Be a node until told to stop; raise if it could not start or a part of it died.

    `beside` names further parts, which live and die with the others.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(chosen, beside))


async def _run(chosen: settings.Settings, beside: Beside) -> None:
    if not chosen.database.url.get_secret_value():
        raise errors.SettingsInvalid("CCN_DATABASE_URL is not set: a node needs its cluster's database")
    node = NodeId(chosen.node.id)
    file_limit.reserve(chosen)
    metrics.built(node, ccn.__version__)
    chosen = await asyncio.to_thread(_with_its_scorer, chosen)
    acknowledged: Mark | None = None

    async def look() -> None:
        async with database_check.right_to_sign(chosen) as right:
            shown = database_check.fence(node, right, acknowledged)
            state = right.state if right is not None else None
            await database_check.look(chosen.database, shown, state, signing_key.check)

    with _stop_signals() as told:
        while not told.is_set():
            try:
                await look()
                async with database_check.right_to_sign(chosen) as right:
                    fence = database_check.fence(node, right, acknowledged)
                    try:
                        await _live(chosen, beside, told, right, fence)
                    finally:
                        acknowledged = fence.acknowledged
            except errors.RecordLost as lost:
                _log.critical("this node keeps its doors shut", reason=str(lost))
                await http_shut.hold(chosen, look, told)
    _log.info("stopped")


async def _live(
    chosen: settings.Settings, beside: Beside, told: asyncio.Event, right: Signing | None, fence: Fence
) -> None:
    """Serve until told to stop; `RecordLost` once the database does not show any more what it must."""
    stop = asyncio.Event()
    try:
        await migrate.apply(chosen.database.url.get_secret_value())
        async with pool.open(chosen.database, chosen.node.id, fence) as database:
            writer = Writer(chosen.database, NodeId(chosen.node.id), _now, fence)
            parts = {
                "record": database_check.watch(fence, right, told, stop),
                "writer": writer.run(),
                **beside(database, writer, stop),
            }
            async with together(parts, stop, chosen.node.shutdown_timeout_s):
                if chosen.cluster.example:
                    await example.furnish(database, writer)
                async with (
                    _membership(chosen, database, writer, right) as membership,
                    claude.opened(chosen.claude) as client,
                    search_places.opened(chosen.database, chosen.limits, writer.node, fence) as found,
                ):
                    model = Paying(client, database, chosen.claude, _now, chosen.limits)
                    lives = _instances(chosen, database, writer, membership, model)
                    await _serve(chosen, stop, database, writer, membership, lives, model, found)
                    await model.settled()
                writer.stop()  # after the doors: what they accepted is still written
    except errors.CCNError:
        fence.stand()  # whatever failed since then, this is why
        raise
    finally:
        await database_check.remember(fence, right)
    fence.stand()


@contextlib.asynccontextmanager
async def _membership(
    chosen: settings.Settings, database: Pool, writer: Writer, right: Signing | None
) -> AsyncIterator[Membership | None]:
    """This node's peers and its place in the cluster; none without etcd, which is said aloud."""
    if right is None:
        _log.warning("no part in rounds: CCN_ETCD_ENDPOINTS and CCN_NODE_STATE_DIR are not both set")
        yield None
        return
    node, shown = NodeId(chosen.node.id), identity.read(chosen.tls, NodeId(chosen.node.id), _now())
    access.read(chosen.etcd)  # what is wrong with it is said before anything starts
    async with peers.opened(node, shown) as client:
        here = Identity(node, right.key.public, right.key.sign, signing_key.check)
        yield Membership(
            here,
            right.memory,
            writer,
            database,
            client,
            partial(access.read, chosen.etcd),
            chosen.etcd.lease_ttl_s,
            chosen.cluster,
            _now_us,
        )


def _instances(
    chosen: settings.Settings, database: Pool, writer: Writer, membership: Membership | None, model: Paying
) -> Living:
    """The instances of this node, and the model that speaks for them."""
    return assembly.assemble(
        database,
        writer,
        model,
        forwarding=Forwarding(writer.node, membership.peers if membership is not None else None),
        here=membership.presence.here if membership is not None else _nobody_knows,
        chosen=chosen.instances,
        claude=chosen.claude,
        new_id=_new_id,
        limits=chosen.limits,
        scorer=scorers.measure(chosen.cluster.scorer, chosen.scoring.model, chosen.scoring.heads),
    )


def _with_its_scorer(chosen: settings.Settings) -> settings.Settings:
    """The settings with the whole version of the scorer that is here, which the nodes agree on."""
    found = scorers.measure(chosen.cluster.scorer, chosen.scoring.model, chosen.scoring.heads)
    cluster = chosen.cluster.model_copy(update={"scorer": found.version})
    return chosen.model_copy(update={"cluster": cluster})


async def _serve(  # noqa: PLR0917 - the things that the doors and their parts stand on
    chosen: settings.Settings,
    stop: asyncio.Event,
    database: Pool,
    writer: Writer,
    membership: Membership | None,
    lives: Living,
    model: Paying,
    found: Searching,
) -> None:
    needed = {"database": lambda: database.value("SELECT 1"), "record": database.recorded}
    ready = readiness.Readiness(needed, _seen(membership))
    grace_s = chosen.node.shutdown_timeout_s
    with (
        contextlib.closing(http_server.listen(chosen.http)) as listening,
        contextlib.closing(Passwords()) as passwords,
    ):
        host, port = listening.getsockname()[:2]
        tell = partial(cluster_status.tell, membership) if membership is not None else None
        takes_on = membership.takes_on if membership is not None else _always
        limiter = Limiter(chosen.limits)
        keyring = Keyring(database, *_known_by(chosen, membership), chosen.accounts, _now)
        accounts = Accounts(database, chosen.accounts, passwords, keyring, _now)
        desk = http_auth.Desk(limiter, accounts, database)
        streams = Streams(database, chosen.accounts, chosen.limits)
        lending = Lending(database, writer, lives.prompting, lives.scoring, _new_id)
        rpc = grpc_server.Server(
            ready,
            grpc_services.assemble(
                Clients(limiter, accounts, streams),
                pool=database,
                talk=lives.conversations,
                lending=lending,
                tell=tell,
                stop=stop,
            ),
            connection_limit.proxies(chosen.http),
        )
        grpc_port = rpc.listen(chosen.grpc)
        leaving = Leaving(stop, max(0.2, grace_s - _HAND_OVER_S))
        talk = Talk(
            lives.conversations, database, lives.prompting, model, leaving, found, streams, chosen.claude
        )
        doors = membership.presence.doors if membership is not None else None
        app = http_app.create(chosen.node.id, ready, tell, desk, chosen.http, talking=talk, doors=doors)
        parts = {
            "http": http_server.serve(app, listening, stop, grace_s, chosen.http, quiet=leaving.quiet),
            "limits": limiter.watch(stop),
            "streams": streams.watch(stop),
            "grpc": rpc.serve(stop, grace_s),
            "readiness": ready.watch(),
            "keeping": errands.keep(database, writer, chosen.retention, _now, takes_on, stop),
            "operating": execution.operate(
                database,
                writer,
                execution.handlers(database, writer)
                | {execution.RELEASE: execution.releasing(lives.restoring)},
                takes_on,
                stop,
            ),
        }
        parts |= lives.parts(stop, grace_s)
        if membership is not None:
            answering = Answering(membership, lives.forwarding.answer)
            parts |= _parts_in_rounds(chosen, membership, answering, f"http://{host}:{port}", stop, grace_s)
        async with together(parts, stop, grace_s + _MARGIN_S):
            _log.info("listening", http=f"http://{host}:{port}", grpc=f"{chosen.grpc.host}:{grpc_port}")
            _settle()
            await stop.wait()
            _log.info("stopping")
            ready.stop()


def _known_by(chosen: settings.Settings, membership: Membership | None) -> tuple[Identity, Voters]:
    """Who this node is to those who read its tokens, and whose it believes; without a cluster its own."""
    if membership is not None:
        return membership.identity, membership.voters
    key = signing_key.passing()
    return Identity(NodeId(chosen.node.id), key.public, key.sign, signing_key.check), _nobody_votes


def _seen(membership: Membership | None) -> Mapping[str, readiness.Probe]:
    """What a node tells of its cluster, and serves without."""
    if membership is None:
        return {}
    return {
        "leadership": partial(cluster_probes.leadership, membership),
        "quorum": partial(cluster_probes.quorum, membership),
    }


def _parts_in_rounds(  # noqa: PLR0917 - as above
    chosen: settings.Settings,
    membership: Membership,
    answering: Answering,
    http: str,
    stop: asyncio.Event,
    grace_s: float,
) -> dict[str, Coroutine[None, None, None]]:
    showing = Showing(chosen.tls, NodeId(chosen.node.id), _now)
    door = peer_door.Server(answering, showing.identity)
    port = door.listen(chosen.peers)

    async def show(renewed: PeerIdentity) -> None:
        await asyncio.gather(door.show(renewed), membership.peers.show(renewed))

    here = Doors(http, peer_door.address(chosen.peers, port), _now_us())
    return {
        "peers": door.serve(stop, grace_s),
        "certificates": showing.watch(show, stop),
        "trust": membership.presence.trust.watch(stop),
        "membership": membership.take_part(here, stop),
    }


@contextlib.asynccontextmanager
async def together(parts: Parts, stop: asyncio.Event, grace_s: float) -> AsyncIterator[None]:
    """Run all parts beside the body; after it, wait for them, but not longer than `grace_s`."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_part(name, work, stop), name=name) for name, work in parts.items()]
            yield
            _, late = await asyncio.wait(tasks, timeout=grace_s)
            if late:
                names = ", ".join(sorted(task.get_name() for task in late))
                raise errors.NodeFailed(f"{names} did not stop within {grace_s:g} s")
    except BaseExceptionGroup as failed:
        raise _first(failed) from None


async def _part(name: str, work: Coroutine[None, None, None], stop: asyncio.Event) -> None:
    try:
        await work
    except Exception as died:
        _log.critical("a part of this node died", part=name, exc_info=True)
        raise errors.NodeFailed(f"{name} died: {type(died).__name__}: {died}") from died
    if not stop.is_set():
        _log.critical("a part of this node ended by itself", part=name)
        raise errors.NodeFailed(f"{name} ended by itself")


def _first(failed: BaseExceptionGroup[BaseException]) -> BaseException:
    first = failed.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first


async def _always() -> bool:
    """A node without a place in a cluster has nobody to leave its work to."""
    return True


async def _nobody_votes() -> None:
    """A node without a place in a cluster knows no chain."""


def _nobody_knows() -> None:
    """A node without etcd cannot tell which others are there."""


def _new_id() -> UUID:
    return ids.uuid7(time.time_ns() // 1_000_000, secrets.token_bytes(10))


def _now() -> datetime:
    """By the same clock as `_now_us`, so that one that is wrong is wrong everywhere in a node."""
    return datetime.fromtimestamp(time.time(), UTC)


def _now_us() -> int:
    return time.time_ns() // 1_000


def _settle() -> None:
    """What start-up made stays for ever: the collector need not look at it again."""
    gc.collect()
    gc.freeze()


@contextlib.contextmanager
def _stop_signals() -> Iterator[asyncio.Event]:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, stop.set)
    try:
        yield stop
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
