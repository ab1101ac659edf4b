"""A node with a gRPC door, and a program that is connected to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest

from ccn import continuity, settings
from ccn.continuity import Cluster
from ccn.node.character import scorers
from tests.support.gateway import grpc_door
from tests.support.gateway.grpc_door import Door
from tests.support.node import node_world


@dataclass
class Program:
    """A node's door, and what a program has: a key and a connection."""

    door: Door
    key: str
    cluster: Cluster


@pytest.fixture
async def program(database: settings.DatabaseSettings) -> AsyncIterator[Program]:
    world = await node_world.found_world(database)
    async with AsyncExitStack() as stack:
        scorer = scorers.load_quantised("tier-1/v1")
        node = await stack.enter_async_context(world.node("node-1", scorer=scorer))
        door = await stack.enter_async_context(grpc_door.serve_node(node))
        key = await grpc_door.api_key(node.pool)
        cluster = await stack.enter_async_context(continuity.connect(door.target, key))
        yield Program(door, key, cluster)
