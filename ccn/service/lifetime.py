"""Be one node: open its neighbours, start its tasks, and end them in order.

On SIGTERM or Ctrl-C the node says that it is not ready, stops accepting, finishes what runs within its
deadline, and closes its neighbours in the reverse order. A database that lost what it had shown shuts the
doors until it shows that again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import structlog
import uvloop

import ccn
from ccn import errors, metrics, settings
from ccn.certificates.watch import CertificateWatches
from ccn.claude import client as claude
from ccn.core.ids import NodeId
from ccn.core.rounds.signer import NumberedHash
from ccn.gateway import file_limit, reading_places
from ccn.gateway.accounts.passwords import Passwords
from ccn.gateway.deeds.seen_gateways import SeenGateways
from ccn.gateway.http import closed_door as http_shut
from ccn.gateway.http import server as http_server
from ccn.node.operators import own_drain
from ccn.node.recovery import database_check
from ccn.node.signing import signing_key
from ccn.node.signing.memory import SigningRight
from ccn.node.spending.paid_model import PaidModel
from ccn.node.upkeep import example
from ccn.service import (
    background,
    clock,
    doors,
    gateway_lifetime,
    house_doors,
    lost_deadline,
    process,
    served_node,
    servers,
)
from ccn.service.parts import Parts, run_together
from ccn.service.served_node import ServedNode
from ccn.store.connection import migrate, pool
from ccn.store.connection.fence import Fence
from ccn.store.connection.pool import Pool
from ccn.store.connection.timelines import SeenTimelines
from ccn.store.writing.writer import Writer

_log = structlog.get_logger()

ExtraParts = Callable[[Pool, Writer, asyncio.Event], Parts]
"""What somebody else runs within a node, until the event says stop."""


def run_node(chosen: settings.Settings, beside: ExtraParts = lambda *_: {}) -> None:
    """Be a voter or a gateway until told to stop; raise if it could not start or a part of it died.

    `beside` names further parts of a voter, which live and die with the others.
    """
    if not chosen.database.url.get_secret_value():
        raise errors.SettingsInvalid("CCN_DATABASE_URL is not set: a node needs its cluster's database")
    doors.check_doors(chosen)
    chosen = servers.prepare_servers(chosen)
    file_limit.reserve_files(chosen)
    metrics.process.set_build(chosen.node.id, ccn.__version__)
    metrics.process.set_role(chosen.node.role)
    is_gateway = chosen.node.role == "gateway"
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(
            gateway_lifetime.serve_until_told(chosen) if is_gateway else _serve_until_told(chosen, beside)
        )


async def _serve_until_told(chosen: settings.Settings, beside: ExtraParts) -> None:
    node = NodeId(chosen.node.id)
    chosen = await asyncio.to_thread(served_node.with_scorer_version, chosen)
    acknowledged: NumberedHash | None = None
    lone = None if chosen.node.state_dir else SeenTimelines()  # without a folder it lasts as long as we do

    async def look_at_database() -> None:
        async with database_check.open_right(chosen) as right:
            shown = database_check.make_fence(node, right, acknowledged, lone)
            state = right.state if right is not None else None
            await database_check.check_database(chosen.database, shown, state, signing_key.check_signature)

    with process.catch_stop_signals() as told:
        while not told.is_set():
            try:
                await look_at_database()
                async with database_check.open_right(chosen) as right:
                    fence = database_check.make_fence(node, right, acknowledged, lone)
                    try:
                        await lost_deadline.live_until_lost(
                            _live(chosen, beside, told, right, fence), fence
                        )
                    finally:
                        acknowledged = fence.acknowledged
            except errors.RecordLost as lost:
                _log.critical("this node keeps its doors shut", reason=str(lost))
                await http_shut.serve_until_mended(chosen, look_at_database, told)
    _log.info("stopped")


async def _live(
    chosen: settings.Settings,
    beside: ExtraParts,
    told: asyncio.Event,
    right: SigningRight | None,
    fence: Fence,
) -> None:
    """Serve until told to stop; `RecordLost` once the database does not show any more what it must."""
    stop = asyncio.Event()
    certificates = CertificateWatches(clock.utc_now, chosen.tls.look_s)
    try:
        servers.watch_databases(chosen.database, certificates)
        plan = await migrate.apply_pending(
            chosen.database.url.get_secret_value(), accept=fence.timelines.find_unfitness
        )
        if plan.newer:
            _log.info("serving beside a newer schema", files=len(plan.newer))
        async with pool.open(chosen.database, chosen.node.id, fence) as database:
            writer = Writer(chosen.database, NodeId(chosen.node.id), clock.utc_now, fence)
            parts = {
                "record": database_check.watch_fence(fence, right, told, stop),
                "writer": writer.run(),
                **beside(database, writer, stop),
            }
            async with run_together(parts, stop, chosen.node.shutdown_timeout_s):
                await own_drain.end_own_drain(database, writer.node)
                if chosen.cluster.example:
                    await example.import_example(database, writer)
                async with (
                    served_node.open_membership(
                        chosen, database, writer, right, certificates
                    ) as membership,
                    claude.open_client(chosen.claude) as client,
                    reading_places.open_places(chosen, database, writer.node, fence) as reading,
                ):
                    model = PaidModel(client, database, chosen.claude, clock.utc_now, chosen.limits)
                    instances = served_node.assemble_instances(chosen, database, writer, membership, model)
                    await _serve_node(
                        ServedNode(
                            chosen=chosen,
                            stop=stop,
                            database=database,
                            writer=writer,
                            membership=membership,
                            instances=instances,
                            model=model,
                            reading=reading,
                            certificates=certificates,
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


async def _serve_node(node: ServedNode) -> None:
    """Open the doors, run all parts until told to stop, and close the doors again."""
    with (
        contextlib.closing(http_server.listen_on_port(node.chosen.http)) as listening,
        contextlib.closing(Passwords()) as passwords,
    ):
        seen = SeenGateways()
        behind = house_doors.assemble_house(node, passwords, seen)
        open_doors = doors.open_doors(behind, listening)
        parts = background.make_errand_parts(node) | node.instances.make_parts(node.stop, node.grace_s)
        if node.membership is not None:
            gateways = house_doors.answer_gateways(behind, node, node.membership, seen)
            parts |= background.make_round_parts(node, node.membership, open_doors.http, gateways)
        parts["certificates"] = node.certificates.watch_files(node.stop)
        await process.serve_doors(open_doors, parts, node.stop, node.grace_s)
