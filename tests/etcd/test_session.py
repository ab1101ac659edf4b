"""The signal that a session ended comes before etcd can have dropped the lease, and it always comes."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

import pytest

from ccn import errors
from ccn.etcd import changes, client, session
from tests.support.etcd.servers import PATIENT_S

if TYPE_CHECKING:
    from tests.support.etcd.servers import Proxy, Server

    ProxyTo = Callable[[Server], AbstractAsyncContextManager[Proxy]]

TTL_S = 3.0
QUICK = {"ttl_s": TTL_S, "keepalive_s": 0.5}
LASTING = {"ttl_s": 60.0, "keepalive_s": 0.5}
SHORT_S = 1.0


async def _ended(watched: session.EtcdSession, within_s: float = 30) -> None:
    async with asyncio.timeout(within_s):
        await watched.ended.wait()
    assert not watched.alive
    with pytest.raises(errors.LeaseLost, match=watched.reason):
        watched.check_alive()


async def _kept_since(watched: session.EtcdSession, moment: float, ttl_s: float) -> None:
    """Wait until etcd has answered a keepalive that was sent after this moment."""
    async with asyncio.timeout(ttl_s):
        while watched.deadline <= moment + ttl_s * (1 - session.MARGIN):
            watched.check_alive()
            await asyncio.sleep(0.02)


async def _gone(watcher: client.EtcdClient, prefix: str) -> float:
    async with (
        asyncio.timeout(30),
        contextlib.aclosing(changes.watch_snapshots(watcher, prefix)) as snapshots,
    ):
        async for snapshot in snapshots:
            if not snapshot.entries:
                break
    return asyncio.get_running_loop().time()


async def test_closing_a_session_frees_its_keys_at_once(calm: client.EtcdClient, prefix: str) -> None:
    async with session.open_session(calm) as held:
        await calm.put_entry(prefix, b"", lease=held.lease, if_modified=0)
    assert await calm.get_entry(prefix) is None
    assert held.reason == "closed"
    assert held.ended.is_set()


async def test_the_signal_comes_before_etcd_drops_the_lease_counted_from_the_last_keepalive_sent(
    etcd: Server, proxy_to: ProxyTo, prefix: str
) -> None:
    async with (
        proxy_to(etcd) as proxy,
        client.open_client([proxy.endpoint], deadline_s=2.0) as cut_off,
        client.open_client([etcd.endpoint], deadline_s=PATIENT_S) as watcher,
        session.open_session(cut_off, **QUICK) as held,
    ):
        await cut_off.put_entry(prefix, b"", lease=held.lease, if_modified=0)
        gone = asyncio.create_task(_gone(watcher, prefix))
        # Counted from the answers, the signal would come 0.5 s later, and that is too late.
        proxy.delay_answers_s = 0.5
        sent = etcd.calls("LeaseKeepAlive")
        while etcd.calls("LeaseKeepAlive") < sent + 2:
            await asyncio.sleep(0.02)
        proxy.lose_requests = True
        sent_at = asyncio.get_running_loop().time()
        await _ended(held)
        assert held.deadline < sent_at + TTL_S
        assert held.deadline < await gone
        assert held.reason == "no keepalive was answered in time"


async def test_a_session_outlives_its_ttl_and_an_etcd_that_is_away_for_less(
    etcd: Server, prefix: str
) -> None:
    async with (
        client.open_client([etcd.endpoint], deadline_s=PATIENT_S) as caller,
        session.open_session(caller, ttl_s=20, keepalive_s=0.5) as held,
    ):
        await caller.put_entry(prefix, b"", lease=held.lease, if_modified=0)
        first, caller.deadline_s = held.deadline, 0.5
        etcd.freeze()
        await asyncio.sleep(1)  # twice the pause between keepalives
        etcd.thaw()
        await _kept_since(held, asyncio.get_running_loop().time(), 20)
        assert held.deadline > first
        caller.deadline_s = PATIENT_S
        assert await caller.get_entry(prefix)


async def test_a_session_survives_the_loss_of_its_server_and_of_the_etcd_leader(
    cluster: list[Server], prefix: str
) -> None:
    endpoints = [server.endpoint for server in cluster]
    async with (
        client.open_client(endpoints, deadline_s=PATIENT_S) as caller,
        session.open_session(caller, ttl_s=20, keepalive_s=0.5) as held,
    ):
        await caller.put_entry(prefix, b"", lease=held.lease, if_modified=0)
        cluster[0].freeze()
        caller.deadline_s = 0.5
        await _kept_since(held, asyncio.get_running_loop().time(), 20)
        caller.deadline_s = PATIENT_S
        assert await caller.get_entry(prefix)


async def test_a_frozen_etcd_ends_the_session_within_its_ttl(etcd: Server) -> None:
    async with (
        client.open_client([etcd.endpoint], deadline_s=PATIENT_S) as caller,
        session.open_session(caller, ttl_s=SHORT_S, keepalive_s=0.2) as held,
    ):
        etcd.freeze()
        froze_at = asyncio.get_running_loop().time()
        await _ended(held)
        assert held.deadline < froze_at + SHORT_S


async def test_a_lease_that_somebody_revoked_ends_the_session_with_the_next_keepalive(
    calm: client.EtcdClient,
) -> None:
    async with session.open_session(calm, **LASTING) as held:
        await calm.revoke_lease(held.lease)
        await _ended(held)
        assert held.reason == "etcd does not know the lease any more"


async def test_a_wiped_etcd_ends_the_session(etcd: Server) -> None:
    async with (
        client.open_client([etcd.endpoint], deadline_s=PATIENT_S) as caller,
        session.open_session(caller, **LASTING) as held,
    ):
        etcd.wipe()
        await _ended(held)


async def test_work_during_a_session_is_stopped_when_the_session_ends(calm: client.EtcdClient) -> None:
    stopped = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            stopped.set()

    async with session.open_session(calm, **LASTING) as held:
        assert await held.run_while_alive(asyncio.sleep(0, "done")) == "done"
        working = asyncio.create_task(held.run_while_alive(work()))
        await asyncio.sleep(0.05)
        await calm.revoke_lease(held.lease)
        with pytest.raises(errors.LeaseLost):
            await asyncio.wait_for(working, 30)
        assert stopped.is_set()
        with pytest.raises(errors.LeaseLost):
            await held.run_while_alive(asyncio.sleep(0))


async def test_a_blocked_process_knows_afterwards_that_its_time_is_over(etcd: Server) -> None:
    async with (
        client.open_client([etcd.endpoint], deadline_s=PATIENT_S) as caller,
        session.open_session(caller, ttl_s=SHORT_S, keepalive_s=0.2) as held,
    ):
        await asyncio.sleep(0.1)
        etcd.freeze()
        time.sleep(SHORT_S)
        # The signal has had no chance to fire yet; the clock tells.
        assert not held.alive
        with pytest.raises(errors.LeaseLost):
            held.check_alive()


async def test_without_etcd_no_session_opens(closed_endpoint: str) -> None:
    async with client.open_client([closed_endpoint]) as caller:
        with pytest.raises(errors.CoordinationUnavailable):
            async with session.open_session(caller):
                raise AssertionError("opened")


async def test_a_keepalive_slower_than_the_ttl_is_refused(calm: client.EtcdClient) -> None:
    with pytest.raises(errors.SettingsInvalid, match="every 9"):
        async with session.open_session(calm, ttl_s=5, keepalive_s=9):
            raise AssertionError("opened")
