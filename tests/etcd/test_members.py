"""The list of who is here follows the nodes, and nobody can take another's name."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import TYPE_CHECKING

import orjson
import pytest

from ccn import errors
from ccn.core.chain.protocol import ProtocolRange
from ccn.core.identity.registration import Registration, ShownRegistration
from ccn.core.ids import NodeId
from ccn.core.ledger.signed import Signed
from ccn.etcd import client, members, session
from ccn.etcd.session import EtcdSession
from tests.support.core.registrations import HTTP, notice, registration, shown

if TYPE_CHECKING:
    from tests.support.etcd.servers import Proxy, Server

    ProxyTo = Callable[[Server], AbstractAsyncContextManager[Proxy]]


def _said(session: EtcdSession, number: int, *, by: str = "", http: str = HTTP) -> Signed[Registration]:
    return registration(f"node-{number}", session.lease, by=by, http=http)


def _believed(*_: object) -> bool:
    return True


async def _next(lists: AsyncGenerator[tuple[ShownRegistration, ...]]) -> tuple[ShownRegistration, ...]:
    return await asyncio.wait_for(anext(lists), 30)


async def test_members_come_and_go_with_their_sessions(calm: client.EtcdClient, prefix: str) -> None:
    async with contextlib.aclosing(members.watch_registrations(calm, prefix=prefix)) as lists:
        assert await _next(lists) == ()
        async with session.open_session(calm) as a:
            async with session.open_session(calm) as b:
                one, two = _said(a, 1), _said(b, 2)
                await members.register_node(b, two, _believed, prefix=prefix)
                assert await _next(lists) == (shown(two),)
                await members.register_node(a, one, _believed, prefix=prefix)
                both = (shown(one), shown(two))
                assert await _next(lists) == both == await members.read_registrations(calm, prefix=prefix)
            assert await _next(lists) == (shown(one),)
            assert await members.find_registration(calm, NodeId("node-1"), prefix=prefix) == shown(one)
            assert await members.find_registration(calm, NodeId("node-2"), prefix=prefix) is None
        assert await _next(lists) == ()


async def test_what_a_program_is_stands_beside_the_registration_and_what_cannot_be_read_is_nothing(
    calm: client.EtcdClient, prefix: str
) -> None:
    async with session.open_session(calm) as held:
        said, program = _said(held, 1), notice("node-1", held.lease, ProtocolRange(1, 2))
        await members.register_node(held, said, _believed, program=program, prefix=prefix)
        assert await members.find_registration(calm, NodeId("node-1"), prefix=prefix) == replace(
            shown(said), program=program
        )
        entry = await calm.get_entry(f"{prefix}node-1")
        assert entry is not None
        told = orjson.loads(entry.value)
        for strange in (None, {}, {**told["program"], "protocol": [2, 1]}, {"protocol": "12"}, [1], "1-2"):
            value = orjson.dumps({**told, "program": strange})
            entry = await calm.get_entry(f"{prefix}node-1")
            assert entry is not None
            await calm.put_entry(f"{prefix}node-1", value, lease=held.lease, if_modified=entry.modified)
            found = await members.find_registration(calm, NodeId("node-1"), prefix=prefix)
            assert found == shown(said), strange


async def test_a_member_that_stops_answering_disappears_when_its_lease_lapses(
    calm_etcd: Server, calm: client.EtcdClient, proxy_to: ProxyTo, prefix: str
) -> None:
    async with (
        proxy_to(calm_etcd) as proxy,
        client.open_client([proxy.endpoint], deadline_s=1.0) as lonely,
        session.open_session(lonely, ttl_s=3, keepalive_s=0.3) as held,
        contextlib.aclosing(members.watch_registrations(calm, prefix=prefix)) as lists,
    ):
        await members.register_node(held, _said(held, 1), _believed, prefix=prefix)
        assert await _next(lists) == (shown(_said(held, 1)),)
        proxy.lose_requests = True
        assert await _next(lists) == ()
        assert not held.alive  # by the clock: on a busy machine the news may come before the timer


async def test_a_node_that_came_back_replaces_its_former_life_and_outlives_the_old_lease(
    calm: client.EtcdClient, prefix: str
) -> None:
    async with session.open_session(calm) as now:
        moved = _said(now, 1, http="http://127.0.0.1:9900")
        async with session.open_session(calm) as before:
            await members.register_node(before, _said(before, 1), _believed, prefix=prefix)
            await members.register_node(now, moved, _believed, prefix=prefix)
        assert await members.read_registrations(calm, prefix=prefix) == (shown(moved),)
    assert await members.read_registrations(calm, prefix=prefix) == ()


async def test_a_node_with_another_key_cannot_take_a_name_that_is_in_use(
    calm: client.EtcdClient, prefix: str
) -> None:
    async with session.open_session(calm) as twin, session.open_session(calm) as rightful:
        await members.register_node(rightful, _said(rightful, 1), _believed, prefix=prefix)
        with pytest.raises(errors.NodeIdTaken, match="node-1 is registered with another key"):
            await members.register_node(twin, _said(twin, 1, by="twin"), _believed, prefix=prefix)
        assert await members.read_registrations(calm, prefix=prefix) == (shown(_said(rightful, 1)),)


async def test_a_name_that_somebody_made_up_is_taken_back_by_the_node(
    calm: client.EtcdClient, prefix: str
) -> None:
    async with session.open_session(calm) as stranger, session.open_session(calm) as rightful:
        await members.register_node(stranger, _said(stranger, 1, by="stranger"), _believed, prefix=prefix)
        await members.register_node(rightful, _said(rightful, 1), lambda _: False, prefix=prefix)
        assert await members.read_registrations(calm, prefix=prefix) == (shown(_said(rightful, 1)),)


async def test_what_is_shown_names_the_lease_that_guards_it(calm: client.EtcdClient, prefix: str) -> None:
    """A registration that somebody shows again stands under another lease than the one it was made for."""
    async with session.open_session(calm) as held, session.open_session(calm) as stranger:
        await members.register_node(held, _said(held, 1), _believed, prefix=prefix)
        (found,) = (await calm.read_prefix(prefix)).entries
        await calm.put_entry(found.key, found.value, lease=stranger.lease, if_modified=found.modified)
        (again,) = await members.read_registrations(calm, prefix=prefix)
        assert (again.said, again.lease) == (_said(held, 1), stranger.lease)


async def test_registering_again_changes_nothing(calm: client.EtcdClient, prefix: str) -> None:
    async with session.open_session(calm) as held:
        await members.register_node(held, _said(held, 1), _believed, prefix=prefix)
        before = await calm.read_prefix(prefix)
        await members.register_node(held, _said(held, 1), _believed, prefix=prefix)
        assert (await calm.read_prefix(prefix)).entries == before.entries


async def test_a_registration_whose_answer_was_lost_is_found_by_reading_again(
    calm_etcd: Server, proxy_to: ProxyTo, prefix: str
) -> None:
    async with (
        proxy_to(calm_etcd) as proxy,
        client.open_client([proxy.endpoint, calm_etcd.endpoint]) as unlucky,
        session.open_session(unlucky) as held,
    ):
        proxy.lose_answers = True
        await members.register_node(held, _said(held, 1), _believed, prefix=prefix)
        entries = (await unlucky.read_prefix(prefix)).entries
        assert [found.created == found.modified for found in entries] == [True]


async def test_an_ended_session_registers_nobody(calm: client.EtcdClient, prefix: str) -> None:
    async with session.open_session(calm) as held:
        pass
    with pytest.raises(errors.LeaseLost):
        await members.register_node(held, _said(held, 1), _believed, prefix=prefix)


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
async def test_a_strangers_key_is_passed_over(calm: client.EtcdClient, prefix: str, value: bytes) -> None:
    async with session.open_session(calm) as held:
        await calm.put_entry(prefix + "node-1", value, lease=held.lease, if_modified=0)
        await members.register_node(held, _said(held, 2), _believed, prefix=prefix)
        assert await members.read_registrations(calm, prefix=prefix) == (shown(_said(held, 2)),)
        await members.register_node(held, _said(held, 1), _believed, prefix=prefix)
        both = (shown(_said(held, 1)), shown(_said(held, 2)))
        assert await members.read_registrations(calm, prefix=prefix) == both
