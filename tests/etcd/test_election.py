"""One leader at a time, the oldest candidate first, and a dead one is replaced without help."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest

from ccn import errors
from ccn.core.ids import NodeId
from ccn.etcd import client, election, session
from ccn.etcd.election import ElectedLeader

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from tests.support.etcd.servers import Proxy, Server

    ProxyTo = Callable[[Server], AbstractAsyncContextManager[Proxy]]

ONE, TWO, THREE = NodeId("one"), NodeId("two"), NodeId("three")
TTL_S = 2.0
LASTING = {"ttl_s": 60.0, "keepalive_s": 0.5}
"""A lease that nobody has to wait for: what happens without it happens for another reason."""


async def _leading(caller: client.EtcdClient, prefix: str) -> NodeId | None:
    leader = await election.find_leader(caller, prefix=prefix)
    return leader.node if leader else None


async def _queued(caller: client.EtcdClient, prefix: str, count: int) -> None:
    async with asyncio.timeout(30):
        while len((await caller.read_prefix(prefix)).entries) != count:
            await asyncio.sleep(0.02)


async def test_candidates_lead_in_the_order_in_which_they_came(
    calm: client.EtcdClient, prefix: str
) -> None:
    async with (
        session.open_session(calm) as a,
        session.open_session(calm) as b,
        session.open_session(calm) as c,
    ):
        # The sessions' ids say nothing about the order: the later session comes first.
        first = await election.campaign(c, ONE, prefix=prefix)
        waiting_b = asyncio.create_task(election.campaign(b, TWO, prefix=prefix))
        await _queued(calm, prefix, 2)
        waiting_a = asyncio.create_task(election.campaign(a, THREE, prefix=prefix))
        await _queued(calm, prefix, 3)
        assert not waiting_a.done()
        assert not waiting_b.done()
        assert await _leading(calm, prefix) == ONE
        await election.resign(first)
        second = await asyncio.wait_for(waiting_b, 30)
        assert await _leading(calm, prefix) == TWO
        assert not waiting_a.done()
        await election.resign(second)
        third = await asyncio.wait_for(waiting_a, 30)
        assert await _leading(calm, prefix) == THREE
        await election.resign(third)
        assert await _leading(calm, prefix) is None
        assert first.revision < second.revision < third.revision


async def test_resigning_hands_over_at_once(calm: client.EtcdClient, prefix: str) -> None:
    async with session.open_session(calm, **LASTING) as a, session.open_session(calm, **LASTING) as b:
        leading = await election.campaign(a, ONE, prefix=prefix)
        waiting = asyncio.create_task(election.campaign(b, TWO, prefix=prefix))
        await _queued(calm, prefix, 2)
        await election.resign(leading)
        await asyncio.wait_for(waiting, 30)
        assert a.alive
        await election.resign(leading)  # a second time does nothing


async def test_closing_the_session_of_a_leader_hands_over_at_once(
    calm: client.EtcdClient, prefix: str
) -> None:
    async with session.open_session(calm, **LASTING) as b:
        async with session.open_session(calm, **LASTING) as a:
            leading = await election.campaign(a, ONE, prefix=prefix)
            waiting = asyncio.create_task(election.campaign(b, TWO, prefix=prefix))
            await _queued(calm, prefix, 2)
        assert leading.session.ended.is_set()
        await asyncio.wait_for(waiting, 30)


async def test_a_leader_that_is_killed_is_replaced_within_about_its_ttl(
    calm_etcd: Server, calm: client.EtcdClient, prefix: str
) -> None:
    script = """
        import asyncio, sys
        from ccn.etcd import client, election, session

        async def lead():
            async with client.open_client([sys.argv[1]]) as etcd:
                async with session.open_session(etcd, ttl_s=2, keepalive_s=0.2) as held:
                    await election.campaign(held, "doomed", prefix=sys.argv[2])
                    await asyncio.sleep(60)

        asyncio.run(lead())
    """
    command = [sys.executable, "-c", textwrap.dedent(script), calm_etcd.endpoint, prefix]
    doomed = subprocess.Popen(command)
    try:
        await _queued(calm, prefix, 1)
        async with session.open_session(calm, **LASTING) as heir:
            waiting = asyncio.create_task(election.campaign(heir, TWO, prefix=prefix))
            await _queued(calm, prefix, 2)
            assert not waiting.done()
            doomed.kill()
            # etcd looks for lapsed leases every half second, when the machine lets it.
            await asyncio.wait_for(waiting, 10 * TTL_S)
            heir.check_alive()
    finally:
        doomed.kill()
        doomed.wait()


async def test_a_leader_cut_off_from_etcd_has_stopped_before_another_leads(
    calm_etcd: Server, calm: client.EtcdClient, proxy_to: ProxyTo, prefix: str
) -> None:
    async with (
        proxy_to(calm_etcd) as proxy,
        client.open_client([proxy.endpoint], deadline_s=1.0) as lonely,
        session.open_session(lonely, ttl_s=2, keepalive_s=0.2) as old,
        session.open_session(calm, **LASTING) as new,
    ):
        leading = await election.campaign(old, ONE, prefix=prefix)
        waiting = asyncio.create_task(election.campaign(new, TWO, prefix=prefix))
        await _queued(calm, prefix, 2)
        proxy.lose_requests = proxy.lose_answers = True
        await asyncio.wait({waiting}, timeout=30)
        assert waiting.done()
        assert not leading.session.alive  # by the clock: the news may come before the timer


async def test_a_candidate_that_stops_waiting_takes_its_place_back(
    calm: client.EtcdClient, prefix: str
) -> None:
    async with session.open_session(calm) as a, session.open_session(calm) as b:
        leading = await election.campaign(a, ONE, prefix=prefix)
        waiting = asyncio.create_task(election.campaign(b, TWO, prefix=prefix))
        await _queued(calm, prefix, 2)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert [found.key for found in (await calm.read_prefix(prefix)).entries] == [leading.key]
        b.check_alive()


async def test_a_candidate_whose_session_ends_stops_waiting(calm: client.EtcdClient, prefix: str) -> None:
    async with session.open_session(calm) as a, session.open_session(calm, **LASTING) as b:
        await election.campaign(a, ONE, prefix=prefix)
        waiting = asyncio.create_task(election.campaign(b, TWO, prefix=prefix))
        await _queued(calm, prefix, 2)
        await calm.revoke_lease(b.lease)
        with pytest.raises(errors.LeaseLost):
            await asyncio.wait_for(waiting, 30)
        with pytest.raises(errors.LeaseLost):
            await election.campaign(b, TWO, prefix=prefix)


async def test_a_candidate_whose_place_somebody_deletes_does_not_wait_for_ever(
    calm: client.EtcdClient, prefix: str
) -> None:
    async with session.open_session(calm) as a, session.open_session(calm) as b:
        await election.campaign(a, ONE, prefix=prefix)
        waiting = asyncio.create_task(election.campaign(b, TWO, prefix=prefix))
        await _queued(calm, prefix, 2)
        key = f"{prefix}{b.lease:016x}"
        async with asyncio.timeout(30):
            while not waiting.done():
                if mine := await calm.get_entry(key):
                    await calm.delete_entry(key, if_modified=mine.modified)
        with pytest.raises(errors.LeaseLost):
            await waiting


async def test_campaigning_again_with_the_same_session_finds_the_same_place(
    calm: client.EtcdClient, prefix: str
) -> None:
    async with session.open_session(calm) as a:
        first = await election.campaign(a, ONE, prefix=prefix)
        assert await election.campaign(a, ONE, prefix=prefix) == first


async def test_a_place_whose_answer_was_lost_is_found_by_reading_again(
    calm_etcd: Server, proxy_to: ProxyTo, prefix: str
) -> None:
    async with (
        proxy_to(calm_etcd) as proxy,
        client.open_client([proxy.endpoint, calm_etcd.endpoint]) as unlucky,
        session.open_session(unlucky) as held,
    ):
        proxy.lose_answers = True
        leading = await election.campaign(held, ONE, prefix=prefix)
        assert await unlucky.get_entry(leading.key)


async def test_an_election_outlives_the_loss_of_an_etcd_server(cluster: list[Server], prefix: str) -> None:
    etcd_leader, other, lost = (server.endpoint for server in cluster)
    async with (
        client.open_client([lost, etcd_leader, other]) as caller,
        session.open_session(caller) as a,
        session.open_session(caller) as b,
    ):
        leading = await election.campaign(a, ONE, prefix=prefix)
        waiting = asyncio.create_task(election.campaign(b, TWO, prefix=prefix))
        await _queued(caller, prefix, 2)
        cluster[2].freeze()
        await election.resign(leading)
        elected = await asyncio.wait_for(waiting, 30)
        leader = await election.find_leader(caller, prefix=prefix)
        assert leader == ElectedLeader(TWO, elected.revision, b.lease)


async def test_a_suspected_leader_loses_its_place_and_nobody_else_does(
    calm: client.EtcdClient, prefix: str
) -> None:
    async with session.open_session(calm) as a, session.open_session(calm) as b:
        await election.campaign(a, ONE, prefix=prefix)
        waiting = asyncio.create_task(election.campaign(b, TWO, prefix=prefix))
        await _queued(calm, prefix, 2)
        suspect = await election.find_leader(calm, prefix=prefix)
        assert suspect is not None
        assert suspect.node == ONE
        assert await election.depose_leader(calm, suspect, prefix=prefix)
        await asyncio.wait_for(waiting, 30)
        assert not await election.depose_leader(calm, suspect, prefix=prefix)
        again = await asyncio.wait_for(_place(a, prefix), 30)
        assert (
            again
            == await election.find_leader(calm, prefix=prefix)
            == ElectedLeader(TWO, waiting.result().revision, waiting.result().session.lease)
        )
        assert a.alive


async def _place(held: session.EtcdSession, prefix: str) -> ElectedLeader | None:
    """Who leads once the deposed has queued up again: not it."""
    campaigning = asyncio.create_task(election.campaign(held, ONE, prefix=prefix))
    await _queued(held.client, prefix, 2)
    campaigning.cancel()
    await asyncio.wait([campaigning])
    return await election.find_leader(held.client, prefix=prefix)
