"""Searches keep to their share of a node: of one user, of all together, and of time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest
import pytest_asyncio

from tests.support import databases
from tests.support.gateway import http_door
from tests.support.node.node_world import Node, found_world

pytestmark = pytest.mark.asyncio(loop_scope="module")

SEARCH = "/api/v1/search?q=boat"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node(database_server: str) -> AsyncIterator[Node]:
    async with databases.cloned(database_server, "searching") as database:
        world = await found_world(database)
        async with world.node("node-1") as made:
            yield made


@asynccontextmanager
async def without_documents(node: Node) -> AsyncIterator[None]:
    """For as long as the block lasts, every search waits for somebody who holds the documents."""
    held = await asyncpg.connect(node.world.database.url.get_secret_value())
    try:
        async with held.transaction():
            await held.execute("LOCK message_documents IN ACCESS EXCLUSIVE MODE")
            yield
    finally:
        await held.close()


async def waiting(node: Node, number: int) -> None:
    """Until so many searches wait in the database."""
    async with asyncio.timeout(60):
        while await node.pool.value(_WAITING) < number:
            await asyncio.sleep(0.01)


async def test_searches_that_hang_hold_up_nobody_s_list_and_no_user_has_more_than_two(node: Node) -> None:
    keys = [await http_door.key(node) for _ in range(3)]
    async with (
        http_door.door(node, search_timeout_s=60.0) as door,
        door.client(keys[0]) as one,
        door.client(keys[1]) as two,
        door.client(keys[2]) as three,
        asyncio.TaskGroup() as group,
    ):
        async with without_documents(node):
            hanging = [group.create_task(client.get(SEARCH)) for client in (one, one, two, two)]
            await waiting(node, 4)
            refused = await one.get(SEARCH)
            assert (refused.status_code, refused.json()["code"]) == (429, "too_many_searches")
            assert "2 of your searches" in refused.json()["detail"]
            assert (await three.get("/api/v1/conversations")).status_code == 200
            late = await three.get(SEARCH)
            assert (late.status_code, late.json()["code"]) == (503, "overloaded")
        assert {(await each).status_code for each in hanging} == {200}
        assert (await one.get(SEARCH)).status_code == (await three.get(SEARCH)).status_code == 200


async def test_a_search_that_takes_too_long_ends_and_says_what_helps(node: Node) -> None:
    key = await http_door.key(node)
    async with http_door.door(node, search_timeout_s=0.2) as door, door.client(key) as client:
        async with without_documents(node):
            answer = await client.get(SEARCH)
        assert (answer.status_code, answer.json()["code"]) == (503, "took_too_long")
        assert "rarer words" in answer.json()["detail"]
        assert (await client.get(SEARCH)).json() == {"found": [], "complete": True}


_WAITING = """
    SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()
"""
