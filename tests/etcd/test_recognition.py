"""An etcd that is not the one we knew is recognised and never mistaken for it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest

from ccn import errors
from ccn.etcd import client
from tests.support.etcd.servers import PATIENT_S

if TYPE_CHECKING:
    from tests.support.etcd.servers import Server


async def _answer(caller: client.EtcdClient) -> None:
    """Ask until the client has connected again."""
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(errors.CoordinationUnavailable):
                await caller.get_entry("/a")
                return
            await asyncio.sleep(0.05)


async def _write(caller: client.EtcdClient, count: int) -> None:
    for number in range(count):
        await caller.put_entry(f"/{number}", b"", lease=0, if_modified=0)


async def test_an_etcd_with_another_cluster_id_is_recognised(etcd: Server) -> None:
    async with client.open_client([etcd.endpoint], deadline_s=PATIENT_S) as caller:
        await caller.get_entry("/a")
        etcd.wipe(token="second life")
        with pytest.raises(errors.CoordinationReplaced, match="cluster"):
            await _answer(caller)


async def test_a_wiped_etcd_of_the_same_name_is_recognised_by_its_revision(etcd: Server) -> None:
    async with client.open_client([etcd.endpoint], deadline_s=PATIENT_S) as caller:
        await _write(caller, 3)
        etcd.wipe()
        with pytest.raises(errors.CoordinationReplaced, match="revision went back from 4 to 1"):
            await _answer(caller)


async def test_a_wiped_etcd_that_wrote_more_is_recognised_by_its_term(etcd: Server) -> None:
    etcd.stop()
    etcd.start()
    async with client.open_client([etcd.endpoint], deadline_s=PATIENT_S) as caller:
        await _write(caller, 1)
        etcd.wipe()
        async with client.open_client([etcd.endpoint], deadline_s=PATIENT_S) as other:
            await _write(other, 5)
        with pytest.raises(errors.CoordinationReplaced, match="term went back from 3 to 2"):
            await _answer(caller)


async def test_a_client_that_met_another_etcd_refuses_everything_and_a_new_client_goes_on(
    etcd: Server,
) -> None:
    async with client.open_client([etcd.endpoint], deadline_s=PATIENT_S) as caller:
        lease, _ = await caller.grant_lease(5)
        await _write(caller, 1)
        etcd.wipe(token="second life")
        with pytest.raises(errors.CoordinationReplaced):
            await _answer(caller)
        with pytest.raises(errors.CoordinationReplaced):
            await caller.put_entry("/a", b"", lease=0, if_modified=0)
        with pytest.raises(errors.CoordinationReplaced):
            await caller.renew_lease(lease)
    async with client.open_client([etcd.endpoint], deadline_s=PATIENT_S) as newcomer:
        await _write(newcomer, 1)


async def test_an_ordinary_restart_is_not_mistaken_for_another_etcd(etcd: Server) -> None:
    async with client.open_client([etcd.endpoint], deadline_s=PATIENT_S) as caller:
        await _write(caller, 3)
        etcd.stop()
        etcd.start()
        await _answer(caller)
        assert await caller.get_entry("/1")
