"""A node of its own process: prints its port, and serves until it is killed."""

from __future__ import annotations

import asyncio
import sys

from tests.support.peers import peer_node


async def main(port: int) -> None:
    async with peer_node.served(peer_node.Node(), port=port) as address:
        print(address.rpartition(":")[2], flush=True)  # noqa: T201 - the test reads it
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
