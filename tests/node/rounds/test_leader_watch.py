"""A leader whose connection broke loses its place at once, and one that answers does not."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace

from structlog.testing import capture_logs

from ccn.core.ids import NodeId
from ccn.embedded import etcd
from ccn.etcd import client, election, session
from ccn.etcd.client import EtcdClient
from ccn.etcd.election import ElectedLeader
from ccn.node.rounds import leader_watch
from ccn.node.rounds.leader_watch import Rightful
from ccn.peers import client as peers
from ccn.peers.exchange import NodeIntroduction
from tests.cluster.chaos.network import Network
from tests.support.peers import peer_node
from tests.support.peers.peer_node import ONE, THREE, TWO

LASTING = {"ttl_s": 60.0, "keepalive_s": 10.0}


@dataclass(slots=True)
class Seen(peer_node.Node):
    """A node that knows how often somebody wanted to see it."""

    looks: asyncio.Queue[None] = field(default_factory=asyncio.Queue)

    async def identify(self) -> NodeIntroduction:
        self.looks.put_nowait(None)
        return await peer_node.Node.identify(self)

    async def looked_at(self) -> None:
        async with asyncio.timeout(30):
            await self.looks.get()


@asynccontextmanager
async def watched(
    addresses: Mapping[NodeId, str], rightful: Rightful = lambda _: True
) -> AsyncIterator[EtcdClient]:
    """Node three watches over the others; the client is for the test's own candidates."""
    async with (
        etcd.run_etcd() as servers,
        client.open_client(servers.endpoints, deadline_s=10.0) as coordination,
        peers.open_client(THREE, None) as known,
    ):
        await known.set_addresses(addresses)
        watching = asyncio.create_task(leader_watch.watch_leader(known, coordination, rightful, read_s=0.1))
        try:
            yield coordination
        finally:
            watching.cancel()
            await asyncio.wait([watching])


async def queued(coordination: EtcdClient, count: int) -> None:
    async with asyncio.timeout(30):
        while len((await coordination.read_prefix(election.PREFIX)).entries) != count:
            await asyncio.sleep(0.01)


async def test_the_next_one_alive_leads_as_soon_as_the_leaders_connection_breaks() -> None:
    """Long before any lease ends, though the next in the queue died with the leader."""
    one, two = Seen(ONE), Seen(TWO)
    async with AsyncExitStack() as doors:
        addresses = {
            each.node: await doors.enter_async_context(peer_node.served(each)) for each in (one, two)
        }
        async with (
            watched(addresses) as coordination,
            session.open_session(coordination, **LASTING) as first,
            session.open_session(coordination, **LASTING) as second,
            session.open_session(coordination, **LASTING) as third,
        ):
            await election.campaign(first, ONE)
            next_one = asyncio.create_task(election.campaign(second, TWO))
            await queued(coordination, 2)
            last = asyncio.create_task(election.campaign(third, THREE))
            await queued(coordination, 3)
            await one.looked_at()
            await two.looked_at()
            await doors.aclose()
            async with asyncio.timeout(30):
                await last
            next_one.cancel()
            await asyncio.wait([next_one])
            assert first.alive


async def test_a_leader_that_answers_keeps_its_place_though_its_connection_broke() -> None:
    one, network = Seen(ONE), Network(list)
    async with (
        peer_node.served(one) as address,
        network.door(ONE, int(address.rpartition(":")[2]), caller=THREE) as port,
        watched({ONE: f"127.0.0.1:{port}"}) as coordination,
        session.open_session(coordination, **LASTING) as held,
    ):
        leadership = await election.campaign(held, ONE)
        await one.looked_at()
        network.cut((THREE, ONE))
        network.heal(late=False)
        await one.looked_at()  # on a new connection, by whoever is first: the question or the next watch
        assert await election.find_leader(coordination) == ElectedLeader(
            ONE, leadership.revision, held.lease
        )


async def test_a_leader_that_does_not_let_this_node_in_any_more_is_alive() -> None:
    one, two = Seen(ONE), Seen(TWO)
    async with AsyncExitStack() as doors:
        door = await doors.enter_async_context(peer_node.served(one, look_s=0.05))
        other = await doors.enter_async_context(peer_node.served(two))
        async with (
            watched({ONE: door, TWO: other}) as coordination,
            session.open_session(coordination, **LASTING) as held,
        ):
            leadership = await election.campaign(held, ONE)
            await one.looked_at()
            await two.looked_at()
            with capture_logs() as logs:
                one.out.add(THREE)
                async with asyncio.timeout(30):
                    while "the leader refuses this node" not in [line["event"] for line in logs]:
                        await asyncio.sleep(0.01)
            assert await election.find_leader(coordination) == ElectedLeader(
                ONE, leadership.revision, held.lease
            )


async def test_a_node_that_does_not_lead_is_missed_by_nobody() -> None:
    one, two = Seen(ONE), Seen(TWO)
    async with AsyncExitStack() as doors:
        addresses = {
            each.node: await doors.enter_async_context(peer_node.served(each)) for each in (one, two)
        }
        async with (
            watched(addresses) as coordination,
            session.open_session(coordination, **LASTING) as held,
        ):
            leadership = await election.campaign(held, THREE)
            await one.looked_at()
            await doors.aclose()
            other = ElectedLeader(ONE, leadership.revision, held.lease)
            assert not await election.depose_leader(coordination, other)
            assert await election.find_leader(coordination) == replace(other, node=THREE)


async def test_a_place_that_is_nobodys_is_taken_away_again_and_again() -> None:
    """Who can write to etcd queues up before everybody, under a name or a lease of its own making."""
    rightful = ElectedLeader(THREE, 0, 0)
    async with (
        watched({}, lambda leader: replace(leader, revision=0) == rightful) as coordination,
        session.open_session(coordination, **LASTING) as squatting,
        session.open_session(coordination, **LASTING) as held,
    ):
        rightful = ElectedLeader(THREE, 0, held.lease)
        for name, lease in (("a-node", squatting.lease), (THREE, squatting.lease), ("\xff", 0)):
            place = f"{election.PREFIX}{secrets.token_hex(8)}"
            await coordination.put_entry(place, name.encode(), lease=lease, if_modified=0)
        leadership = await asyncio.wait_for(election.campaign(held, THREE), 60)
        assert await election.find_leader(coordination) == replace(rightful, revision=leadership.revision)
