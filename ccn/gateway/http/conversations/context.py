"""What the routes for conversations share: the node behind them, and when their streams have to end.

A stream can last longer than its node. When the node is told to stop, streams go on while there is time,
because most end by themselves; the others are ended, and their readers told to resume at another node.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, FastAPI
from starlette.requests import HTTPConnection

from ccn import errors, settings
from ccn.gateway.deeds.interface import ConversationDeeds, ModelDeeds
from ccn.gateway.open_streams import OpenStreams
from ccn.gateway.reading_places import ReadingPlaces
from ccn.node.turns.plates import Plates
from ccn.store.connection.pool import Pool

STOPPING = "this node is stopping"


class StreamShutdown:
    """Decides when open streams have to end: some time after the node was told to stop."""

    def __init__(self, stop: asyncio.Event, within_s: float) -> None:
        self.stop = stop
        self._within_s = within_s
        self._open = 0
        self._quiet = asyncio.Event()
        self._quiet.set()

    @contextlib.contextmanager
    def count_stream(self) -> Iterator[None]:
        """Count a stream while it is open."""
        self._open += 1
        self._quiet.clear()
        try:
            yield
        finally:
            self._open -= 1
            if not self._open:
                self._quiet.set()

    async def wait_until_due(self) -> None:
        """Return when the streams that are still open have to end."""
        await self.stop.wait()
        await asyncio.sleep(self._within_s)

    async def wait_until_quiet(self) -> None:
        """Return when no stream is open any more, or a little after the last should have ended."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._within_s + 0.5):
                await self._quiet.wait()


@dataclass(frozen=True, slots=True)
class ConversationContext:
    """The parts of the node that routes for conversations use."""

    deeds: ConversationDeeds
    pool: Pool
    plates: Plates
    model: ModelDeeds
    shutdown: StreamShutdown
    reading: ReadingPlaces
    streams: OpenStreams
    claude: settings.ClaudeSettings = field(default_factory=settings.ClaudeSettings)
    """Whether a stand-in answers, and in which time zone days begin."""


def install_context(app: FastAPI, context: ConversationContext | None) -> None:
    """Give the routes of this application what they use; None if the node hosts no instances."""
    app.state.conversations = context


def find_context(connection: HTTPConnection) -> ConversationContext | None:
    """The context that was installed, if one was."""
    context: ConversationContext | None = connection.app.state.conversations
    return context


async def get_context(connection: HTTPConnection) -> ConversationContext:
    """The context that was installed; raises Unavailable if the node hosts no instances.

    It waits for nothing, and is async because FastAPI runs other dependencies in a thread.
    """
    context = find_context(connection)
    if context is None:
        raise errors.Unavailable("this node keeps no conversations")
    return context


Context = Annotated[ConversationContext, Depends(get_context)]
