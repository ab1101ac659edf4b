"""A server behind a connection that went dead without a word, as when its machine lost power."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

from ccn import errors
from ccn.etcd import client
from tests.support.etcd.servers import Server

RECOVERS_S = 30.0
"""6 s until the next ping, 2 s for its answer, and room for a slow machine. Without pings it takes longer
than 40 s."""


class Wire:
    """A way to a server on which the connections of the past can go dead, and new ones work."""

    def __init__(self, server: Server) -> None:
        self._host, port = server.endpoint.split(":")
        self._port = int(port)
        self._tasks: set[asyncio.Task[None]] = set()
        self._alive = asyncio.Event()

    def go_dead(self) -> None:
        self._alive = asyncio.Event()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self._called, "127.0.0.1", 0)
        try:
            yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _called(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(self._host, self._port)
        for source, target in ((reader, back), (there, writer)):
            self._tasks.add(asyncio.create_task(self._pump(source, target, self._alive)))

    async def _pump(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, alive: asyncio.Event
    ) -> None:
        with contextlib.suppress(OSError), contextlib.closing(target):
            while data := await source.read(65_536):
                if alive is not self._alive:
                    await asyncio.Event().wait()
                target.write(data)


async def test_a_connection_that_went_dead_is_left_within_seconds(calm_etcd: Server) -> None:
    wire = Wire(calm_etcd)
    async with wire.running() as endpoint, client.open_client([endpoint], deadline_s=1.0) as caller:
        for _ in range(20):  # the connection is established in every respect
            await caller.get_entry("key")
        wire.go_dead()
        began = time.monotonic()
        async with asyncio.timeout(RECOVERS_S):
            while True:
                with contextlib.suppress(errors.CoordinationUnavailable):
                    await caller.get_entry("key")
                    break
        assert time.monotonic() - began > caller.deadline_s
