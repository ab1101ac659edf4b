"""What the doors to conversations share: whom they call, where they read, and when they have to end.

A stream can last longer than the node that tells it. When the node is told to stop, streams go on while
there is time, because most end by themselves; those that do not are ended, and told to resume elsewhere.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from fastapi import FastAPI
from starlette.requests import HTTPConnection

from ccn import errors, settings
from ccn.core.calls.call import Call, CallRetry, Piece
from ccn.gateway.open_streams import OpenStreams
from ccn.gateway.search_places import Searches
from ccn.node.conversations import Conversations
from ccn.node.spending.paid_model import Payer
from ccn.node.turns.prompts import Prompts
from ccn.store.connection.pool import Pool

STOPPING = "this node is stopping"


class StatelessModel(Protocol):
    """Whoever answers calls that belong to no conversation, and counts what that costs."""

    @property
    def trouble(self) -> CallRetry | None:
        """Which try comes next, of a call that failed."""

    def stream(self, call: Call, who: Payer) -> AsyncGenerator[Piece, None]:
        """Deltas, a restart whenever they begin anew, and last the whole reply."""

    async def count_tokens(self, call: Call) -> int:
        """How many tokens the prompt has."""

    async def await_settlements(self) -> None:
        """Return when what has ended here is counted."""


class StreamShutdown:
    """When open streams have to end: some time after the node was told to stop."""

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
        """Return when whatever still streams has to end."""
        await self.stop.wait()
        await asyncio.sleep(self._within_s)

    async def wait_until_quiet(self) -> None:
        """Return when no stream is open any more, or none should be."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._within_s + 0.5):
                await self._quiet.wait()


@dataclass(frozen=True, slots=True)
class ConversationContext:
    """What the doors to conversations stand on."""

    conversations: Conversations
    pool: Pool
    prompting: Prompts
    model: StatelessModel
    shutdown: StreamShutdown
    searching: Searches
    streams: OpenStreams
    claude: settings.ClaudeSettings = field(default_factory=settings.ClaudeSettings)
    """Who answers, and where days begin."""


def install_context(app: FastAPI, talk: ConversationContext | None) -> None:
    """Let the routes of this application find it."""
    app.state.talk = talk


async def get_context(connection: HTTPConnection) -> ConversationContext:
    """What was installed; Unavailable at a door without instances behind it.

    It waits for nothing, but what is not async a framework would run in another thread, for every request.
    """
    found: ConversationContext | None = connection.app.state.talk
    if found is None:
        raise errors.Unavailable("this node keeps no conversations")
    return found
