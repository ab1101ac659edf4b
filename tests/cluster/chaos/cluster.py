"""A cluster whose every process can be hurt and whose every wire can be cut, as `ccn up` would start it.

The servers are the embedded ones, and a supervisor brings them back at once. Nodes are processes of
`breakable`; whoever kills one starts it again. Between all of them lies a `Network`. The test itself asks
the database directly, and a watch notes when each block came.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from ccn import errors, settings
from ccn.cli.cluster import nodes, ports
from ccn.cli.cluster.credentials import node_credentials
from ccn.core.ids import NodeId
from ccn.embedded import etcd
from ccn.embedded.postgres import service
from ccn.embedded.supervision import Backoff
from ccn.store.connection import migrate, pool
from ccn.store.connection.pool import Pool
from ccn.store.rounds import terms
from tests.cluster.chaos.network import HOST, Network, Way
from tests.cluster.chaos.party import DEADLINE_S, Coordination, Node, Nursery, Service, until
from tests.support import ports as reserved_ports

SETTINGS = {
    "CCN_CLUSTER_INTERVAL_S": "0.25",
    "CCN_CLUSTER_LIMIT_S": "1.5",
    "CCN_ETCD_LEASE_TTL_S": "1",
    "CCN_DATABASE_CONNECT_TIMEOUT_S": "2",
    "CCN_DATABASE_STATEMENT_TIMEOUT_S": "4",
    "CCN_LOG_LEVEL": "debug",
}
TTL_S = 1.0
STILL_S = 2.0
COMES_S = 15.0
"""How long a node that leads, or follows the one that does, may take to the step it is to stop at."""
START_S = 120.0
"""Everything starts at once, on a machine that may be busy; how soon is not what is tested here."""
_AT_ONCE = Backoff(first_s=0.05, cap_s=0.1)
_LOOK_S = 0.05

_HEIGHT = "SELECT coalesce(max(height), 0) FROM verification_chain"
_VOTED = """
    SELECT count(*) FROM votes WHERE height = (SELECT max(height) FROM verification_chain) AND height > $1
