"""Three node processes, etcd and the stand-in, and a desk: a node in the test's own process that hosts
nothing and asks the others.
"""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from ccn import settings
from ccn.claude.stand_in import server
from ccn.claude.stand_in.faults import FaultRule, FaultRules
from ccn.cli.cluster.fork_server import ForkedProcess
from ccn.core.ids import NodeId
from ccn.embedded import etcd
from ccn.etcd import client, members
from ccn.peers import client as peers
from ccn.store.accounts import node_register as register
from ccn.store.operators import drains
from tests.support.cli import commands
from tests.support.node import node_world
from tests.support.node.node_world import Node, World

NAMES = ("node-1", "node-2", "node-3")
_DEADLINE_S = 90.0


class Processes:
    """Node processes, and how they are started, killed and stopped."""

    def __init__(self, folder: Path, environ: dict[str, str]) -> None:
        self._folder, self._environ = folder, environ
        self._running: dict[str, ForkedProcess] = {}

    def start(self, *names: str) -> None:
        for name in names:
            (self._folder / name).mkdir(exist_ok=True)
            own = {"CCN_NODE_ID": name, "CCN_NODE_STATE_DIR": str(self._folder / name)}
            environ = settings.child_environment(self._environ | own)
            with Path(os.devnull).open() as nothing, (self._folder / f"{name}.log").open("ab") as log:
                streams = (nothing.fileno(), log.fileno(), log.fileno())
                self._running[name] = commands.begin(("node", "run"), environ, streams, name=name)

    def kill(self, name: str) -> None:
        killed = self._running.pop(name)
        killed.kill()
        killed.wait(90)

    async def stop(self) -> None:
        for process in self._running.values():
            process.send_signal(signal.SIGTERM)
        for process in self._running.values():
            assert await asyncio.to_thread(process.wait, 90) == 0
        self._running.clear()

    def close(self) -> None:
        """Kill what still runs; that is so after a failure, when people want to see what the nodes said."""
        for name in list(self._running):
            self.kill(name)
            print(f"{name} said last:", *_last_lines(self._folder / f"{name}.log"), sep="\n")  # noqa: T201


@dataclass(frozen=True)
class Three:
    """The three, once all of them are here and the desk is drained."""

    nodes: Processes
    desk: Node
    faults: FaultRules
    _world: World

    async def here(self) -> None:
        """Wait until all three are here."""
        await until(lambda: len(self._world.processes) == len(NAMES))

    async def again(self) -> None:
        """Stop all three in order, and start them again."""
        await self.nodes.stop()
        self._world.processes = []
        self.nodes.start(*NAMES)
        await self.here()


@asynccontextmanager
async def running(
    database: settings.DatabaseSettings, environ: dict[str, str], rule: FaultRule | None = None
) -> AsyncIterator[Three]:
    """Start everything; at the end the nodes have stopped in order, or were killed if the test failed."""
    world = await node_world.found_world(database)
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ccn three ")))
        coordination = await stack.enter_async_context(etcd.run_etcd())
        model = await stack.enter_async_context(server.run_stand_in(rule=rule or FaultRule()))
        nodes = Processes(
            folder,
            {
                "CCN_DATABASE_URL": database.url.get_secret_value(),
                "CCN_ETCD_ENDPOINTS": ",".join(coordination.endpoints),
                "CCN_CLAUDE_BASE_URL": model.url,
                **{f"CCN_{door}_PORT": "0" for door in ("HTTP", "GRPC", "PEERS")},
                **environ,
            },
        )
        stack.callback(nodes.close)
        nodes.start(*NAMES)
        others = await stack.enter_async_context(peers.open_client(NodeId("desk"), None))
        seen = await stack.enter_async_context(client.open_client(coordination.endpoints, deadline_s=10.0))
        watching = asyncio.create_task(_know(seen, others, world))
        stack.callback(watching.cancel)
        desk = await stack.enter_async_context(world.node("desk", peers=others))
        await register.enrol_node(desk.pool, desk.id, bytes(32))
        three = Three(nodes, desk, model.faults, world)
        await three.here()
        await drains.begin_drain(desk.pool, desk.id, "test", [NodeId(name) for name in NAMES])
        await until(lambda: desk.living.adoption.draining)
        yield three
        await nodes.stop()


def _last_lines(log: Path) -> list[str]:
    return log.read_text(errors="replace").splitlines()[-10:]


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(_DEADLINE_S):
        while not holds():
            await asyncio.sleep(0.02)


async def _know(seen: client.EtcdClient, others: peers.PeerClient, world: World) -> None:
    async for shown in members.watch_registrations(seen):
        present = [each.said.statement for each in shown]
        world.processes = [each.node for each in present]
        await others.set_addresses({each.node: each.grpc for each in present})
