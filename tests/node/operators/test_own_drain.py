"""A node that drained itself before it stopped takes part again when it starts; others are left alone."""

from __future__ import annotations

import uuid

from ccn.core.ids import NodeId
from ccn.node.operators import execution, own_drain
from ccn.store.connection.pool import Pool
from ccn.store.operators import drains, requests
from tests.support.node.round_world import World

ONE, TWO = NodeId("node-1"), NodeId("node-2")


async def prepare_nodes(world: World) -> Pool:
    for node in (ONE, TWO):
        await world.pool.rows("INSERT INTO leaf_sources (node_id) VALUES ($1) ON CONFLICT DO NOTHING", node)
    return world.pool


async def test_a_drain_in_its_own_name_ends_and_that_of_an_operator_does_not(world: World) -> None:
    pool = await prepare_nodes(world)
    await drains.begin_drain(pool, ONE, ONE, [ONE, TWO, NodeId("node-3")])
    await drains.begin_drain(pool, TWO, "ann", [ONE, TWO, NodeId("node-3")])
    await own_drain.end_own_drain(pool, TWO)
    assert await drains.list_draining(pool) == {ONE, TWO}
    await own_drain.end_own_drain(pool, ONE)
    assert await drains.list_draining(pool) == {TWO}


async def test_a_drain_that_nobody_had_begun_when_the_node_stopped_is_taken_back(world: World) -> None:
    pool = await prepare_nodes(world)
    own, asked = uuid.uuid4(), uuid.uuid4()
    await requests.add_request(pool, own, execution.DRAIN, ONE, {"undo": False}, node=ONE)
    await requests.add_request(pool, asked, execution.DRAIN, "ann", {"undo": False}, node=ONE)
    await own_drain.end_own_drain(pool, ONE)
    assert (await requests.request_state(pool, own)).request.taken_back_by == ONE
    assert (await requests.request_state(pool, asked)).request.taken_back_by == ""
