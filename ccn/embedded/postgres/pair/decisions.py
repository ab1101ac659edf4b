"""Who leads: what is decided when one of the two servers dies, or comes back.

Separate because these are the steps at which something acknowledged could get lost. Each takes back on the
disk first what would be wrong to believe after a crash in the middle.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import structlog

from ccn import errors
from ccn.embedded.postgres import control_file, postmaster, standby
from ccn.embedded.postgres.pair import server_query
from ccn.embedded.postgres.pair.members import EmbeddedPair
from ccn.embedded.postgres.server import PostgresServer

log = structlog.get_logger(__name__)

_SERVERS_POLL_S = 0.2
_GONE_TIMEOUT_S = 10.0
_IN_STEP_TIMEOUT_S = 10.0
_BEHIND = 16 * 1024**2


async def govern_pair(pair: EmbeddedPair) -> None:
    """For as long as the pair runs: see what changed, and decide."""
    while True:
        with suppress(TimeoutError):
            async with asyncio.timeout(_SERVERS_POLL_S):
                await pair.changed.wait()
        pair.changed.clear()
        try:
            await decide_roles(pair)
        except (errors.EmbeddedFailed, OSError) as failed:
            log.warning("the pair of databases could not be changed", reason=str(failed))


async def decide_roles(pair: EmbeddedPair) -> None:
    """Do what follows from who is alive, one thing at a time."""
    async with pair.deciding:
        primary, other = pair.primary, pair.standby
        if not primary.alive:
            if pair.record.in_step and other.alive:
                await _fail_over(pair)
        elif not control_file.leads(primary.server.where.pgdata):
            await standby.promote_server(primary.server, primary.pid)
        elif pair.record.in_step and not other.alive:
            _go_alone(pair)
        elif not pair.record.in_step and other.alive:
            await _bring_in_step(pair)


async def _fail_over(pair: EmbeddedPair) -> None:
    """Promote the standby. The primary has ended: nothing of it may be left that could still answer."""
    died, promoted = pair.primary, pair.standby
    began = time.monotonic()
    await _end_leftovers(died.server.where.pgdata)
    record = replace(pair.record, primary=promoted.name, in_step=False, failovers=pair.record.failovers + 1)
    pair.write_record(record)
    pair.assign_roles()
    await standby.promote_server(promoted.server, promoted.pid)
    pair.promoted_s = time.monotonic() - began
    pair.on_change(f"{died.name} died, {promoted.name} was promoted and leads from now on")


def _go_alone(pair: EmbeddedPair) -> None:
    pair.write_record(replace(pair.record, in_step=False))
    pair.primary.server.replication.synchronous = False
    pair.primary.server.reload_settings(pair.primary.pid)
    pair.on_change(f"{pair.standby.name} died, {pair.primary.name} goes on without a standby")


async def _bring_in_step(pair: EmbeddedPair) -> None:
    """Let commits wait for the standby, then see that it has everything from before as well."""
    server, name = pair.primary.server, pair.standby.name
    if not await _has_caught_up(server, name):
        return
    if pair.synchronous:
        server.replication.synchronous = True
        server.reload_settings(pair.primary.pid)
        if not await _waits_for(server) or not await _has_all(server, name):
            server.replication.synchronous = False
            server.reload_settings(pair.primary.pid)
            return
    pair.write_record(replace(pair.record, in_step=True))
    pair.on_change(f"{name} is in step with {pair.primary.name}")


async def _has_caught_up(server: PostgresServer, name: str) -> bool:
    (behind,) = await server_query.ask_server(server, _BEHIND_BY.format(name=name)) or [""]
    return bool(behind) and int(behind) < _BEHIND


async def _waits_for(server: PostgresServer) -> bool:
    """Whether every commit waits from now on. A connection that is new says what the server has read.

    Before it made that connection, it told all its processes to read the settings. One of them tells the
    commits whether to wait, and the same one does the checkpoint, after it has read them.
    """
    until = time.monotonic() + _IN_STEP_TIMEOUT_S
    while await server_query.ask_server(server, "SHOW synchronous_standby_names") == [""]:
        if time.monotonic() > until:
            return False
        await asyncio.sleep(0.01)
    await server_query.ask_server(server, "CHECKPOINT", timeout_s=60.0)
    return True


async def _has_all(server: PostgresServer, name: str) -> bool:
    """Whether the standby has on its disk what was committed up to now."""
    (upto,) = await server_query.ask_server(server, "SELECT pg_current_wal_insert_lsn()")
    until = time.monotonic() + _IN_STEP_TIMEOUT_S
    while await server_query.ask_server(server, _HAS.format(name=name, upto=upto)) != ["t"]:
        if time.monotonic() > until:
            return False
        await asyncio.sleep(0.05)
    return True


async def _end_leftovers(pgdata: Path) -> None:
    """End what a killed server left: its children see its death, and busy ones see it late."""
    until = time.monotonic() + _GONE_TIMEOUT_S
    while (pid := postmaster.find_process(pgdata)) is not None:
        if time.monotonic() > until:
            raise errors.EmbeddedFailed(f"pid {pid} of the dead server on {pgdata} does not end")
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        await asyncio.sleep(0.001)


_BEHIND_BY = """
    SELECT pg_wal_lsn_diff(pg_current_wal_flush_lsn(), flush_lsn)::bigint FROM pg_stat_replication
    WHERE application_name = '{name}' AND state = 'streaming'
"""
_HAS = """
    SELECT coalesce(bool_or(flush_lsn >= '{upto}'::pg_lsn), false) FROM pg_stat_replication
    WHERE application_name = '{name}' AND state = 'streaming' AND sync_state IN ('sync', 'quorum')
"""
