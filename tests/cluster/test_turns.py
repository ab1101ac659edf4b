"""Three node processes, etcd and the stand-in: a reply that outlives its host, and the next day."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from ccn import settings
from ccn.claude import stand_in
from ccn.claude.faults import Rule
from ccn.core import prompt
from ccn.core.ids import NodeId
from ccn.core.stream import Kind, Told
from ccn.core.turn import Status
from ccn.embedded import etcd
from ccn.etcd import client, members
from ccn.peers import client as peers
from ccn.store import drains, instances
from ccn.store.turns import Turn
from tests import living
from tests.living import Node, World

NAMES = ("node-1", "node-2", "node-3")
SLOW = Rule(pause_s=0.02)


class Cluster:
    """Node processes, and how they are started, killed and stopped."""

    def __init__(self, folder: Path, environ: dict[str, str]) -> None:
        self._folder, self._environ = folder, environ
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, *names: str) -> None:
        for name in names:
            (self._folder / name).mkdir(exist_ok=True)
            own = {"CCN_NODE_ID": name, "CCN_NODE_STATE_DIR": str(self._folder / name)}
            with (self._folder / f"{name}.log").open("ab") as log:
                self.running[name] = subprocess.Popen(
                    [sys.executable, "-m", "ccn", "node", "run"],
                    env=settings.environment(self._environ | own),
                    stdout=log,
                    stderr=log,
                )

    def kill(self, name: str) -> None:
        os.kill(self.running[name].pid, signal.SIGKILL)
        self.running.pop(name).wait()

    def stop(self) -> None:
        for process in self.running.values():
            process.send_signal(signal.SIGTERM)
        for process in self.running.values():
            assert process.wait(30) == 0
        self.running.clear()

    def close(self) -> None:
        for process in self.running.values():
            process.kill()
            process.wait()


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ccn turns ") as made:
        yield Path(made)


@asynccontextmanager
async def _cluster(
    database: settings.Database, folder: Path, world: World
) -> AsyncIterator[tuple[Cluster, Node]]:
    """The three nodes, and a desk: a node in this process that hosts nothing, and asks the others."""
    async with AsyncExitStack() as stack:
        coordination = await stack.enter_async_context(etcd.running())
        model = await stack.enter_async_context(stand_in.running(rule=SLOW))
        cluster = Cluster(
            folder,
            {
                "CCN_DATABASE_URL": database.url.get_secret_value(),
                "CCN_ETCD_ENDPOINTS": ",".join(coordination.endpoints),
                "CCN_ETCD_LEASE_TTL_S": "2",
                "CCN_CLAUDE_BASE_URL": model.url,
                "CCN_INSTANCES_HEARTBEAT_S": "0.3",
                "CCN_INSTANCES_ADOPT_AFTER_S": "3",
                **{f"CCN_{door}_PORT": "0" for door in ("HTTP", "GRPC", "PEERS")},
            },
        )
        stack.callback(cluster.close)
        cluster.start(*NAMES)
        others = await stack.enter_async_context(peers.opened(NodeId("desk"), None))
        seen = await stack.enter_async_context(client.opened(coordination.endpoints))
        watching = asyncio.create_task(_know(seen, others, world))
        stack.callback(watching.cancel)
        desk = await stack.enter_async_context(world.node("desk", peers=others))
        await _eventually(lambda: len(world.processes) == len(NAMES))
        await drains.begin(desk.pool, desk.id, "test", [NodeId(name) for name in NAMES])
        await _eventually(lambda: desk.living.adoption.draining)
        yield cluster, desk


async def _know(seen: client.Client, others: peers.Client, world: World) -> None:
    async for present in members.watch(seen):
        world.processes = [each.node for each in present]
        await others.know({each.node: each.grpc for each in present})


async def _eventually(holds: object) -> None:
    async with asyncio.timeout(90):
        while not holds():  # type: ignore[operator]
            await asyncio.sleep(0.02)


async def _read(desk: Node, turn: Turn, told: list[Told]) -> None:
    async for each in desk.doors.follow(turn.id):
        told.append(each)  # noqa: PERF401 - who waits looks at the list meanwhile


@pytest.mark.timeout(240)
async def test_a_reply_outlives_its_host_and_the_next_day_goes_on(
    database: settings.Database, folder: Path
) -> None:
    world = await living.founded(database)
    async with _cluster(database, folder, world) as (cluster, desk):
        begun = await desk.doors.start(living.ADA, title="Harbours")
        talk, host = begun.conversation.id, begun.instance.host
        assert host in NAMES, "the desk takes nothing"
        turn = await desk.doors.say(talk, "My boat is called Zephyr. Tell me about harbours.")
        told: list[Told] = []
        reading = asyncio.create_task(_read(desk, turn, told))
        await _eventually(lambda: len(told) >= 3)
        cluster.kill(host)
        await asyncio.wait_for(reading, 40)
        kinds = [each.kind for each in told]
        assert (kinds.count(Kind.RESTART), kinds.count(Kind.DONE), kinds[-1]) == (1, 1, Kind.DONE)
        said = await desk.said(talk)
        assert said == [
            ("user", "My boat is called Zephyr. Tell me about harbours."),
            ("assistant", living.text(told)),
        ]
        adopted = await instances.of_conversation(desk.pool, talk)
        assert adopted is not None
        assert (adopted.host != host, adopted.epoch) == (True, 2)

        cluster.stop()
        world.processes = []
        cluster.start(*NAMES)
        await _eventually(lambda: len(world.processes) == len(NAMES))
        turn = await desk.doors.say(talk, "Good morning. Do you remember my boat?")
        assert "Zephyr" in await desk.reply(turn.id)
        assert (await desk.doors.turn(turn.id)).status is Status.COMMITTED
        shown = prompt.show(await desk.living.prompting.call(adopted, await desk.doors.turn(turn.id)))
        for part in (
            "Keeps her word.",
            "<ccn:state>",
            "My boat is called Zephyr.",
            living.text(told),
            "Good morning.",
        ):
            assert part in shown
        cluster.stop()
