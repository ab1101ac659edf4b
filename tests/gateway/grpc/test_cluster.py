"""The gRPC door for the cluster: its status, its rounds as they end, and a round on request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc  # type: ignore[import-untyped]
import pytest

from ccn import settings
from ccn.core.ids import NodeId
from ccn.gateway.grpc import cluster, statuses
from ccn.node.operators import execution
from ccn.node.views.cluster_status import ClusterStatus, NodeSeat
from ccn.pb import cluster_pb2 as pb
from ccn.store.accounts.users import Tier
from ccn.store.operators import requests
from ccn.store.operators.requests import Body
from ccn.store.rounds import consensus_log, terms
from tests.support.gateway import grpc_door
from tests.support.gateway.grpc_door import Door
from tests.support.node import node_world

LEADER = NodeId("node-1")
Code = grpc.StatusCode
STATUS = ClusterStatus(
    LEADER, (NodeSeat(LEADER, True, True, False, "http://a:1"),), LEADER, 3, 7, None, 1, 4, "plain", ""
)


async def told() -> ClusterStatus:
    return STATUS


@asynccontextmanager
async def door(
    database: settings.DatabaseSettings,
    tell: cluster.LoadStatus | None = told,
    limits: settings.LimitsSettings = grpc_door.PLENTY,
) -> AsyncIterator[Door]:
    world = await node_world.found_world(database)
    async with world.node("node-1") as node, grpc_door.serve_node(node, limits, tell=tell) as served:
        yield served


async def refused(call: Any) -> tuple[Any, str]:
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await anext(aiter(call)) if hasattr(call, "__aiter__") else await call
    return failed.value.code(), dict(failed.value.trailing_metadata())[statuses.CODE]


async def fail_a_round(here: Door, term: int, height: int) -> None:
    await consensus_log.log_failed(here.node.pool, term, "no quorum", {"height": height})


async def test_anybody_may_ask_how_the_cluster_is(database: settings.DatabaseSettings) -> None:
    async with door(database) as here:
        answer = await here.cluster.Status(pb.StatusRequest(), timeout=30)
        assert (answer.leader, answer.term, answer.height, answer.unsealed) == ("node-1", 3, 7, 4)
        assert [(seat.node, seat.votes, seat.here) for seat in answer.nodes] == [("node-1", True, True)]


async def test_a_node_that_takes_no_part_says_so(database: settings.DatabaseSettings) -> None:
    async with door(database, None) as here:
        assert await refused(here.cluster.Status(pb.StatusRequest())) == (Code.UNAVAILABLE, "unavailable")


async def test_rounds_are_told_once_each_and_from_where_one_was(
    database: settings.DatabaseSettings,
) -> None:
    async with door(database) as here, asyncio.timeout(60):
        caller = await here.caller()
        term = await terms.take_over_term(here.node.pool, LEADER, 1)
        await fail_a_round(here, term, 1)
        newer = aiter(here.cluster.WatchRounds(pb.WatchRoundsRequest(), metadata=caller))
        reading = asyncio.ensure_future(anext(newer))
        every = aiter(here.cluster.WatchRounds(pb.WatchRoundsRequest(after=0), metadata=caller))
        first = await anext(every)
        assert (first.index, first.height, first.committed, first.reason) == (1, 1, False, "no quorum")
        await consensus_log.log_command(here.node.pool, term, "validators", {"height": 1})
        height = 1
        while not reading.done():  # the first watcher may begin as late as it likes
            height += 1
            await fail_a_round(here, term, height)
            await asyncio.wait({reading}, timeout=2 * cluster.ROUND_POLL_S)
        assert 2 <= (await reading).height <= height
        second = await anext(every)
        assert (second.index, second.height) == (3, 2)
        again = aiter(here.cluster.WatchRounds(pb.WatchRoundsRequest(after=first.index), metadata=caller))
        assert await anext(again) == second


async def test_watchers_are_sent_on_when_the_node_stops(database: settings.DatabaseSettings) -> None:
    async with door(database) as here, asyncio.timeout(60):
        caller = await here.caller()
        watching = here.cluster.WatchRounds(pb.WatchRoundsRequest(), metadata=caller)
        reading = asyncio.ensure_future(refused(watching))
        await watching.wait_for_connection()
        here.stop.set()
        assert (await reading)[0] is Code.UNAVAILABLE


async def test_nobody_has_more_streams_open_than_agreed(database: settings.DatabaseSettings) -> None:
    async with door(database, limits=settings.LimitsSettings(streams=3)) as here, asyncio.timeout(60):
        term = await terms.take_over_term(here.node.pool, LEADER, 1)
        await fail_a_round(here, term, 1)
        caller, other = await here.caller(), await here.caller()

        def watch(metadata: Any) -> Any:
            return here.cluster.WatchRounds(pb.WatchRoundsRequest(after=0), metadata=metadata)

        open_ = [watch(caller) for _ in range(3)]
        await asyncio.gather(*(anext(aiter(stream)) for stream in open_))
        assert await refused(watch(caller)) == (Code.RESOURCE_EXHAUSTED, "too_many_streams")
        await anext(aiter(watch(other)))
        open_[0].cancel()
        while (again := watch(caller)) and not await told_something(again):
            await asyncio.sleep(0.05)


async def told_something(watching: Any) -> bool:
    try:
        await anext(aiter(watching))
    except grpc.aio.AioRpcError:
        return False
    return True


async def test_only_those_may_watch_and_force_who_should(database: settings.DatabaseSettings) -> None:
    async with door(database) as here:
        watching = here.cluster.WatchRounds(pb.WatchRoundsRequest())
        assert await refused(watching) == (Code.UNAUTHENTICATED, "unauthenticated")
        caller = await here.caller()
        forcing = here.cluster.ForceRound(pb.ForceRoundRequest(), metadata=caller)
        assert await refused(forcing) == (Code.PERMISSION_DENIED, "forbidden")
        assert not await requests.list_waiting(here.node.pool, requests.ROUND)


async def test_a_round_is_forced_once_however_often_the_same_call_is_made(
    database: settings.DatabaseSettings,
) -> None:
    held = list[str]()

    async def leader(body: Body, by: str) -> Body:
        held.append(by)
        return {"committed": True, "height": 5, "term": 2, "votes": ["node-1"], "refused": {}}

    async with door(database) as here, asyncio.timeout(60):
        node, caller = here.node, await here.caller(Tier.ADMIN)
        asked = pb.ForceRoundRequest(idempotency_key="k")
        answers = [asyncio.ensure_future(here.cluster.ForceRound(asked, metadata=caller)) for _ in range(2)]
        while not await execution.run_oldest(node.pool, node.writer, {requests.ROUND: leader}):
            await asyncio.sleep(0.02)
        first, second = await asyncio.gather(*answers)
        assert first == second
        assert (first.committed, first.height, first.term, list(first.votes)) == (True, 5, 2, ["node-1"])
        assert len(held) == 1
        assert held[0].startswith("user ")


async def test_a_round_that_nobody_holds_ends_with_the_callers_deadline(
    database: settings.DatabaseSettings,
) -> None:
    async with door(database) as here:
        caller = await here.caller(Tier.ADMIN)
        call = here.cluster.ForceRound(pb.ForceRoundRequest(), metadata=caller, timeout=0.5)
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await call
        assert failed.value.code() is Code.DEADLINE_EXCEEDED
