"""The list of who is here follows the nodes, and nobody can take another's name."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from ccn import errors
from ccn.core.ids import NodeId
from ccn.etcd import client, members, session
from ccn.etcd.members import Member

if TYPE_CHECKING:
    from tests.etcd.conftest import Proxy, Server

    ProxyTo = Callable[[Server], AbstractAsyncContextManager[Proxy]]


def _member(number: int, key: int | None = None, http: str = "127.0.0.1:7700") -> Member:
    public_key = bytes([key or number]) * 32
    since = datetime(2026, 11, 28, 10, 40, 18, 250_000, tzinfo=UTC) if number % 2 else None
    return Member(
        NodeId(f"node-{number}"),
        http=http,
        grpc=f"127.0.0.1:{7700 + number}",
        public_key=public_key,
        since=since,
    )


async def _next(lists: AsyncGenerator[tuple[Member, ...]]) -> tuple[Member, ...]:
    return await asyncio.wait_for(anext(lists), 30)


async def test_members_come_and_go_with_their_sessions(calm: client.Client, prefix: str) -> None:
    one, two = _member(1), _member(2)
    async with contextlib.aclosing(members.watch(calm, prefix=prefix)) as lists:
        assert await _next(lists) == ()
        async with session.opened(calm) as a:
            async with session.opened(calm) as b:
                await members.register(b, two, prefix=prefix)
                assert await _next(lists) == (two,)
                await members.register(a, one, prefix=prefix)
                assert await _next(lists) == (one, two) == await members.present(calm, prefix=prefix)
            assert await _next(lists) == (one,)
        assert await _next(lists) == ()


async def test_a_member_that_stops_answering_disappears_when_its_lease_lapses(
    calm_etcd: Server, calm: client.Client, proxy_to: ProxyTo, prefix: str
) -> None:
    async with (
        proxy_to(calm_etcd) as proxy,
        client.opened([proxy.endpoint], deadline_s=1.0) as lonely,
        session.opened(lonely, ttl_s=3, keepalive_s=0.3) as held,
        contextlib.aclosing(members.watch(calm, prefix=prefix)) as lists,
    ):
        await members.register(held, _member(1), prefix=prefix)
        assert await _next(lists) == (_member(1),)
        proxy.lose_requests = True
        assert await _next(lists) == ()
        assert not held.alive  # by the clock: on a busy machine the news may come before the timer


async def test_a_node_that_came_back_replaces_its_former_life_and_outlives_the_old_lease(
    calm: client.Client, prefix: str
) -> None:
    moved = _member(1, http="127.0.0.1:9900")
    async with session.opened(calm) as now:
        async with session.opened(calm) as before:
            await members.register(before, _member(1), prefix=prefix)
            await members.register(now, moved, prefix=prefix)
        assert await members.present(calm, prefix=prefix) == (moved,)
    assert await members.present(calm, prefix=prefix) == ()


async def test_a_node_with_another_key_cannot_take_a_name_that_is_in_use(
    calm: client.Client, prefix: str
) -> None:
    async with session.opened(calm) as twin, session.opened(calm) as rightful:
        await members.register(rightful, _member(1), prefix=prefix)
        with pytest.raises(errors.NodeIdTaken, match="node-1 is registered with another key"):
            await members.register(twin, _member(1, key=9), prefix=prefix)
        assert await members.present(calm, prefix=prefix) == (_member(1),)


async def test_registering_again_changes_nothing(calm: client.Client, prefix: str) -> None:
    async with session.opened(calm) as held:
        await members.register(held, _member(1), prefix=prefix)
        before = await calm.read(prefix)
        await members.register(held, _member(1), prefix=prefix)
        assert (await calm.read(prefix)).entries == before.entries


async def test_a_registration_whose_answer_was_lost_is_found_by_reading_again(
    calm_etcd: Server, proxy_to: ProxyTo, prefix: str
) -> None:
    async with (
        proxy_to(calm_etcd) as proxy,
        client.opened([proxy.endpoint, calm_etcd.endpoint]) as unlucky,
        session.opened(unlucky) as held,
    ):
        proxy.lose_answers = True
        await members.register(held, _member(1), prefix=prefix)
        entries = (await unlucky.read(prefix)).entries
        assert [found.created == found.modified for found in entries] == [True]


async def test_an_ended_session_registers_nobody(calm: client.Client, prefix: str) -> None:
    async with session.opened(calm) as held:
        pass
    with pytest.raises(errors.LeaseLost):
        await members.register(held, _member(1), prefix=prefix)


@pytest.mark.parametrize(
    "value", [b"", b"\xff", b"[]", b"{}", b'{"node":"node-1","http":"","grpc":"","key":"00"}']
)
async def test_a_strangers_key_is_passed_over(calm: client.Client, prefix: str, value: bytes) -> None:
    async with session.opened(calm) as held:
        await calm.put(prefix + "node-1", value, lease=held.lease, if_modified=0)
        await members.register(held, _member(2), prefix=prefix)
        assert await members.present(calm, prefix=prefix) == (_member(2),)
        await members.register(held, _member(1), prefix=prefix)
        assert await members.present(calm, prefix=prefix) == (_member(1), _member(2))


@pytest.mark.parametrize(("node", "key"), [("Node 1", bytes(32)), ("node-1", bytes(31))])
def test_a_member_has_a_proper_name_and_key(node: str, key: bytes) -> None:
    with pytest.raises(errors.InputInvalid):
        Member(NodeId(node), http="127.0.0.1:1", grpc="127.0.0.1:2", public_key=key)
