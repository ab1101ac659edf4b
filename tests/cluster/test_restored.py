"""A node whose database was put back to an earlier moment: it opens no door, writes nothing, and says why.

The database is copied, the node goes on, and the copy takes its place: between two lives of the node, and
under a node that is running. When the right one is back the node goes on as if nothing had been.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import socket
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from ccn import settings
from ccn.cli.cluster.fork_server import ForkedProcess
from ccn.embedded import etcd
from ccn.etcd import client, members
from ccn.node.signing import memory
from tests.support import databases, ports
from tests.support.cli import commands

NODE = "node-1"
_DEADLINE_S = 90.0


@dataclass
class Server:
    """The databases of a server, as whoever restores one handles them."""

    url: str
    live: str = field(default_factory=lambda: f"live_{secrets.token_hex(4)}")

    @property
    def database(self) -> str:
        return databases.named(self.url, self.live)

    async def run(self, *statements: str) -> None:
        for sql in statements:
            await databases.execute(self.url, sql)

    async def copy(self, name: str) -> None:
        await self.run(f"CREATE DATABASE {self.live}_{name} TEMPLATE {self.live}")

    async def swap(self, put_away: str, put_there: str) -> None:
        """Another database under the same name, and no connection outlives that."""
        await self.run(
            f"ALTER DATABASE {self.live} ALLOW_CONNECTIONS false",
            f"""SELECT count(pg_terminate_backend(pid, 30000)) FROM pg_stat_activity
                WHERE datname = '{self.live}'""",
            f"ALTER DATABASE {self.live} RENAME TO {self.live}_{put_away}",
            f"ALTER DATABASE {self.live}_{put_there} RENAME TO {self.live}",
            f"ALTER DATABASE {self.live} ALLOW_CONNECTIONS true",
        )

    async def rows(self) -> dict[str, object]:
        """How many each table has, the heads of leaves, and the term: whatever is written shows there."""
        connection = await asyncpg.connect(self.database)
        try:
            found: dict[str, object] = {
                row["name"]: await connection.fetchval(f"SELECT count(*) FROM {row['name']}")
                for row in await connection.fetch(_TABLES)
            }
            more = await connection.fetch("SELECT node_id, head FROM leaf_sources ORDER BY node_id")
            term = await connection.fetchval("SELECT term FROM cluster_term")
            return found | {"heads": [tuple(row) for row in more], "at term": term}
        finally:
            await connection.close()

    async def height(self) -> int:
        shown = "SELECT coalesce(max(height), 0) FROM verification_chain"
        return int(str(await databases.execute(self.database, shown)))


_TABLES = "SELECT quote_ident(tablename) AS name FROM pg_tables WHERE schemaname = 'public'"


@dataclass
class Lone:
    """The only node of a cluster, as a process; its ports stay its own."""

    folder: Path
    environ: dict[str, str]
    http: int
    grpc: int
    endpoints: tuple[str, ...]
    running: ForkedProcess | None = None

    def start(self) -> None:
        with Path(os.devnull).open() as nothing, (self.folder / "log").open("ab") as log:
            streams = (nothing.fileno(), log.fileno(), log.fileno())
            self.running = commands.begin(("node", "run"), self.environ, streams, name=NODE)

    async def stop(self) -> None:
        assert self.running is not None
        self.running.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(self.running.wait, _DEADLINE_S) == 0

    def close(self) -> None:
        if self.running is not None and self.running.poll() is None:
            self.running.kill()
            print(*self.log().splitlines()[-40:], sep="\n")  # noqa: T201 - people want to see what it said

    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    async def asked(self, path: str, method: str = "GET") -> httpx.Response:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.http}", timeout=30) as asks:
            return await asks.request(method, path)

    async def reason(self) -> str:
        """Why it is not ready; nothing while it is, or while nobody answers."""
        try:
            answer = await self.asked("/ready")
        except httpx.TransportError:
            return ""
        told: dict[str, Any] = answer.json()
        against = {each["name"]: each["reason"] for each in told["checks"] if not each["passes"]}
        return str(against.get("record", "")) if answer.status_code == 503 else ""

    async def ready(self) -> bool:
        try:
            return (await self.asked("/ready")).status_code == 200
        except httpx.TransportError:
            return False

    async def holds(self, lost: str) -> None:
        """It says what is missing, is alive, and every other door is shut."""
        await until(lambda: _contains(self.reason(), lost))
        assert (await self.asked("/health")).status_code == 200
        for method, path in (
            ("POST", "/token"),
            ("GET", "/"),
            ("GET", "/status"),
            ("POST", "/api/v1/conversation/start"),
        ):
            answer = await self.asked(path, method)
            assert (answer.status_code, answer.json()["code"]) == (503, "record_lost")
            assert lost in answer.json()["detail"]
            assert "Put back the database that has it" in answer.json()["detail"]
        with socket.socket() as knocking:
            assert knocking.connect_ex(("127.0.0.1", self.grpc)) != 0
        async with client.open_client(self.endpoints, deadline_s=10.0) as seen:
            await until(lambda: _nobody(seen))


async def _contains(asked: Awaitable[str], lost: str) -> bool:
    return lost in await asked


async def _nobody(seen: client.EtcdClient) -> bool:
    return not await members.read_registrations(seen)


@dataclass
class World:
    server: Server
    node: Lone

    async def goes_on(self) -> None:
        """Two more blocks: the node is ready and signs."""
        await until(self.node.ready)
        before = await self.server.height()
        await until(lambda: self._above(before + 1))

    async def _above(self, height: int) -> bool:
        return await self.server.height() > height


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(_DEADLINE_S):
        while not await holds():
            await asyncio.sleep(0.05)


@asynccontextmanager
async def living(database_server: str) -> AsyncIterator[World]:
    server = Server(database_server)
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ccn restored ")))
        coordination = await stack.enter_async_context(etcd.run_etcd())
        http, grpc = (stack.enter_context(ports.reserve_port()) for _ in range(2))
        await server.run(f"CREATE DATABASE {server.live} TEMPLATE {databases.TEMPLATE} STRATEGY file_copy")
        stack.push_async_callback(_dropped, server)
        environ = {
            "CCN_NODE_ID": NODE,
            "CCN_NODE_STATE_DIR": str(folder / "state"),
            "CCN_DATABASE_URL": server.database,
            "CCN_ETCD_ENDPOINTS": ",".join(coordination.endpoints),
            "CCN_ETCD_LEASE_TTL_S": "2",
            "CCN_CLUSTER_SIZE": "1",
            "CCN_CLUSTER_INTERVAL_S": "0.5",
            "CCN_HTTP_PORT": str(http),
            "CCN_GRPC_PORT": str(grpc),
            "CCN_PEERS_PORT": "0",
        }
        node = Lone(folder, settings.child_environment(environ), http, grpc, coordination.endpoints)
        stack.callback(node.close)
        yield World(server, node)


async def _dropped(server: Server) -> None:
    for name in (server.live, f"{server.live}_old", f"{server.live}_right"):
        await server.run(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@pytest.mark.timeout(400)
async def test_a_node_serves_nobody_on_a_database_from_before_what_it_signed(database_server: str) -> None:
    async with living(database_server) as world:
        server, node = world.server, world.node
        node.start()
        await world.goes_on()
        await node.stop()
        await server.copy("old")
        node.start()
        await world.goes_on()

        await server.swap("right", "old")  # under it
        before = await server.rows()
        await node.holds("which node-1 signed: it was put back to an earlier moment")
        assert "CRITICAL" in node.log().upper()
        await node.stop()
        node.start()
        await node.holds("which node-1 signed: it was put back to an earlier moment")
        assert await server.rows() == before

        await server.swap("old", "right")
        await world.goes_on()
        await node.stop()

        state = memory.read_state(node.folder / "state" / memory.STATE)
        assert state is not None
        newest = state.acknowledged.number
        await _change(server, newest)
        node.start()
        await node.holds(f"shows another leaf in the place of leaf {newest}, which node-1 acknowledged")
        await node.stop()
        accept = ("node", "accept-loss", "--by", "ann", "--reason", "no database has it")
        accepted = await asyncio.to_thread(commands.run, *accept, env=node.environ)
        assert accepted.returncode == 0, accepted.stderr
        node.start()
        await world.goes_on()
        await node.stop()


async def _change(server: Server, number: int) -> None:
    """What a database does that its owner put together by hand."""
    connection = await asyncpg.connect(server.database)
    try:
        async with connection.transaction():
            await connection.execute("SET LOCAL session_replication_role = replica")
            changed = "UPDATE leaves SET body = body || ' ' WHERE node_id = $1 AND number = $2"
            assert await connection.execute(changed, NODE, number) == "UPDATE 1"
    finally:
        await connection.close()
