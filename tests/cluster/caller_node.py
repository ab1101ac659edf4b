"""The process that the test of gRPC streams kills: a node with a door, and a model that takes its time."""

from __future__ import annotations

import asyncio
import random
import sys

import structlog
from pydantic import SecretStr

from ccn import settings
from tests import calling
from tests.cluster.speaker import QUICK, Echo
from tests.living import World


async def main(url: str, node: str, port: int) -> None:
    """Serve until killed."""
    world = World(settings.Database(url=SecretStr(url), pool_size=6))
    model, door = Echo(random.Random(node)), settings.Grpc(port=port)
    async with (
        world.node(node, model, QUICK) as here,  # type: ignore[arg-type]
        calling.served(here, door=door),
    ):
        print("serving", flush=True)  # noqa: T201 - whoever started it waits for this
        await asyncio.Event().wait()


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
