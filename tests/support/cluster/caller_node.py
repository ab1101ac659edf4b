"""The processes that the test of gRPC streams kills: nodes with a door, and a model that takes its time.

Started once, it forks a node for every line `NODE PORT` on its input; the node prints its name and its
process id as soon as it serves.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys

import structlog
from pydantic import SecretStr

from ccn import settings
from ccn.core.ids import NodeId
from tests.support import processes
from tests.support.cluster.speaker import Echo
from tests.support.gateway import grpc_door
from tests.support.node.node_world import World

CALM = settings.InstancesSettings(heartbeat_s=0.1, adopt_after_s=1.5, chunk_ms=5)
"""Slow enough that a busy machine does not look like a death."""


class Unseen(World):
    """Without etcd: nobody can tell who else is here, so silence alone counts."""

    def here(self) -> list[NodeId]:
        """All that there may be."""
        return [NodeId("node-1"), NodeId("node-2")]


def main(url: str) -> None:
    """Fork a node for every line of input. gRPC begins in the children only."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the killed
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    itself = os.getpid()
    for line in sys.stdin:
        node, port = line.split()
        if os.fork() == 0:
            processes.die_with(itself)
            asyncio.run(_serve(url, node, int(port)))


async def _serve(url: str, node: str, port: int) -> None:
    world = Unseen(settings.DatabaseSettings(url=SecretStr(url), pool_size=6))
    model, door = Echo(random.Random(node)), settings.GrpcSettings(port=port)
    async with (
        world.node(node, model, CALM) as here,  # type: ignore[arg-type]
        grpc_door.serve_node(here, door=door),
    ):
        os.write(1, f"{node} {os.getpid()}\n".encode())
        await asyncio.Event().wait()


if __name__ == "__main__":
    main(sys.argv[1])
