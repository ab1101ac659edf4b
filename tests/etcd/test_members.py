"""The list of who is here follows the nodes, and nobody can take another's name."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

import pytest

from ccn import errors
from ccn.core.identity.registration import Registration, Shown
from ccn.core.ids import NodeId
from ccn.core.ledger.signed import Signed
from ccn.etcd import client, members, session
from ccn.etcd.session import Session
from tests.registering import HTTP, registration, shown

if TYPE_CHECKING:
    from tests.etcd.conftest import Proxy, Server

    ProxyTo = Callable[[Server], AbstractAsyncContextManager[Proxy]]


def _said(session: Session, number: int, *, by: str = "", http: str = HTTP) -> Signed[Registration]:
    return registration(f"node-{number}", session.lease, by=by, http=http)


def _believed(*_: object) -> bool:
    return True


async def _next(lists: AsyncGenerator[tuple[Shown, ...]]) -> tuple[Shown, ...]:
    return await asyncio.wait_for(anext(lists), 30)


async def test_members_come_and_go_with_their_sessions(calm: client.Client, prefix: str) -> None:
    async with contextlib.aclosing(members.watch(calm, prefix=prefix)) as lists:
        assert await _next(lists) == ()
        async with session.opened(calm) as a:
            async with session.opened(calm) as b:
                one, two = _said(a, 1), _said(b, 2)
                await members.register(b, two, _believed, prefix=prefix)
                assert await _next(lists) == (shown(two),)
                await members.register(a, one, _believed, prefix=prefix)
                both = (shown(one), shown(two))
                assert await _next(lists) == both == await members.present(calm, prefix=prefix)
            assert await _next(lists) == (shown(one),)
            assert await members.standing(calm, NodeId("node-1"), prefix=prefix) == shown(one)
            assert await members.standing(calm, NodeId("node-2"), prefix=prefix) is None
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
        await members.register(held, _said(held, 1), _believed, prefix=prefix)
        assert await _next(lists) == (shown(_said(held, 1)),)
        proxy.lose_requests = True
        assert await _next(lists) == ()
        assert not held.alive  # by the clock: on a busy machine the news may come before the timer


async def test_a_node_that_came_back_replaces_its_former_life_and_outlives_the_old_lease(
    calm: client.Client, prefix: str
) -> None:
    async with session.opened(calm) as now:
        moved = _said(now, 1, http="http://127.0.0.1:9900")
        async with session.opened(calm) as before:
            await members.register(before, _said(before, 1), _believed, prefix=prefix)
            await members.register(now, moved, _believed, prefix=prefix)
        assert await members.present(calm, prefix=prefix) == (shown(moved),)
    assert await members.present(calm, prefix=prefix) == ()


async def test_a_node_with_another_key_cannot_take_a_name_that_is_in_use(
    calm: client.Client, prefix: str
) -> None:
    async with session.opened(calm) as twin, session.opened(calm) as rightful:
        await members.register(rightful, _said(rightful, 1), _believed, prefix=prefix)
        with pytest.raises(errors.NodeIdTaken, match="node-1 is registered with another key"):
            await members.register(twin, _said(twin, 1, by="twin"), _believed, prefix=prefix)
        assert await members.present(calm, prefix=prefix) == (shown(_said(rightful, 1)),)


async def test_a_name_that_somebody_made_up_is_taken_back_by_the_node(
    calm: client.Client, prefix: str
) -> None:
    async with session.opened(calm) as stranger, session.opened(calm) as rightful:
        await members.register(stranger, _said(stranger, 1, by="stranger"), _believed, prefix=prefix)
        await members.register(rightful, _said(rightful, 1), lambda _: False, prefix=prefix)
        assert await members.present(calm, prefix=prefix) == (shown(_said(rightful, 1)),)


async def test_what_is_shown_names_the_lease_that_guards_it(calm: client.Client, prefix: str) -> None:
    """A registration that somebody shows again stands under another lease than the one it was made for."""
    async with session.opened(calm) as held, session.opened(calm) as stranger:
        await members.register(held, _said(held, 1), _believed, prefix=prefix)
        (found,) = (await calm.read(prefix)).entries
        await calm.put(found.key, found.value, lease=stranger.lease, if_modified=found.modified)
        (again,) = await members.present(calm, prefix=prefix)
        assert (again.said, again.lease) == (_said(held, 1), stranger.lease)


async def test_registering_again_changes_nothing(calm: client.Client, prefix: str) -> None:
    async with session.opened(calm) as held:
        await members.register(held, _said(held, 1), _believed, prefix=prefix)
        before = await calm.read(prefix)
        await members.register(held, _said(held, 1), _believed, prefix=prefix)
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
        await members.register(held, _said(held, 1), _believed, prefix=prefix)
        entries = (await unlucky.read(prefix)).entries
        assert [found.created == found.modified for found in entries] == [True]


async def test_an_ended_session_registers_nobody(calm: client.Client, prefix: str) -> None:
    async with session.opened(calm) as held:
        pass
    with pytest.raises(errors.LeaseLost):
        await members.register(held, _said(held, 1), _believed, prefix=prefix)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b'{"node":"node-1","http":"","grpc":"","key":"00"}',
        b'{"pad":"%s"}' % bytes(members.VALUE_LIMIT),
    ],
)
async def test_a_strangers_key_is_passed_over(calm: client.Client, prefix: str, value: bytes) -> None:
    async with session.opened(calm) as held:
        await calm.put(prefix + "node-1", value, lease=held.lease, if_modified=0)
        await members.register(held, _said(held, 2), _believed, prefix=prefix)
        assert await members.present(calm, prefix=prefix) == (shown(_said(held, 2)),)
        await members.register(held, _said(held, 1), _believed, prefix=prefix)
        both = (shown(_said(held, 1)), shown(_said(held, 2)))
        assert await members.present(calm, prefix=prefix) == both
