"""A gRPC stream survives kill -9 of the node behind it: its client goes on elsewhere, every word once."""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path

from ccn import continuity, settings
from ccn.continuity import Conversation
from ccn.core.calls.call import CallRestart, Delta, Reply
from ccn.core.ids import ConversationId
from ccn.store.connection import pool
from ccn.store.conversations import instances
from tests.support import ports, processes
from tests.support.cluster.speaker import WORDS, reply_to
from tests.support.gateway import grpc_door
from tests.support.node import node_world

DEATHS = 3
NODES = ("node-1", "node-2")
CHECKOUT = Path(__file__).parents[2]
CALLER_NODE = CHECKOUT / "tests/support/cluster/caller_node.py"


class Nodes:
    """Two nodes at fixed ports, and the process that forks them."""

    def __init__(self, nursery: asyncio.subprocess.Process, chosen: Mapping[str, int]) -> None:
        self._nursery = nursery
        self._ports = chosen
        self._pids: dict[str, int] = {}

    @property
    def targets(self) -> str:
        return ",".join(f"127.0.0.1:{port}" for port in self._ports.values())

    async def start(self, node: str) -> None:
        assert self._nursery.stdin is not None
        assert self._nursery.stdout is not None
        self._nursery.stdin.write(f"{node} {self._ports[node]}\n".encode())
        told = (await asyncio.wait_for(self._nursery.stdout.readline(), 60)).decode().split()
        assert told[:1] == [node]
        self._pids[node] = int(told[1])

    async def kill(self, node: str) -> None:
        """As nobody expects it, and until its port is free."""
        with suppress(ProcessLookupError):
            while True:
                os.kill(self._pids[node], signal.SIGKILL)
                await asyncio.sleep(0.01)


async def test_a_stream_survives_the_death_of_the_node_behind_it(
    database: settings.DatabaseSettings,
) -> None:
    chance = random.Random(secrets.token_hex(4))
    await node_world.found_world(database)
    async with pool.open(database, "test") as connections, _running(database) as nodes:
        key = await grpc_door.api_key(connections)
        async with continuity.connect(nodes.targets, key) as cluster:
            talk, said = await cluster.spawn("ada"), list[str]()
            for death in range(DEATHS):
                host = await _host(connections, talk.id)
                words = f"death/{death}"
                said += [words, await _heard(talk, words, nodes, host, chance.randint(0, WORDS - 1))]
                await nodes.start(host)
            history = await talk.history()
    assert [each.content for each in history] == said
    assert said[1::2] == [reply_to(words) for words in said[::2]]


async def _heard(talk: Conversation, words: str, nodes: Nodes, host: str, deadly: int) -> str:
    """The reply as a reader has it at the end, who saw its host die after so many pieces."""
    shown, whole, seen, killed = "", "", 0, False
    async with asyncio.timeout(60):
        async for piece in talk.say(words):
            match piece:
                case Delta(more):
                    shown, seen = shown + more, seen + 1
                case CallRestart():
                    shown = ""
                case Reply(text):
                    whole = text
            if seen >= deadly and not killed:
                await nodes.kill(host)
                killed = True
    assert killed
    assert shown == whole
    return whole


async def _host(connections: pool.Pool, talk: ConversationId) -> str:
    found = await instances.find_in_conversation(connections, talk)
    assert found is not None
    return found.host


@asynccontextmanager
async def _running(database: settings.DatabaseSettings) -> AsyncIterator[Nodes]:
    nursery = await asyncio.create_subprocess_exec(
        *(sys.executable, str(CALLER_NODE), database.url.get_secret_value()),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=settings.child_environment({"PYTHONPATH": str(CHECKOUT), "GRPC_ENABLE_FORK_SUPPORT": "false"}),
        start_new_session=True,
        preexec_fn=processes.tied(),
    )
    with ExitStack() as holding:
        try:
            nodes = Nodes(nursery, {node: holding.enter_context(ports.reserve_port()) for node in NODES})
            for node in NODES:
                await nodes.start(node)
            yield nodes
        finally:
            os.killpg(nursery.pid, signal.SIGKILL)
            await nursery.wait()
