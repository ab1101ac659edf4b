"""Follows the changes under a prefix, whichever servers come and go.

Separate from the client because a watch has a life of its own. It resumes after the last revision it
showed, notices a server that cancels it or falls silent, and says so when etcd forgot what it asks for.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import Any

import grpc.aio  # type: ignore[import-untyped]
import structlog
from aetcd import rpc  # type: ignore[import-untyped]

from ccn import errors
from ccn.etcd import endpoint, entry
from ccn.etcd.client import EtcdClient
from ccn.etcd.entry import EtcdChange, EtcdSnapshot

PATIENCE_S = 5.0
PAUSE_S = 0.2

log = structlog.get_logger(__name__)


async def watch_snapshots(client: EtcdClient, prefix: str) -> AsyncGenerator[EtcdSnapshot]:
    """Yield the entries under `prefix`, now and after every change. Compaction shows as one larger step."""
    while True:
        snapshot = await client.read_prefix(prefix)
        yield snapshot
        entries = {entry.key: entry for entry in snapshot.entries}
        try:
            async with contextlib.aclosing(watch_changes(client, prefix, snapshot.revision)) as batches:
                async for batch in batches:
                    for change in batch:
                        entries.pop(change.key, None)
                        if change.entry is not None:
                            entries[change.key] = change.entry
                    ordered = sorted(entries.values(), key=lambda entry: entry.key)
                    yield EtcdSnapshot(tuple(ordered), batch[-1].revision)
        except errors.HistoryCompacted as compacted:
            log.info("etcd watch reads again", prefix=prefix, reason=str(compacted))


async def watch_changes(
    client: EtcdClient, prefix: str, after: int, *, patience_s: float = PATIENCE_S
) -> AsyncGenerator[tuple[EtcdChange, ...]]:
    """Yield every change under `prefix` later than revision `after`, in order, each once.

    Raises `HistoryCompacted` when etcd forgot some of them, and `CoordinationUnavailable` when no server
    kept a watch open for `patience_s`.
    """
    clock = asyncio.get_running_loop().time
    alive_at = clock()
    while True:
        try:
            # etcd accepts a watch from a revision it has not reached, and then stays silent. So read first:
            # the answer shows whether this is still the same etcd.
            await client.get_entry(prefix)
            async with contextlib.aclosing(_watch_server(client, prefix, after + 1)) as batches:
                async for batch in batches:
                    if batch:
                        after = batch[-1].revision
                        yield batch
                    alive_at = clock()
        except errors.CoordinationUnavailable as failed:
            if clock() - alive_at > patience_s:
                raise
            log.info("etcd watch resumes", prefix=prefix, after=after, reason=str(failed))
            await asyncio.sleep(PAUSE_S)


async def _watch_server(
    client: EtcdClient, prefix: str, start: int
) -> AsyncGenerator[tuple[EtcdChange, ...]]:
    """Open one watch on one server. Yields an empty batch for each sign of life without a change."""
    server = await client.find_server()
    create = rpc.WatchCreateRequest(**entry.prefix_range(prefix), start_revision=start)
    try:
        async with contextlib.aclosing(_read_watch(client, server, create)) as answers:
            async for answer in answers:
                client.recognise_etcd(answer.header)
                if answer.compact_revision:
                    raise errors.HistoryCompacted(
                        f"etcd has no changes before revision {answer.compact_revision}"
                    )
                if answer.canceled:
                    raise errors.CoordinationUnavailable(f"etcd cancelled a watch: {answer.cancel_reason}")
                if not answer.created:  # which says nothing about whether it will stay open
                    yield tuple(entry.change_from_pb(event) for event in answer.events)
    except errors.CoordinationUnavailable as failed:
        client.leave_server(server, failed)
        raise


async def _read_watch(client: EtcdClient, server: endpoint.Endpoint, create: Any) -> AsyncGenerator[Any]:
    """Yield the messages of a watch. A server that stays silent when asked for progress counts as dead."""
    with endpoint.translate_errors():
        stream = server.watch.Watch(metadata=client.call_metadata)
        reading = None
        try:
            await _send_request(client, stream, rpc.WatchRequest(create_request=create))
            asked = False
            reading = asyncio.ensure_future(stream.read())
            while True:
                done, _ = await asyncio.wait({reading}, timeout=client.deadline_s)
                if done:
                    if (answer := reading.result()) is grpc.aio.EOF:
                        raise errors.CoordinationUnavailable("etcd ended a watch")
                    yield answer
                    asked = False
                    reading = asyncio.ensure_future(stream.read())
                elif asked:
                    raise errors.CoordinationUnavailable("an open watch fell silent")
                else:
                    await _send_request(
                        client, stream, rpc.WatchRequest(progress_request=rpc.WatchProgressRequest())
                    )
                    asked = True
        finally:
            stream.cancel()
            if reading is not None:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)


async def _send_request(client: EtcdClient, stream: Any, request: Any) -> None:
    try:
        async with asyncio.timeout(client.deadline_s):
            await stream.write(request)
    except TimeoutError as late:
        raise errors.CoordinationUnavailable("an etcd server takes no requests") from late