"""


class Cluster:
    """A running cluster, and what a test does to it and waits for."""

    def __init__(
        self,
        folder: Path,
        members: Sequence[Node],
        database: Service,
        coordination: Coordination,
        network: Network,
    ) -> None:
        self.folder = folder
        self.nodes = {node.name: node for node in members}
        self.database, self.coordination, self.network = database, coordination, network
        self.blocks: list[tuple[float, int]] = []
        """When each height was first seen, by the monotonic clock."""
        self.pool: Pool

    @property
    def quorum(self) -> int:
        return len(self.nodes) // 2 + 1

    async def height(self) -> int:
        """The height now; the database is asked until it answers."""

        async def ask() -> int | None:
            with contextlib.suppress(errors.CCNError):
                return 1 + int(await self.pool.value(_HEIGHT))
            return None

        return (await until(ask, "the database answers")) - 1

    async def leader(self) -> Node:
        """Who leads, once it has committed a block in its term."""

        async def ask() -> Node | None:
            with contextlib.suppress(errors.CCNError):
                term = await terms.load_term(self.pool)
                sql = "SELECT count(*) FROM verification_chain WHERE term = $1"
                if term.leader and await self.pool.value(sql, term.number):
                    return self.nodes[term.leader]
            return None

        return await until(ask, "somebody leads and commits")

    async def follower(self) -> Node:
        leader = await self.leader()
        return next(node for node in self.nodes.values() if node is not leader)

    async def stopped_at(self, step: str, *, follower: bool = False) -> tuple[Node, Node]:
        """The leader, and a follower; that of the two which is asked for stands still at this step."""
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline:
            leader = await self.leader()
            other = next(node for node in self.nodes.values() if node is not leader)
            armed = other if follower else leader
            armed.arm(step)
            if await self._comes_to(armed, step, leader):
                return leader, other
            armed.disarm()
            await armed.thaw()  # if it came there at the last moment
        raise AssertionError(f"nobody came to {step!r}")

    async def _comes_to(self, armed: Node, step: str, leader: Node) -> bool:
        """Whether it stands still; if not, somebody else leads by now, or it takes too long."""

        async def ask() -> str | None:
            if await armed.stands():
                return "stands"
            with contextlib.suppress(errors.CCNError):
                return (
                    None if (await terms.load_term(self.pool)).leader == leader.name else "led by another"
                )
            return None

        with contextlib.suppress(AssertionError):
            return await until(ask, f"{armed.name} comes to {step}", COMES_S) == "stands"
        return False

    async def goes_on(self, by: int = 2) -> None:
        """Wait for so many more blocks."""
        before = await self.height()

        async def ask() -> bool:
            return await self.height() >= before + by

        await until(ask, f"{by} more blocks after {before}")

    async def stands_still(self) -> None:
        """Wait until no block has come for longer than a round may take."""

        async def ask() -> bool:
            return time.monotonic() - self.blocks[-1][0] > STILL_S

        await until(ask, "rounds stop")

    async def whole(self, within_s: float = DEADLINE_S) -> None:
        """Wait until all nodes vote again, for a block that is yet to come."""
        before = await self.height()

        async def ask() -> bool:
            with contextlib.suppress(errors.CCNError):
                return bool(await self.pool.value(_VOTED, before) == len(self.nodes))
            return False

        await until(ask, f"all nodes vote for a block after {before}", within_s)

    def around(self, *inside: str, both: bool = True) -> list[Way]:
        """The ways from these parties to all others, and back if it is to be `both`."""
        outside = [name for name in (*self.nodes, "etcd", "postgres") if name not in inside]
        ways = [(one, other) for one in inside for other in outside]
        return ways + [(other, one) for one, other in ways] if both else ways

    async def watch(self) -> None:
        """Note when blocks come, until cancelled."""
        while True:
            with contextlib.suppress(errors.CCNError):
                height = int(await self.pool.value(_HEIGHT))
                if not self.blocks or height > self.blocks[-1][1]:
                    self.blocks.append((time.monotonic(), height))
            await asyncio.sleep(_LOOK_S)

    async def keep(self) -> None:
        """Start nodes again that ended by themselves, as one does that finds no database when it starts."""
        while True:
            for node in self.nodes.values():
                if node.wanted and node.died():
                    await node.comes_back()
            await asyncio.sleep(_LOOK_S)

    def outage_s(self, since: float) -> float:
        """The longest time without a block since then."""
        times = [since, *(at for at, _ in self.blocks if at > since), time.monotonic()]
        return max(after - before for before, after in itertools.pairwise(times))


@contextlib.asynccontextmanager
async def running(count: int, folder: Path) -> AsyncIterator[Cluster]:
    """Start it, wait until it is whole, and end it."""
    async with contextlib.AsyncExitStack() as stack:
        nursery = Nursery()  # it takes a while, while the servers start
        stack.callback(nursery.close)
        # A killed server leaves what it wrote to the kernel: nothing here depends on fsync.
        database = await stack.enter_async_context(
            service.run_postgres(folder / "postgres", fsync=False, backoff=_AT_ONCE)
        )
        coordination = await stack.enter_async_context(etcd.run_etcd(backoff=_AT_ONCE))
        await migrate.apply_pending(database.url)
        members: list[Node] = []
        network = Network(lambda: [(node.name, node.pid) for node in members])
        to_etcd = int(coordination.endpoints[0].rpartition(":")[2])
        names = [NodeId(f"node-{number}") for number in range(1, count + 1)]
        given = node_credentials.prepare_nodes(folder / "nodes", names, [HOST], datetime.now(UTC))
        for name in names:
            port = stack.enter_context(reserved_ports.reserve_port())
            front = await stack.enter_async_context(network.door(name, port))
            etcd_door = await stack.enter_async_context(network.door("etcd", to_etcd, name))
            database_door = await stack.enter_async_context(network.door("postgres", database.port, name))
            own = {
                "CCN_PEERS_PORT": str(port),
                "CCN_PEERS_ADVERTISE": f"{HOST}:{front}",
                "CCN_ETCD_ENDPOINTS": f"{HOST}:{etcd_door}",
                "CCN_DATABASE_URL": database.url.replace(f":{database.port}/", f":{database_door}/"),
                "CCN_CLUSTER_SIZE": str(count),
            }
            settled = {**given[name].to_environment(), **SETTINGS, **own}
            environ = nodes.node_environment(name, ports.NodePorts(0, 0), settled)
            members.append(Node(name, folder / name, nursery, environ))
        for node in members:
            node.start()
        made = Cluster(folder, members, Service("postgres", database), Coordination(coordination), network)
        reading = settings.DatabaseSettings.from_url(database.url).model_copy(
            update={"statement_timeout_s": 5.0}
        )
        made.pool = await stack.enter_async_context(pool.open(reading, "chaos"))
        for task in (asyncio.create_task(made.watch()), asyncio.create_task(made.keep())):
            stack.callback(task.cancel)
        await made.whole(START_S)
        yield made
