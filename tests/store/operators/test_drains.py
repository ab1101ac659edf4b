"""Drained nodes: everybody knows them, somebody is left to lead, and nothing ties them when they go."""

from __future__ import annotations

import asyncio
import uuid

import pytest
import pytest_asyncio

from ccn import errors
from ccn.core.ids import NodeId
from ccn.store.operators import drains, requests
from ccn.store.operators.drains import NodeLoad
from ccn.store.rounds import terms
from tests.support.store.open_store import Store

ONE, TWO, THREE = (NodeId(f"node-{n}") for n in (1, 2, 3))
ALL = (ONE, TWO, THREE)


@pytest_asyncio.fixture(loop_scope="session")
async def three(store: Store) -> Store:
    for node in ALL:
        await store.pool.rows("INSERT INTO leaf_sources (node_id) VALUES ($1) ON CONFLICT DO NOTHING", node)
    return store


async def test_a_node_drains_until_it_is_told_otherwise(three: Store) -> None:
    for _ in range(2):
        await drains.begin_drain(three.pool, TWO, "ann", ALL)
    assert await drains.list_draining(three.pool) == {TWO}
    await drains.end_drain(three.pool, TWO)
    assert await drains.list_draining(three.pool) == frozenset()


async def test_of_all_that_are_drained_at_once_one_is_left_to_lead(three: Store) -> None:
    outcomes = await asyncio.gather(
        *(drains.begin_drain(three.pool, node, "ann", ALL) for node in ALL), return_exceptions=True
    )
    assert len(await drains.list_draining(three.pool)) == 2
    (refused,) = filter(None, outcomes)
    assert isinstance(refused, errors.Conflict)
    assert "is the last validator that does not drain" in str(refused)


async def test_a_node_that_does_not_vote_can_always_be_drained(three: Store) -> None:
    await drains.begin_drain(three.pool, ONE, "ann", [ONE, TWO])
    await drains.begin_drain(three.pool, THREE, "ann", [ONE, TWO])
    assert await drains.list_draining(three.pool) == {ONE, THREE}


async def test_what_ties_a_node_is_told(store: Store) -> None:
    await terms.take_over_term(store.pool, ONE, 2)
    before = await drains.load_of_node(store.pool, ONE)
    await store.host(await store.conversation())
    assert await drains.load_of_node(store.pool, ONE) == NodeLoad(False, True, 1, before.unsealed + 2)
    with pytest.raises(errors.NotFound):
        await drains.load_of_node(store.pool, NodeId("node-9"))


async def test_a_node_that_takes_nothing_on_leaves_to_others_what_is_for_anybody(three: Store) -> None:
    await requests.add_request(three.pool, uuid.uuid4(), "plate", "ann")
    named = uuid.uuid4()
    await requests.add_request(three.pool, named, "plate", "ann", node=ONE)
    claimed = await requests.claim_request(three.pool, ONE, ["plate"], 5, any_node=False)
    assert claimed is not None
    assert claimed.id == named
    assert await requests.claim_request(three.pool, ONE, ["plate"], 5, any_node=False) is None
    assert await requests.claim_request(three.pool, TWO, ["plate"], 5) is not None
