"""A node counts again once it has cosigned a block, or after it waited in vain for a quorum."""

from __future__ import annotations

from typing import cast

import pytest

from ccn import errors, settings
from ccn.etcd.access import EtcdAccess
from ccn.etcd.link import EtcdLink
from ccn.node.rounds import consensus_round as story
from ccn.node.rounds.consensus_round import SealedRound
from ccn.node.rounds.membership import Membership
from ccn.node.views.cluster_probes import Arrival
from ccn.peers.client import PeerClient
from tests.support.node.present_members import members
from tests.support.node.round_world import NODES, World

INTERVAL_S = 10.0


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def restarted_node(world: World) -> Membership:
    """A node that has just been started again, and that no etcd answers."""
    return Membership(
        identity=world.identity(NODES[0]),
        open_memory=lambda _: world.disks[NODES[0]],
        writer=world.writer,
        pool=world.pool,
        peers=cast("PeerClient", None),
        etcd=EtcdLink(EtcdAccess(("127.0.0.1:1",))),
        lease_ttl_s=5.0,
        cluster=settings.ClusterSettings(interval_s=INTERVAL_S),
        now_us=world.now_us,
    )


def see_everybody(node: Membership, world: World) -> None:
    node.presence.members = members({each: world.identity(each).public for each in NODES})


async def test_a_node_has_not_arrived_before_it_cosigns_a_block_and_then_for_good(world: World) -> None:
    node = restarted_node(world)
    arrival = Arrival(node, clock := Clock())
    with pytest.raises(
        errors.Unavailable, match="no block cosigned since the start: the chain is not known"
    ):
        await arrival.check()
    await node.load_voters()
    see_everybody(node, world)
    clock.now_s += 100 * INTERVAL_S
    with pytest.raises(errors.Unavailable, match=r"no block cosigned since the start$"):
        await arrival.check()
    assert isinstance(await story.run_round(await world.lead(NODES[1])), SealedRound)
    with pytest.raises(errors.Unavailable):
        await arrival.check()
    assert node.voting is not None
    await node.voting.catch_up()
    await arrival.check()
    node.voting.cosignature = None
    await arrival.check()


async def test_a_node_that_sees_no_quorum_serves_without_a_block_after_a_while_and_goes_on(
    world: World,
) -> None:
    node = restarted_node(world)
    arrival = Arrival(node, clock := Clock())
    await node.load_voters()
    clock.now_s += 3 * INTERVAL_S
    with pytest.raises(errors.Unavailable, match="0 of 3 validators are seen, of 2 needed"):
        await arrival.check()
    clock.now_s += 1
    await arrival.check()
    see_everybody(node, world)
    await arrival.check()
