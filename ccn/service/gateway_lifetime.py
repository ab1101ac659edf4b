"""Be one gateway: open what it reads, see the voters, open the doors, and end in order.

It migrates nothing and writes nothing, neither to the database nor to a disk. What it remembers, the block
that voters stand on, holds the database to it for as long as the process lives: one that lost what voters
had shown shuts the doors here, too.
"""

from __future__ import annotations

import asyncio
import contextlib

import structlog

from ccn import errors, settings
from ccn.core.ids import NodeId
from ccn.gateway.http import closed_door as http_shut
from ccn.gateway.http import server as http_server
from ccn.node.recovery import database_check
from ccn.node.rounds.voter_news import HeardNews
from ccn.service import doors, lost_deadline, process, served_gateway
from ccn.service.parts import run_together
from ccn.store.connection import migrate, pool
from ccn.store.connection.fence import Fence

_log = structlog.get_logger()


async def serve_until_told(chosen: settings.Settings) -> None:
    """Serve until told to stop; with shut doors while the database does not show what it must."""
    heard = HeardNews()

    async def look_at_database() -> None:
        alone = chosen.database.model_copy(update={"pool_size": 1})
        async with (
            pool.open(alone, f"{chosen.node.id} gate") as database,
            database.transaction() as connection,
        ):
            await _make_fence(chosen, heard).check_database(connection)

    with process.catch_stop_signals() as told:
        while not told.is_set():
            try:
                fence = _make_fence(chosen, heard)
                await lost_deadline.live_until_lost(_live(chosen, heard, told, fence), fence)
            except errors.RecordLost as lost:
                _log.critical("this gateway keeps its doors shut", reason=str(lost))
                await http_shut.serve_until_mended(chosen, look_at_database, told)
    _log.info("stopped")


async def _live(chosen: settings.Settings, heard: HeardNews, told: asyncio.Event, fence: Fence) -> None:
    stop, grace_s = asyncio.Event(), chosen.node.shutdown_timeout_s
    try:
        await _check_schema(chosen)
        watching = {"record": database_check.watch_fence(fence, None, told, stop)}
        async with (
            run_together(watching, stop, grace_s),
            served_gateway.open_gateway(chosen, stop, heard, fence) as gateway,
        ):
            with contextlib.closing(http_server.listen_on_port(chosen.http)) as listening:
                open_doors = doors.open_doors(gateway.behind, listening)
                gateway.news.door = open_doors.http
                await process.serve_doors(open_doors, gateway.make_parts(), stop, grace_s)
    except errors.CCNError:
        fence.raise_if_lost()  # whatever failed since then, this is why
        raise
    fence.raise_if_lost()


async def _check_schema(chosen: settings.Settings) -> None:
    """Refuse to serve from a schema that this version does not understand; voters migrate."""
    plan = await migrate.load_plan(chosen.database.url.get_secret_value())
    if plan.pending:
        raise errors.SchemaRefused(
            f"{len(plan.pending)} schema files are to run before this gateway can serve: upgrade a voter"
            " first, or run `ccn migrate`"
        )


def _make_fence(chosen: settings.Settings, heard: HeardNews) -> Fence:
    made = Fence(NodeId(chosen.node.id))
    made.signed = lambda: heard.tip
    return made
