"""A watch shows every change once and in order, and never just falls silent."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any

import grpc.aio  # type: ignore[import-untyped]
import pytest
from aetcd import rpc  # type: ignore[import-untyped]
from aetcd.rpc import rpc_pb2_grpc  # type: ignore[import-untyped]

from ccn import errors
from ccn.etcd import changes, client
from ccn.etcd.entry import EtcdChange, EtcdSnapshot, WriteExecuted
from tests.support.etcd.servers import PATIENT_S

if TYPE_CHECKING:
    from tests.support.etcd.servers import Proxy, Server

    ProxyTo = Callable[[Server], AbstractAsyncContextManager[Proxy]]


async def _put(writer: client.EtcdClient, key: str, value: bytes = b"") -> int:
    """Write whatever stands there, and the revision of it."""
    unknown = False
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(errors.CoordinationUnavailable):
                found = await writer.get_entry(key)
                if unknown and found and found.value == value:
                    return found.modified
                try:
                    written = await writer.put_entry(
                        key, value, lease=0, if_modified=found.modified if found else 0
                    )
                except errors.OutcomeUnknown:
                    unknown = True
                else:
                    assert isinstance(written, WriteExecuted)
                    return written.revision
            await asyncio.sleep(0.05)


async def _next(batches: AsyncGenerator[tuple[EtcdChange, ...]]) -> list[tuple[str, int]]:
    async with asyncio.timeout(30):
        return [(change.key, change.revision) for change in await anext(batches)]


def _keys(snapshot: EtcdSnapshot) -> list[str]:
    return [found.key.rpartition("/")[2] for found in snapshot.entries]


async def _compact(server: Server, revision: int) -> None:
    async with grpc.aio.insecure_channel(server.endpoint) as channel:
        await rpc.KVStub(channel).Compact(rpc.CompactionRequest(revision=revision, physical=True))


async def test_changes_show_writes_and_deletions_with_their_revisions(
    calm: client.EtcdClient, prefix: str
) -> None:
    start = (await calm.read_prefix(prefix)).revision
    first = await _put(calm, prefix + "a", b"1")
    await _put(calm, prefix[:-1] + "0")
    second = await _put(calm, prefix + "a", b"2")
    deleted = await calm.delete_entry(prefix + "a", if_modified=second)
    assert isinstance(deleted, WriteExecuted)
    seen: list[EtcdChange] = []
    async with contextlib.aclosing(changes.watch_changes(calm, prefix, start)) as batches:
        async for batch in batches:
            seen += batch
            if len(seen) == 3:
                break
    assert [change.entry.value if change.entry else None for change in seen] == [b"1", b"2", None]
    assert [change.revision for change in seen] == [first, second, deleted.revision]


async def test_a_watch_goes_on_where_it_was_when_etcd_restarts(etcd: Server) -> None:
    async with (
        client.open_client([etcd.endpoint]) as writer,
        client.open_client([etcd.endpoint]) as watcher,
        contextlib.aclosing(changes.watch_changes(watcher, "/w/", 0, patience_s=30)) as batches,
    ):
        first = await _put(writer, "/w/a")
        assert await _next(batches) == [("/w/a", first)]
        etcd.stop()
        etcd.start()
        second = await _put(writer, "/w/b")
        assert await _next(batches) == [("/w/b", second)]


async def test_a_watch_moves_to_another_server_and_misses_nothing(
    cluster: list[Server], prefix: str
) -> None:
    leader, other, lost = cluster
    async with (
        client.open_client([leader.endpoint]) as writer,
        client.open_client([lost.endpoint, other.endpoint]) as watcher,
        contextlib.aclosing(changes.watch_changes(watcher, prefix, 1, patience_s=30)) as batches,
    ):
        first = await _put(writer, prefix + "a")
        assert await _next(batches) == [(prefix + "a", first)]
        lost.freeze()
        second = await _put(writer, prefix + "b")
        assert await _next(batches) == [(prefix + "b", second)]


async def test_a_watch_that_etcd_ends_for_want_of_a_leader_goes_on_when_there_is_one(
    cluster: list[Server], prefix: str
) -> None:
    *lost, last = cluster
    async with (
        client.open_client([last.endpoint]) as watcher,
        contextlib.aclosing(changes.watch_changes(watcher, prefix, 1, patience_s=20)) as batches,
    ):
        first = await _put(watcher, prefix + "a")
        assert await _next(batches) == [(prefix + "a", first)]
        waiting = asyncio.create_task(_next(batches))
        for server in lost:
            server.freeze()
        await _until(lambda: _no_leader(watcher))
        for server in lost:
            server.thaw()
        second = await _put(watcher, prefix + "b")
        assert await waiting == [(prefix + "b", second)]


async def _no_leader(asked: client.EtcdClient) -> bool:
    try:
        await asked.get_entry("/w/")
    except errors.CoordinationUnavailable as failed:
        return "no leader" in str(failed)
    return False


async def _until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(30):
        while not await condition():
            await asyncio.sleep(0.05)


async def test_a_connection_that_swallows_everything_is_noticed_without_help(
    etcd: Server, proxy_to: ProxyTo
) -> None:
    async with (
        proxy_to(etcd) as proxy,
        client.open_client([etcd.endpoint]) as writer,
        client.open_client([proxy.endpoint, etcd.endpoint]) as watcher,
        contextlib.aclosing(changes.watch_changes(watcher, "/w/", 0, patience_s=30)) as batches,
    ):
        first = await _put(writer, "/w/a")
        assert await _next(batches) == [("/w/a", first)]
        proxy.lose_answers = True
        second = await _put(writer, "/w/b")
        assert await _next(batches) == [("/w/b", second)]


async def test_changes_that_etcd_forgot_are_reported_not_skipped(etcd: Server) -> None:
    async with client.open_client([etcd.endpoint]) as caller:
        for number in range(5):
            await _put(caller, "/w/a", str(number).encode())
        await _compact(etcd, 4)
        async with contextlib.aclosing(changes.watch_changes(caller, "/w/", 1, patience_s=30)) as batches:
            with pytest.raises(errors.HistoryCompacted, match="4"):
                await _next(batches)


async def test_a_view_takes_compaction_as_one_larger_step(etcd: Server, proxy_to: ProxyTo) -> None:
    async with (
        proxy_to(etcd) as proxy,
        client.open_client([etcd.endpoint], deadline_s=PATIENT_S) as writer,
        client.open_client([proxy.endpoint], deadline_s=PATIENT_S) as watcher,
        contextlib.aclosing(changes.watch_snapshots(watcher, "/w/")) as snapshots,
    ):
        gone = await _put(writer, "/w/a")
        assert _keys(await anext(snapshots)) == ["a"]
        waiting = asyncio.ensure_future(anext(snapshots))
        await _until(lambda: _watching(etcd))
        proxy.lose_answers = True
        assert isinstance(await writer.delete_entry("/w/a", if_modified=gone), WriteExecuted)
        latest = [await _put(writer, "/w/" + key) for key in "bcd"][-1]
        await _compact(etcd, latest)
        proxy.lose_answers = False
        proxy.cut()
        assert _keys(await asyncio.wait_for(waiting, 30)) == ["b", "c", "d"]
        await _put(writer, "/w/e")
        assert _keys(await asyncio.wait_for(anext(snapshots), 30)) == ["b", "c", "d", "e"]


async def _watching(server: Server) -> bool:
    return server.calls("Watch") > 0


async def test_a_view_shows_what_stands_after_each_change(calm: client.EtcdClient, prefix: str) -> None:
    async with contextlib.aclosing(changes.watch_snapshots(calm, prefix)) as snapshots:
        assert _keys(await anext(snapshots)) == []
        await _put(calm, prefix + "b")
        assert _keys(await anext(snapshots)) == ["b"]
        revision = await _put(calm, prefix + "a")
        snapshot = await anext(snapshots)
        assert _keys(snapshot) == ["a", "b"]
        assert snapshot.revision == revision
        await calm.delete_entry(prefix + "a", if_modified=revision)
        assert _keys(await anext(snapshots)) == ["b"]


async def test_a_watch_from_a_revision_that_a_wiped_etcd_has_not_reached_does_not_wait_for_it(
    etcd: Server,
) -> None:
    async with client.open_client([etcd.endpoint], deadline_s=PATIENT_S) as watcher:
        revision = await _put(watcher, "/w/a")
        async with contextlib.aclosing(changes.watch_changes(watcher, "/w/", revision)) as batches:
            waiting = asyncio.create_task(_next(batches))
            await _until(lambda: _watching(etcd))
            await asyncio.to_thread(etcd.wipe)
            with pytest.raises(errors.CoordinationReplaced):
                await waiting


async def test_a_watch_gives_up_when_its_patience_ends(closed_endpoint: str) -> None:
    async with (
        client.open_client([closed_endpoint]) as caller,
        contextlib.aclosing(changes.watch_changes(caller, "/w/", 0, patience_s=0.3)) as batches,
    ):
        with pytest.raises(errors.CoordinationUnavailable):
            await _next(batches)


async def test_a_watch_the_server_cancels_with_a_reason_is_reported_with_it() -> None:
    async with (
        _canceller() as address,
        client.open_client([address]) as caller,
        contextlib.aclosing(changes.watch_changes(caller, "/w/", 0, patience_s=0.3)) as batches,
    ):
        with pytest.raises(errors.CoordinationUnavailable, match="the server is in a bad mood"):
            await _next(batches)


@contextlib.asynccontextmanager
async def _canceller() -> AsyncIterator[str]:
    """A server that answers reads and cancels every watch, which no setting makes a real one do."""
    header = rpc.ResponseHeader(cluster_id=1, member_id=1, revision=1, raft_term=1)

    class Reads(rpc_pb2_grpc.KVServicer):  # type: ignore[misc]
        async def Range(self, request: Any, context: Any) -> Any:  # noqa: N802 etcd's name
            return rpc.RangeResponse(header=header)

    class Watches(rpc_pb2_grpc.WatchServicer):  # type: ignore[misc]
        async def Watch(self, requests: Any, context: Any) -> Any:  # noqa: N802 etcd's name
            async for _ in requests:
                yield rpc.WatchResponse(header=header, created=True)
                yield rpc.WatchResponse(
                    header=header, canceled=True, cancel_reason="the server is in a bad mood"
                )

    server = grpc.aio.server()
    rpc_pb2_grpc.add_KVServicer_to_server(Reads(), server)
    rpc_pb2_grpc.add_WatchServicer_to_server(Watches(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)
