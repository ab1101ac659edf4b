"""What a host says in one turn: to readers at once, to the database in small batches, and its end once.

Separate from the story of a turn because it holds one promise: what was said is kept in order under the
host's epoch, or the host learns that it is none any more. When a write is refused, or nobody knows what
became of it, the turn itself is read; it tells whether to go on, to leave out what is there already, or
that another node took over.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import orjson
import structlog

from ccn import errors
from ccn.core import turn as states
from ccn.core.calls.call import Retry, Usage
from ccn.core.ids import InstanceId
from ccn.core.message import Message
from ccn.core.stream import Kind, Told
from ccn.core.turn import Status
from ccn.node.turns.turn_stream import Live
from ccn.store.connection.pool import Pool
from ccn.store.conversations import conversations, turns
from ccn.store.conversations.turns import Commit, Emit, End, Event, Start, Turn
from ccn.store.writing.batch import Confirm, Write
from ccn.store.writing.writer import Writer

A = TypeVar("A")

log = structlog.get_logger(__name__)

BATCH_LIMIT = 500
"""Pieces that one write keeps."""
_TRIES = 4
"""Refusals in a row after which a write is given up, although the turn stands as it should."""
_AGAIN_S = (0.1, 0.2, 0.5, 1.0)


class Speech:
    """One attempt at a reply, under one epoch."""

    def __init__(self, pool: Pool, writer: Writer, taken: Turn, live: Live, pause_s: float) -> None:
        self.turn = taken
        self.live = live
        self._pool, self._writer, self._pause_s = pool, writer, pause_s
        self._unkept: deque[Told] = deque()
        self._finishing = False
        self._said, self._ended = asyncio.Event(), asyncio.Event()

    @property
    def began(self) -> bool:
        """Whether readers were told anything."""
        return self.live.length > 0

    async def start(self) -> None:
        """Begin the attempt, unless that is done; readers of an earlier one are told that it is void."""
        if self.live.begun:
            return
        attempt, again = self.turn.attempt, self.turn.status is Status.RUNNING
        await self._make(
            lambda: Start(self.turn, self.live.epoch), lambda standing: standing.attempt > attempt
        )
        self.turn = replace(self.turn, status=Status.RUNNING)
        if again:
            self.say(Kind.RESTART, f"begun anew on {self._writer.node}")

    def say(self, kind: Kind, data: str) -> None:
        """To the readers now, to the database soon."""
        self._unkept.append(self.live.say(kind, data))
        self._said.set()

    def wait(self, why: Retry) -> None:
        """Tell the readers why nothing comes just now."""
        self.live.hint(orjson.dumps(why).decode())

    def begin(self, usage: Usage) -> None:
        """Tell the readers what the prompt took."""
        self.live.begin(orjson.dumps(usage).decode())

    async def keep(self) -> None:
        """Write what was said, each batch a while after its first piece, until the end is at hand."""
        while not self._finishing:
            await self._said.wait()
            self._said.clear()
            if not self._finishing and self._unkept:
                await self._pause()
                if not self._finishing:
                    await self._keep_some()
                if self._unkept:
                    self._said.set()

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(self._pause_s):
                await self._ended.wait()
        except TimeoutError:
            return

    def finish(self) -> None:
        """Let `keep` return: the rest is written together with the end."""
        self._finishing = True
        self._said.set()
        self._ended.set()

    async def commit(self, speaker: InstanceId, content: str, data: str, over: asyncio.Event) -> Message:
        """The reply of an instance, once; then it is over, and the readers are told.

        Whoever waits for `over` acts before any reader does: what a reader asks for next sees it under way.
        """
        done = self.live.next(Kind.DONE, data)
        said = await self._make(
            lambda: Commit(self.turn, self.live.epoch, content, speaker, self._events(done)),
            _has_ended,
        )
        over.set()
        self.live.tell(done)
        return said if said is not None else await self._committed()

    async def end(self, status: Status, error: str | None, data: str) -> None:
        """No reply, and why."""
        kind = Kind.ERROR if status is Status.FAILED else Kind.CANCELLED
        last = self.live.next(kind, data)

        def end() -> End:
            events = self._events(last) if self.turn.status is Status.RUNNING else ()
            return End(self.turn, self.live.epoch, status, error, events)

        await self._make(end, _has_ended)
        self.live.tell(last)

    async def _keep_some(self) -> None:
        some = [*self._unkept][:BATCH_LIMIT]
        if not some:
            return
        last = some[-1].place.number

        def emit() -> Emit:
            return Emit(self.turn.id, self.live.epoch, self._events(upto=last))

        await self._make(emit, lambda standing: standing.event_head >= last)
        self._drop(last)

    def _events(self, end: Told | None = None, upto: int | None = None) -> list[Event]:
        told = [each for each in self._unkept if upto is None or each.place.number <= upto]
        return [Event(each.place.number, each.kind, each.data) for each in (*told, *([end] if end else ()))]

    def _drop(self, upto: int) -> None:
        while self._unkept and self._unkept[0].place.number <= upto:
            self._unkept.popleft()

    async def _make(self, write: Callable[[], Write[A]], landed: Callable[[Turn], bool]) -> A | None:
        """Submit until it is durable; None if it turned out to be already."""
        refused, tries, there = 0, 0, False
        while True:
            try:
                if there:
                    return await self._writer.submit(Confirm())
                return await self._writer.submit(write())
            except errors.ShuttingDown:
                raise
            except (errors.Unavailable, errors.OutcomeUnknown) as failed:
                log.warning("a turn waits for the database", turn=str(self.turn.id), reason=str(failed))
                await asyncio.sleep(_AGAIN_S[min(tries, len(_AGAIN_S) - 1)])
                tries += 1
            except errors.Conflict:
                refused += 1
                if refused > _TRIES:
                    raise
            try:
                standing = await turns.get(self._pool, self.turn.id)
            except errors.Unavailable:
                continue
            if standing.epoch != self.live.epoch:
                raise errors.StaleHost(f"epoch {self.live.epoch} is over: {standing.epoch} has begun")
            there = landed(standing)
            if there:
                continue
            self._drop(standing.event_head)

    async def _committed(self) -> Message:
        standing = await turns.get(self._pool, self.turn.id)
        assert standing.reply_seq is not None, "what was committed has a reply"
        found = await conversations.after(
            self._pool, standing.conversation, standing.reply_seq - 1, limit=1
        )
        return found[0]


def _has_ended(standing: Turn) -> bool:
    return states.ended(standing.status)
