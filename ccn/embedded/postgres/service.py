"""An embedded PostgreSQL: one call starts it on a folder, and leaving the block stops it.

    async with service.run_postgres(folder) as database:
        ... connect to database.url ...

Read `run_postgres` for the story. The other files tell where things lie (`layout`, `sockets`), how a data
directory is made (`initialise`), which programs are used (`binaries`, `copies`), how one server is started
(`server`), which one runs already (`postmaster`), and what its last words mean (`failures`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ccn import errors
from ccn.embedded import binaries, folder, ports, supervision
from ccn.embedded.binaries import PostgresPrograms
from ccn.embedded.postgres import copies, initialise, layout, postmaster, sockets
from ccn.embedded.postgres import ephemeral as mayfly
from ccn.embedded.postgres.layout import DataLayout
from ccn.embedded.postgres.replication import ServerReplication
from ccn.embedded.postgres.server import POLL_S, STOP, PostgresServer
from ccn.embedded.supervision import USUAL, Backoff, ChildEvent, SupervisedChild

ROOM = 32 * 1024**2
_PREDECESSOR_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class EmbeddedPostgres:
    """A running server. `url` is its owner's and contains a password, so `repr` leaves it out.

    `node_password` is kept beside the data for the role that nodes have. The schema makes that role.
    """

    url: str = field(repr=False)
    port: int
    data: Path
    version: str
    server: PostgresServer = field(repr=False)
    supervised: SupervisedChild = field(repr=False)
    node_password: str = field(repr=False)

    def url_of(self, role: str, password: str) -> str:
        """Return the address of the same database for another role."""
        return database_url(role, password, self.port)

    @property
    def pid(self) -> int:
        """The process id of the server now. After a death it comes back with another one."""
        return self.supervised.pid


@asynccontextmanager
async def run_postgres(
    data: Path,
    *,
    bin: Path | None = None,  # noqa: A002 - the name of the setting
    port: int = 0,
    ephemeral: bool = False,
    fsync: bool = True,
    replication: ServerReplication | None = None,
    backoff: Backoff = USUAL,
    on_event: Callable[[ChildEvent], None] = lambda _: None,
) -> AsyncIterator[EmbeddedPostgres]:
    """Run PostgreSQL on the folder `data` until the block ends. Killed, it comes back on the same port.

    `bin` is the folder of its programs (setting pg.bin), `port` 0 takes a free one. `ephemeral` removes
    the data afterwards, and beforehand what a killed ephemeral run left. `fsync=False` is for tests that
    may lose data in a power cut. `replication` names its standbys, if it has any. `backoff` is how soon it
    comes back after a death. Every failure is an `EmbeddedFailed` that says what to do.
    """
    async with AsyncExitStack() as stack:
        where = stack.enter_context(layout.open_layout(data, ephemeral=ephemeral))
        await wait_for_predecessor(where)
        stack.enter_context(mayfly.temporary_data(where) if ephemeral else mayfly.lasting_data(where))
        programs = await asyncio.to_thread(find_programs, where, bin)
        password = await prepare_data(where, programs)
        socket = stack.enter_context(sockets.socket_folder(where))

        @asynccontextmanager
        async def serve_port(chosen: int) -> AsyncIterator[tuple[PostgresServer, SupervisedChild]]:
            server = PostgresServer(
                where, programs, chosen, socket, fsync, replication or ServerReplication()
            )
            async with supervise_server("postgres", server, backoff, on_event) as supervised:
                yield server, supervised

        if port:
            server, supervised = await stack.enter_async_context(serve_port(port))
        else:
            server, supervised = await ports.serve_on_free_ports(stack, 1, serve_port)
        url = database_url("ccn", password, server.port)
        node_password = layout.ensure_password(where.node_password)
        yield EmbeddedPostgres(
            url, server.port, where.data, programs.version, server, supervised, node_password
        )


def owner_url(data: Path, *listening: int) -> str:
    """Return the address, for its owner, of the server or the pair that another process runs on `data`."""
    try:
        password = (data / "password").read_text().strip()
    except OSError as unreadable:
        raise errors.DataDirectoryUnusable(
            f"{data / 'password'} cannot be read: {unreadable.strerror}"
        ) from unreadable
    return database_url("ccn", password, *listening)


def database_url(role: str, password: str, *listening: int) -> str:
    """Return the address, for a role, of a server on this machine, or of several that follow each other."""
    # Without `sslmode` a client asks for TLS first. That costs each connection a round trip and a context
    # of certificates, and the answer is no: the server listens on loopback and has none.
    hosts = ",".join(f"{ports.HOST}:{port}" for port in listening)
    return f"postgresql://{role}:{password}@{hosts}/ccn?sslmode=disable"


def find_programs(where: DataLayout, bin_: Path | None, like: str | None = None) -> PostgresPrograms:
    """Find the programs for this folder: of the version that wrote its data, else those of `like`."""
    major = where.read_major() or (int(like.partition(".")[0]) if like else None)
    programs = binaries.find_postgres(bin_, major)
    if major not in {None, programs.major}:
        raise errors.DataDirectoryUnusable(
            f"{where.pgdata} was written by PostgreSQL {major}, and the one at hand is PostgreSQL "
            f"{programs.version} in {programs.bin}. Point CCN_PG_BIN at the programs of PostgreSQL "
            f"{major}, or choose another folder with --data. To move them to {programs.major}, use "
            "pg_upgrade."
        )
    return copies.ensure_reachable(programs, where.account)


async def prepare_data(where: DataLayout, programs: PostgresPrograms) -> str:
    """Make data if there are none. Return the password for them."""
    is_lost = not where.password.exists()
    password = layout.ensure_password(where.password)
    if where.read_major() is None:
        await initialise.initialise_data(where, programs, password)
        return password
    folder.ensure_room(where.home, ROOM)
    if is_lost:
        await initialise.set_password(where, programs, password)
    return password


async def wait_for_predecessor(where: DataLayout) -> None:
    """Let a server finish that shuts down because its parent was killed.

    Nobody else has the folder locked.
    """
    until = time.monotonic() + _PREDECESSOR_TIMEOUT_S
    while (pid := _find_running(where)) is not None:
        if time.monotonic() > until:
            raise errors.AlreadyRunning(
                f"a PostgreSQL with pid {pid} runs on {where.pgdata}, but no CCN holds it. "
                f"Stop it with: kill -INT {pid}"
            )
        await asyncio.sleep(POLL_S)


def _find_running(where: DataLayout) -> int | None:
    with folder.translate_refusals(where.data):
        return postmaster.find_server(where.pgdata)


@asynccontextmanager
async def supervise_server(
    called: str,
    server: PostgresServer,
    backoff: Backoff,
    on_event: Callable[[ChildEvent], None],
    prepare: Callable[[], Awaitable[None]] | None = None,
) -> AsyncIterator[SupervisedChild]:
    """Keep a server running until the block ends; `prepare` comes before each of its starts."""
    async with supervision.supervise_child(
        called,
        server.start,
        prepare=prepare,
        ready=server.wait_until_ready,
        stop=STOP,
        backoff=backoff,
        on_event=on_event,
    ) as supervised:
        yield supervised
