"""A node with a gRPC door, and a program that is connected to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest

from ccn import continuity, settings
from ccn.continuity import Cluster
from ccn.node.character import scorers
from tests.support import calling, living
from tests.support.calling import Door


@dataclass
class Program:
    """A node's door, and what a program has: a key and a connection."""

    door: Door
    key: str
    cluster: Cluster


@pytest.fixture
async def program(database: settings.DatabaseSettings) -> AsyncIterator[Program]:
    world = await living.found_world(database)
    async with AsyncExitStack() as stack:
        scorer = scorers.load_quantised("tier-1/v1")
        node = await stack.enter_async_context(world.node("node-1", scorer=scorer))
        door = await stack.enter_async_context(calling.serve_node(node))
        key = await calling.api_key(node.pool)
        cluster = await stack.enter_async_context(continuity.connect(door.target, key))
        yield Program(door, key, cluster)
