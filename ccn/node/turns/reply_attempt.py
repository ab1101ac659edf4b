"""What a host says in one turn: to readers at once, to the database in small batches, and its end once.

Separate from the story of a turn because it keeps one promise: what was said is stored in order under the
host's epoch, or the host learns that it hosts no more. When a write is refused, or its outcome is unknown,
the turn is read again. It shows whether to go on, to leave out what is stored already, or that another node
took over.
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
from ccn.core.calls.call import CallRetry, TokenUsage
from ccn.core.ids import InstanceId
from ccn.core.message import Message
from ccn.core.stream import EventKind, StreamEvent
from ccn.core.turn import TurnStatus
from ccn.node.turns.turn_stream import LiveStream
from ccn.store.connection.pool import Pool
from ccn.store.conversations import conversations, turns
from ccn.store.conversations.turns import CommitReply, EmitEvents, EndTurn, StartTurn, Turn, TurnEvent
from ccn.store.writing.batch import Confirm, Write
from ccn.store.writing.writer import Writer

A = TypeVar("A")

log = structlog.get_logger(__name__)

BATCH_LIMIT = 500
"""Most events that one write stores."""
_TRIES = 4
"""Refusals in a row after which a write is given up, although the turn is as it should be."""
_AGAIN_S = (0.1, 0.2, 0.5, 1.0)


class ReplyAttempt:
    """One attempt at a reply, under one epoch."""

    def __init__(self, pool: Pool, writer: Writer, taken: Turn, live: LiveStream, pause_s: float) -> None:
        self.turn = taken
        self.live = live
        self._pool, self._writer, self._pause_s = pool, writer, pause_s
        self._unwritten: deque[StreamEvent] = deque()
        self._finishing = False
        self._said, self._ended = asyncio.Event(), asyncio.Event()

    @property
    def began(self) -> bool:
        """Return whether readers were told anything."""
        return self.live.length > 0

    async def start(self) -> None:
        """Begin the attempt, unless it has begun. Readers of an earlier attempt are told to begin again."""
        if self.live.begun:
            return
        attempt, again = self.turn.attempt, self.turn.status is TurnStatus.RUNNING
        await self._write_until_durable(
            lambda: StartTurn(self.turn, self.live.epoch), lambda stored: stored.attempt > attempt
        )
        self.turn = replace(self.turn, status=TurnStatus.RUNNING)
        if again:
            self.say(EventKind.RESTART, f"begun anew on {self._writer.node}")

    def say(self, kind: EventKind, data: str) -> None:
        """Say an event to the readers now, and write it to the database soon."""
        self._unwritten.append(self.live.say(kind, data))
        self._said.set()

    def announce_wait(self, why: CallRetry) -> None:
        """Tell the readers why no event comes now."""
        self.live.publish_hint(orjson.dumps(why).decode())

    def announce_usage(self, usage: TokenUsage) -> None:
        """Tell the readers how many tokens the prompt took."""
        self.live.publish_usage(orjson.dumps(usage).decode())

    async def keep_writing(self) -> None:
        """Write what was said, each batch a while after its first event, until `stop_writing`."""
        while not self._finishing:
            await self._said.wait()
            self._said.clear()
            if not self._finishing and self._unwritten:
                await self._wait_for_batch()
                if not self._finishing:
                    await self._write_batch()
                if self._unwritten:
                    self._said.set()

    async def _wait_for_batch(self) -> None:
        try:
            async with asyncio.timeout(self._pause_s):
                await self._ended.wait()
        except TimeoutError:
            return

    def stop_writing(self) -> None:
        """Let `keep_writing` return, because the rest is written together with the end."""
        self._finishing = True
        self._said.set()
        self._ended.set()

    async def commit_reply(
        self, speaker: InstanceId, content: str, data: str, settle: Callable[[], None]
    ) -> Message:
        """Make the reply of an instance durable once, then begin to settle its call and tell the readers.

        The order matters: the next request of a reader must see that the call is being settled.
        """
        done = self.live.next_event(EventKind.DONE, data)
        reply = await self._write_until_durable(
            lambda: CommitReply(self.turn, self.live.epoch, content, speaker, self._events_to_write(done)),
            _has_ended,
        )
        settle()
        self.live.publish(done)
        return reply if reply is not None else await self._load_reply()

    async def end_without_reply(self, status: TurnStatus, error: str | None, data: str) -> None:
        """End the turn without a reply, and say why."""
        kind = EventKind.ERROR if status is TurnStatus.FAILED else EventKind.CANCELLED
        last = self.live.next_event(kind, data)

        def end_turn() -> EndTurn:
            events = self._events_to_write(last) if self.turn.status is TurnStatus.RUNNING else ()
            return EndTurn(self.turn, self.live.epoch, status, error, events)

        await self._write_until_durable(end_turn, _has_ended)
        self.live.publish(last)

    async def _write_batch(self) -> None:
        batch = [*self._unwritten][:BATCH_LIMIT]
        if not batch:
            return
        last = batch[-1].position.number

        def emit_batch() -> EmitEvents:
            return EmitEvents(self.turn.id, self.live.epoch, self._events_to_write(upto=last))

        await self._write_until_durable(emit_batch, lambda stored: stored.event_head >= last)
        self._drop_written(last)

    def _events_to_write(self, end: StreamEvent | None = None, upto: int | None = None) -> list[TurnEvent]:
        events = [event for event in self._unwritten if upto is None or event.position.number <= upto]
        return [
            TurnEvent(event.position.number, event.kind, event.data)
            for event in (*events, *([end] if end else ()))
        ]

    def _drop_written(self, upto: int) -> None:
        while self._unwritten and self._unwritten[0].position.number <= upto:
            self._unwritten.popleft()

    async def _write_until_durable(
        self, write: Callable[[], Write[A]], landed: Callable[[Turn], bool]
    ) -> A | None:
        """Submit a write until it is durable. Return None if it turns out that it landed before."""
        refused, tries, is_there = 0, 0, False
        while True:
            try:
                if is_there:
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
                stored = await turns.load_turn(self._pool, self.turn.id)
            except errors.Unavailable:
                continue
            if stored.epoch != self.live.epoch:
                raise errors.StaleHost(f"epoch {self.live.epoch} is over: {stored.epoch} has begun")
            is_there = landed(stored)
            if is_there:
                continue
            self._drop_written(stored.event_head)

    async def _load_reply(self) -> Message:
        stored = await turns.load_turn(self._pool, self.turn.id)
        assert stored.reply_seq is not None, "a committed turn has a reply"
        replies = await conversations.load_after(
            self._pool, stored.conversation, stored.reply_seq - 1, limit=1
        )
        return replies[0]


def _has_ended(stored: Turn) -> bool:
    return states.is_ended(stored.status)
