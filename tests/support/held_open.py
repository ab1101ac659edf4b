"""Tests that start what tests start, tell who that is, and go on until somebody ends them.

No run collects this file by itself: `tests/packaging/test_leftovers.py` names it and kills who runs it.
"""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import AsyncExitStack
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from tests.support import ports
from tests.support.cli import commands
from tests.support.etcd.servers import Server
from tests.support.gateway import redis_server

NAMES = "HELD_OPEN_NAMES"
"""The name of the variable that holds the file to tell them in."""


async def test_everything_runs_until_somebody_ends_it(plain_server: str, tmp_path: Path) -> None:
    assert plain_server
    async with AsyncExitStack() as stack:
        chosen = [stack.enter_context(ports.reserve_port()) for _ in range(3)]
        Server("held", tmp_path, chosen).launch()
        if not redis_server.LEFT_OUT:
            await stack.enter_async_context(redis_server.running())
        forked = commands.begin(("node", "run"), _waiting(stack), (0, 1, 2))
        family = [psutil.Process(forked.pid), *psutil.Process(forked.pid).parents()[:1]]
        family += psutil.Process().children(recursive=True)
        told = "".join(f"{each.pid} {each.create_time()} {each.name()}\n" for each in family)
        beside = Path(os.environ[NAMES]).with_suffix(".new")
        beside.write_text(told)
        beside.rename(os.environ[NAMES])
        await asyncio.Event().wait()


def _waiting(stack: AsyncExitStack) -> dict[str, str]:
    """The environment of a node whose database never answers."""
    silent = stack.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1]
    return commands.environment(CCN_DATABASE_URL=f"postgresql://ann@127.0.0.1:{silent}/ccn")
