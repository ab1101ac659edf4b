"""A standby of an embedded PostgreSQL, beside it: what is committed there is here a moment later.

    leads = ServerReplication(standbys=(standby.NAME,))
    async with service.run_postgres(folder, replication=leads) as primary:
        async with standby.run_standby(primary, other_folder) as copy:
            ... read from copy.url ...
            await copy.promote()            # once the primary is gone, and only then

Read `run_standby` for the story. Separate because its data come from another server, again and again: at
the first start, and whenever it cannot follow from where it is. Who may be promoted is
for the caller to know.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from ccn.embedded import failures, folder, ports
from ccn.embedded.postgres import (
    base_backup,
    control_file,
    layout,
    postmaster,
    replication,
    service,
    sockets,
)
from ccn.embedded.postgres import ephemeral as mayfly
from ccn.embedded.postgres.replication import ServerReplication, Upstream
from ccn.embedded.postgres.server import POLL_S, PostgresServer
from ccn.embedded.postgres.service import EmbeddedPostgres
from ccn.embedded.supervision import USUAL, Backoff, ChildEvent, SupervisedChild

NAME = "ccn_standby"
_PROMOTE_TIMEOUT_S = 60.0
_WATCH_S = 1.0
_READ_LIMIT = 64 * 1024
_LEFT_BEHIND = re.compile(
    rb"requested WAL segment \S+ has already been removed"
    rb"|requested starting point \S+ on timeline \d+ is not in this server's history"
    rb"|new timeline \d+ forked off current database system timeline"
    rb"|highest timeline \d+ of the primary is behind recovery timeline"
)
"""What a standby says, again and again, that will never get on by itself."""


@dataclass(frozen=True, slots=True)
class EmbeddedStandby:
    """A running standby, or what became of it: once promoted it is a primary and stays one."""

    url: str = field(repr=False)
    port: int
    data: Path
    version: str
    server: PostgresServer = field(repr=False)
    supervised: SupervisedChild = field(repr=False)

    def url_of(self, role: str, password: str) -> str:
        """Return the address of the same database for another role."""
        return service.database_url(role, password, self.port)

    @property
    def pid(self) -> int:
        """The process id of the server now. After a death it comes back with another one."""
        return self.supervised.pid

    async def promote(self) -> None:
        """Make it a primary. Its own must be gone for good: two of them would go two ways."""
        await promote_server(self.server, self.pid)


@asynccontextmanager
async def run_standby(
    primary: EmbeddedPostgres,
    data: Path,
    *,
    name: str = NAME,
    bin: Path | None = None,  # noqa: A002 - the name of the setting
    port: int = 0,
    ephemeral: bool = False,
    fsync: bool = True,
    backoff: Backoff = USUAL,
    on_event: Callable[[ChildEvent], None] = lambda _: None,
) -> AsyncIterator[EmbeddedStandby]:
    """Run a standby of `primary` on the folder `data` until the block ends. Killed, it comes back.

    `name` is what the primary knows it by, which `synchronous_standby_names` there may say. The rest is as
    in `run_postgres`. Data that cannot follow any more are copied anew.
    """
    async with AsyncExitStack() as stack:
        where = stack.enter_context(layout.open_layout(data, ephemeral=ephemeral))
        await service.wait_for_predecessor(where)
        stack.enter_context(mayfly.temporary_data(where) if ephemeral else mayfly.lasting_data(where))
        programs = await asyncio.to_thread(service.find_programs, where, bin, primary.version)
        password = take_passwords(where, primary)
        socket = stack.enter_context(sockets.socket_folder(where))
        upstream = Upstream(primary.port, where.passfile, name)

        @asynccontextmanager
        async def serve_port(chosen: int) -> AsyncIterator[tuple[PostgresServer, SupervisedChild]]:
            server = PostgresServer(where, programs, chosen, socket, fsync, ServerReplication(upstream))
            supervising = service.supervise_server(
                "standby", server, backoff, on_event, lambda: prepare_data(server)
            )
            async with supervising as supervised:
                yield server, supervised

        if port:
            server, supervised = await stack.enter_async_context(serve_port(port))
        else:
            server, supervised = await ports.serve_on_free_ports(stack, 1, serve_port)
        await stack.enter_async_context(watch_in_background(server, supervised))
        url = service.database_url("ccn", password, server.port)
        yield EmbeddedStandby(url, server.port, where.data, programs.version, server, supervised)


async def prepare_data(server: PostgresServer) -> None:
    """Before a start: if the server is to follow another one, make its data such that it can."""
    upstream = server.replication.follows
    if upstream is None:
        return
    if is_left_behind(server):
        await base_backup.copy_server(server.where, server.programs, upstream)
        server.log_since = failures.log_size(server.where.log)
    else:
        await base_backup.follow_or_copy(server.where, server.programs, upstream)


async def promote_server(server: PostgresServer, pid: int) -> None:
    """Let the standby with this pid become a primary, and wait until it takes writes."""
    server.replication.follows = None
    request = server.where.pgdata / "promote"
    with folder.translate_refusals(server.where.pgdata):
        request.touch(mode=0o600)
        replication.give_file(request, server.where)
    os.kill(pid, signal.SIGUSR1)
    until = time.monotonic() + _PROMOTE_TIMEOUT_S
    while not control_file.leads(server.where.pgdata):
        if time.monotonic() > until or not postmaster.is_server_of(pid, server.where.pgdata):
            raise failures.explain_failure(
                f"the standby on {server.where.pgdata} did not become a primary", server.where.log
            )
        await asyncio.sleep(POLL_S)


def take_passwords(where: layout.DataLayout, primary: EmbeddedPostgres) -> str:
    """Keep the passwords of the primary here as well: the copied data know these. Return the owner's."""
    copy_passwords(where, primary.data)
    password = layout.ensure_password(where.password)
    replication.write_passfile(where, password)
    return password


def copy_passwords(where: layout.DataLayout, primary: Path) -> None:
    """Write the passwords in the folder of the primary here as well."""
    with folder.translate_refusals(where.data):
        for file in (where.password, where.node_password):
            folder.replace_file(file, (primary / file.name).read_text(), 0o600)


def is_left_behind(server: PostgresServer) -> bool:
    """Whether it said since its last start that it cannot follow from where it is."""
    since = server.log_since
    if since is None:
        return False
    with suppress(OSError), server.where.log.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(max(since if since <= end else 0, end - _READ_LIMIT))
        return _LEFT_BEHIND.search(file.read()) is not None
    return False


@asynccontextmanager
async def watch_in_background(server: PostgresServer, supervised: SupervisedChild) -> AsyncIterator[None]:
    """Until the block ends, stop it when it is left behind: its next start mends that."""
    watching = asyncio.create_task(_watch_for_gap(server, supervised), name="watch standby")
    try:
        yield
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching


async def _watch_for_gap(server: PostgresServer, supervised: SupervisedChild) -> None:
    while True:
        await asyncio.sleep(_WATCH_S)
        if server.replication.follows is not None and is_left_behind(server):
            pid = supervised.pid
            if postmaster.is_server_of(pid, server.where.pgdata):
                os.kill(pid, signal.SIGINT)
                while supervised.pid == pid:  # noqa: ASYNC110 - another process's start
                    await asyncio.sleep(_WATCH_S)
