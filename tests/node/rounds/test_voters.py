"""Who votes, as a node knows it from its own chain: for whoever has to tell whose word counts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from ccn import settings
from ccn.core.rounds.signer import SignerState
from ccn.etcd.access import EtcdAccess
from ccn.node.rounds import consensus_round as story
from ccn.node.rounds.consensus_round import SealedRound
from ccn.node.rounds.membership import Membership
from ccn.node.rounds.voting import NodeIdentity
from ccn.peers.client import PeerClient
from ccn.store.connection import pool
from ccn.store.connection.pool import Pool
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
        load_access=lambda: EtcdAccess(("127.0.0.1:1",)),
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
