"""The wires of a cluster under test: every connection between two parties passes a proxy in this process.

Each node has a door of its own to each service. The door in front of a node is there for all others, and
who calls is found out by whose socket it is, so that the wire from one node to another can be cut and all
others left alone. A cut direction takes no bytes while both ends
believe that they are connected, and no end of a connection either: as behind a router that went dark. When
it heals, what was sent meanwhile arrives late (`late`), or the connections that were cut are reset.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field

from tests.cluster.chaos import sockets

HOST = "127.0.0.1"
_CHUNK = 65_536

Way = tuple[str, str]
"""From whom, to whom."""


@dataclass(eq=False)
class _Wire:
    """One connection, and the ways that bytes take on it."""

    caller: str
    owner: str
    writers: list[asyncio.StreamWriter]
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def reset(self) -> None:
        for writer in self.writers:
            writer.transport.abort()
        for task in self.tasks:
            task.cancel()


class Network:
    """All doors and wires."""

    def __init__(self, callers: Callable[[], Iterable[tuple[str, int]]]) -> None:
        self._callers = callers
        self._cut: set[Way] = set()
        self._changed = asyncio.Event()
        self._wires: set[_Wire] = set()

    @contextlib.asynccontextmanager
    async def door(self, owner: str, port: int, caller: str = "") -> AsyncIterator[int]:
        """A door of `owner`, who listens on `port` behind it, for all or for one; the port in front."""

        async def called(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            who = caller or sockets.owner(_calling(writer), self._callers())
            await self._called(_Wire(who, owner, [writer]), port, reader, writer)

        server = await asyncio.start_server(called, HOST, 0)
        try:
            yield int(server.sockets[0].getsockname()[1])
        finally:
            server.close()
            for wire in [wire for wire in self._wires if wire.owner == owner]:
                wire.reset()

    def cut(self, *ways: Way) -> None:
        """Nothing passes in these directions any more."""
        self._cut |= set(ways)

    def heal(self, *, late: bool) -> None:
        """Everything passes again."""
        cut, self._cut = self._cut, set()
        if not late:
            for wire in list(self._wires):
                if {(wire.caller, wire.owner), (wire.owner, wire.caller)} & cut:
                    wire.reset()
        self._changed.set()
        self._changed = asyncio.Event()

    async def _called(
        self, wire: _Wire, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        caller, owner = wire.caller, wire.owner
        current = asyncio.current_task()
        assert current is not None
        wire.tasks.append(current)
        self._wires.add(wire)
        try:
            await self._open((caller, owner))
            if not _calling(writer):
                return  # it gave up meanwhile, and was never connected
            behind, before = await asyncio.open_connection(HOST, port)
            wire.writers.append(before)
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(self._pump((caller, owner), reader, before))
                pumps.create_task(self._pump((owner, caller), behind, writer))
        except (OSError, ExceptionGroup, asyncio.CancelledError):
            pass  # an end of it is gone, or the wire was reset: either way there is nobody left to tell
        finally:
            self._wires.discard(wire)
            for end in wire.writers:
                end.transport.abort()

    async def _pump(self, way: Way, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while True:
            data = await source.read(_CHUNK)
            await self._open(way)
            if not data:
                # Whoever hangs up here does so for good; the other direction is torn down with this one.
                raise ConnectionResetError("the end of a connection")
            target.write(data)
            await target.drain()

    async def _open(self, way: Way) -> None:
        while way in self._cut:
            await self._changed.wait()


def _calling(writer: asyncio.StreamWriter) -> int:
    """The socket that called, while it is there."""
    caller, door = (writer.get_extra_info(name) for name in ("peername", "sockname"))
    return sockets.calling(caller[1], door[1], HOST) if caller else 0
