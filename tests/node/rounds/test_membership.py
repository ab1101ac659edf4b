"""A node's place in its cluster while no etcd answers: who votes, what it wants, what it accepts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast
from uuid import uuid4

from structlog.testing import capture_logs

from ccn import settings
from ccn.core.ids import NodeId
from ccn.core.rounds.refusal import Refusal
from ccn.core.rounds.signer import SignerState
from ccn.etcd.access import EtcdAccess
from ccn.etcd.link import EtcdLink
from ccn.node.rounds import consensus_round as story
from ccn.node.rounds.consensus_round import SealedRound
from ccn.node.rounds.membership import Membership
from ccn.node.rounds.presence import NodeDoors
from ccn.node.rounds.voting import NodeIdentity
from ccn.peers.client import PeerClient
from ccn.store.connection import pool
from ccn.store.connection.pool import Pool
from ccn.store.operators import drains, requests
from ccn.store.writing.writer import Writer
from tests.support.gateway.access_tokens import identity
from tests.support.node.round_world import NODES, Paper, World


def membership(
    me: NodeIdentity, memory: Callable[[SignerState], Paper], connections: Pool, writer: Writer
) -> Membership:
    """A node that asks no peer, while no etcd answers."""
    return Membership(
        identity=me,
        open_memory=memory,
        writer=writer,
        pool=connections,
        peers=cast("PeerClient", None),
        etcd=EtcdLink(EtcdAccess(("127.0.0.1:1",))),
        lease_ttl_s=5.0,
        cluster=settings.ClusterSettings(),
        now_us=lambda: 0,
    )


async def test_a_node_that_is_back_without_etcd_knows_them_and_opens_its_memory_once(world: World) -> None:
    assert isinstance(await story.run_round(await world.lead(NODES[0])), SealedRound)
    opened = list[SignerState]()

    def memory(first: SignerState) -> Paper:
        opened.append(first)
        return world.disks[NODES[0]]

    node = membership(world.identity(NODES[0]), memory, world.pool, world.writer)
    assert await asyncio.gather(*[node.load_voters() for _ in range(5)]) == [world.genesis.rules] * 5
    assert len(opened) == 1


async def test_a_node_that_is_shown_another_record_than_its_own_believes_nobody(world: World) -> None:
    assert isinstance(await story.run_round(await world.lead(NODES[0])), SealedRound)
    elsewhere = Paper(SignerState(1, b"\x07" * 32))
    node = membership(world.identity(NODES[0]), lambda _: elsewhere, world.pool, world.writer)
    assert await node.load_voters() is None


async def test_nobody_votes_before_the_founding(database: settings.DatabaseSettings) -> None:
    async with pool.open(database, "test") as connections:
        node = membership(identity(NODES[0]), Paper, connections, cast("Writer", None))
        assert await node.load_voters() is None


async def test_a_node_accepts_work_until_an_operator_drains_it(world: World) -> None:
    node = membership(world.identity(NODES[0]), lambda _: world.disks[NODES[0]], world.pool, world.writer)
    assert await node.accepts_new_work()
    await drains.begin_drain(world.pool, NODES[0], "ann", NODES)
    assert not await node.accepts_new_work()
    await drains.end_drain(world.pool, NODES[0])
    assert await node.accepts_new_work()


async def test_a_node_that_does_not_vote_accepts_no_work_for_its_leaves_would_not_be_sealed(
    world: World,
) -> None:
    stranger = membership(world.identity(NodeId("node-9")), Paper, world.pool, world.writer)
    assert await stranger.accepts_new_work(), "it does not know the chain yet"
    assert await stranger.load_voters() == world.genesis.rules
    assert not await stranger.accepts_new_work()


async def test_a_node_wants_no_change_before_it_knows_the_chain(world: World) -> None:
    body = {"action": "add", "node": "node-9"}
    await requests.add_request(world.pool, uuid4(), requests.VALIDATORS, "ann", body)
    node = membership(world.identity(NODES[0]), lambda _: world.disks[NODES[0]], world.pool, world.writer)
    assert await node.load_wanted_change() is None
    assert await node.load_voters() == world.genesis.rules
    change = await node.load_wanted_change()
    assert change is not None
    assert change.request.body == body
    assert isinstance(change.following, Refusal), "no such node is registered"


async def test_a_node_that_cannot_reach_etcd_says_so_and_stops_when_it_is_told_to(world: World) -> None:
    node = membership(world.identity(NODES[0]), lambda _: world.disks[NODES[0]], world.pool, world.writer)
    stop = asyncio.Event()
    with capture_logs() as logs:
        taking_part = asyncio.create_task(node.take_part(NodeDoors("http://127.0.0.1:1", "", 1), stop))
        async with asyncio.timeout(60):
            while "out of the cluster for now" not in [line["event"] for line in logs]:
                await asyncio.sleep(0.01)
            stop.set()
            await taking_part
    assert node.presence.list_seen() is None
