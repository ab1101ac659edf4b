"""What a caller may rely on: reads that find a server, writes sent at most once, and honest errors."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

import grpc  # type: ignore[import-untyped]
import grpc.aio  # type: ignore[import-untyped]
import pytest

from ccn import errors
from ccn.etcd import client, endpoint
from ccn.etcd.entry import WriteExecuted, WriteRefused
from tests.support.etcd.servers import PATIENT_S

if TYPE_CHECKING:
    from tests.support.etcd.servers import Proxy, Server

    ProxyTo = Callable[[Server], AbstractAsyncContextManager[Proxy]]


async def test_a_key_is_written_only_if_it_stands_as_the_caller_believes(
    calm: client.EtcdClient, prefix: str
) -> None:
    key = prefix + "a"
    first = await calm.put_entry(key, b"1", lease=0, if_modified=0)
    assert isinstance(first, WriteExecuted)
    again = await calm.put_entry(key, b"2", lease=0, if_modified=0)
    assert isinstance(again, WriteRefused)
    assert again.entry == await calm.get_entry(key)
    second = await calm.put_entry(key, b"2", lease=0, if_modified=first.revision)
    assert isinstance(second, WriteExecuted)
    assert await calm.delete_entry(key, if_modified=first.revision) == WriteRefused(
        await calm.get_entry(key)
    )
    assert isinstance(await calm.delete_entry(key, if_modified=second.revision), WriteExecuted)
    assert await calm.get_entry(key) is None
    assert await calm.delete_entry(key, if_modified=second.revision) == WriteRefused(None)


async def test_reading_a_prefix_shows_its_keys_in_order_and_no_neighbour(
    calm: client.EtcdClient, prefix: str
) -> None:
    for key in ("b", "a", "ä"):
        await calm.put_entry(prefix + key, key.encode(), lease=0, if_modified=0)
    await calm.put_entry(prefix[:-1] + "0", b"next to the prefix", lease=0, if_modified=0)
    snapshot = await calm.read_prefix(prefix)
    assert [found.key for found in snapshot.entries] == [prefix + "a", prefix + "b", prefix + "ä"]
    assert snapshot.revision > snapshot.entries[-1].modified


async def test_an_endpoint_where_nobody_listens_costs_nothing_but_a_moment(
    calm_etcd: Server, closed_endpoint: str, prefix: str
) -> None:
    endpoints = [closed_endpoint, calm_etcd.endpoint]
    async with client.open_client(endpoints, deadline_s=PATIENT_S) as reader:
        assert await reader.get_entry(prefix) is None
    async with client.open_client(endpoints, deadline_s=PATIENT_S) as writer:
        assert isinstance(await writer.put_entry(prefix, b"", lease=0, if_modified=0), WriteExecuted)


async def test_without_any_server_reads_and_writes_say_that_nothing_was_done(closed_endpoint: str) -> None:
    async with (
        client.open_client([closed_endpoint, closed_endpoint], deadline_s=60) as nobody,
        asyncio.timeout(30),
    ):
        with pytest.raises(errors.CoordinationUnavailable, match="no etcd server answers"):
            await nobody.get_entry("/a")
        with pytest.raises(errors.CoordinationUnavailable, match="can be reached"):
            await nobody.put_entry("/a", b"", lease=0, if_modified=0)


@pytest.mark.parametrize("endpoints", [[], ["http://127.0.0.1:2379"], ["localhost"]])
async def test_endpoints_that_cannot_be_meant_are_refused_with_the_expected_form(
    endpoints: list[str],
) -> None:
    with pytest.raises(errors.SettingsInvalid, match="host:port"):
        async with client.open_client(endpoints):
            raise AssertionError("opened")


async def test_a_write_whose_answer_is_lost_is_ambiguous_and_sent_once(
    etcd: Server, proxy_to: ProxyTo
) -> None:
    async with (
        proxy_to(etcd) as proxy,
        client.open_client([proxy.endpoint, etcd.endpoint], deadline_s=PATIENT_S) as writer,
    ):
        assert await writer.get_entry("/a") is None
        writer.deadline_s = 1.0
        proxy.lose_answers = True
        with pytest.raises(errors.OutcomeUnknown):
            await writer.put_entry("/a", b"1", lease=0, if_modified=0)
        # Reading again decides, through the other endpoint.
        found = await writer.get_entry("/a")
        assert found
        assert found.value == b"1"
        assert etcd.calls("Txn") == 1


async def test_a_write_whose_request_is_lost_is_ambiguous_too_because_nobody_can_know(
    etcd: Server, proxy_to: ProxyTo
) -> None:
    async with (
        proxy_to(etcd) as proxy,
        client.open_client([proxy.endpoint, etcd.endpoint], deadline_s=PATIENT_S) as writer,
    ):
        assert await writer.get_entry("/a") is None
        writer.deadline_s = 1.0
        proxy.lose_requests = True
        with pytest.raises(errors.OutcomeUnknown):
            await writer.put_entry("/a", b"1", lease=0, if_modified=0)
        assert await writer.get_entry("/a") is None
        assert etcd.calls("Txn") == 0


async def test_a_frozen_server_holds_nobody_longer_than_the_deadline(etcd: Server) -> None:
    async with client.open_client([etcd.endpoint], deadline_s=PATIENT_S) as caller, asyncio.timeout(30):
        await caller.get_entry("/a")
        etcd.freeze()
        caller.deadline_s = 0.3
        with pytest.raises(errors.CoordinationUnavailable):
            await caller.get_entry("/a")
        with pytest.raises(errors.OutcomeUnknown):
            await caller.put_entry("/a", b"", lease=0, if_modified=0)
        with pytest.raises(errors.CoordinationUnavailable):
            await caller.renew_lease(1)
        async with client.open_client([etcd.endpoint], deadline_s=0.3) as newcomer:
            with pytest.raises(errors.CoordinationUnavailable):
                await newcomer.put_entry("/a", b"", lease=0, if_modified=0)
        etcd.thaw()


@pytest.mark.parametrize("blow", ["kill", "freeze"])
@pytest.mark.parametrize("role", ["leader", "follower"])
async def test_one_lost_server_of_three_is_survived(
    cluster: list[Server], role: str, blow: str, prefix: str
) -> None:
    """The client talks to the lost one first, and has to find its way without help."""
    lost, *others = cluster if role == "leader" else reversed(cluster)
    endpoints = [server.endpoint for server in (lost, *others)]
    async with client.open_client(endpoints, deadline_s=PATIENT_S) as caller:
        await caller.put_entry(prefix, b"1", lease=0, if_modified=0)
        getattr(lost, blow)()
        caller.deadline_s = 0.6
        await _patiently(caller, prefix, b"2")


async def _patiently(caller: client.EtcdClient, key: str, value: bytes) -> None:
    """Write it. A new leader needs a moment, during which every server says that there is none."""
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(errors.CoordinationUnavailable, errors.OutcomeUnknown):
                found = await caller.get_entry(key)
                assert found
                if found.value == value:
                    return
                assert isinstance(
                    await caller.put_entry(key, value, lease=0, if_modified=found.modified), WriteExecuted
                )
            await asyncio.sleep(0.05)


async def test_a_server_without_a_leader_refuses_writes_before_executing_them(
    cluster: list[Server], prefix: str
) -> None:
    last = cluster[2]
    async with client.open_client([last.endpoint], deadline_s=PATIENT_S) as caller, asyncio.timeout(30):
        await caller.get_entry(prefix)
        for server in cluster[:2]:
            server.freeze()
        caller.deadline_s = 0.6
        refused: list[pytest.ExceptionInfo[errors.CCNError]] = []
        while not refused or "no leader" not in str(refused[-1].value):
            with pytest.raises((errors.CoordinationUnavailable, errors.OutcomeUnknown)) as failed:
                await caller.put_entry(prefix, b"", lease=0, if_modified=0)
            refused.append(failed)
        assert refused[-1].type is errors.CoordinationUnavailable


async def test_a_call_under_which_the_client_closes_ends_with_an_error_not_a_cancellation(
    etcd: Server,
) -> None:
    async with client.open_client([etcd.endpoint], deadline_s=PATIENT_S) as caller:
        await caller.get_entry("/a")
        etcd.freeze()
        reading = asyncio.create_task(caller.get_entry("/a"))
        writing = asyncio.create_task(caller.put_entry("/a", b"", lease=0, if_modified=0))
        await asyncio.sleep(0.1)
    with pytest.raises(errors.CoordinationUnavailable):
        await reading
    with pytest.raises(errors.OutcomeUnknown):
        await writing
    with pytest.raises(errors.CoordinationUnavailable):
        await caller.get_entry("/a")
    with pytest.raises(errors.CoordinationUnavailable):
        await caller.put_entry("/a", b"", lease=0, if_modified=0)


async def test_a_cancelled_call_stays_a_cancellation(etcd: Server) -> None:
    async with client.open_client([etcd.endpoint], deadline_s=PATIENT_S) as caller:
        await caller.get_entry("/a")
        etcd.freeze()
        for call in (
            caller.get_entry("/a"),
            caller.renew_lease(1),
            caller.put_entry("/a", b"", lease=0, if_modified=0),
        ):
            calling = asyncio.create_task(call)
            await asyncio.sleep(0.05)
            calling.cancel()
            with pytest.raises(asyncio.CancelledError):
                await calling


async def test_a_key_under_a_lease_etcd_does_not_know_is_refused_as_a_lost_lease(
    calm: client.EtcdClient, prefix: str
) -> None:
    with pytest.raises(errors.LeaseLost, match="lease not found"):
        await calm.put_entry(prefix, b"", lease=12_345, if_modified=0)
    with pytest.raises(errors.LeaseLost):
        await calm.revoke_lease(12_345)
    assert await calm.renew_lease(12_345) == 0


async def test_what_etcd_finds_invalid_is_a_refusal(calm: client.EtcdClient) -> None:
    with pytest.raises(errors.CoordinationRefused, match="too large"):
        await calm.grant_lease(10**10)


def test_every_status_grpc_knows_has_a_meaning() -> None:
    assert set(endpoint.MEANING) == set(grpc.StatusCode) - {grpc.StatusCode.OK}
    assert set(endpoint.MEANING.values()) == {
        errors.CoordinationUnavailable,
        errors.CoordinationRefused,
        errors.LeaseLost,
    }


async def test_a_cancellation_that_an_error_of_grpc_swallows_is_one_all_the_same() -> None:
    """As when a call ends in the moment in which the task that waits for it is cancelled."""

    async def swallow() -> None:
        with endpoint.translate_errors():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
            none = grpc.aio.Metadata()
            raise grpc.aio.AioRpcError(grpc.StatusCode.DEADLINE_EXCEEDED, none, none)

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await swallow()
