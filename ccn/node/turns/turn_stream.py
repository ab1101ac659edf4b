"""The stream of a turn, for any number of readers, from any node, after any position.

The events of the present host are in the memory of its process. The events of earlier hosts are in the
database, and so are those of a host that died. A reader only has a position, and no queue that could fill.
So a slow reader costs nothing: it reads on after its position, from memory while the turn runs and from the
database later.

    stored by earlier hosts ──> live from this host ──> (it died) stored by it ──> the next host ──> the end
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Protocol

from ccn.core import stream, turn
from ccn.core.ids import TurnId
from ccn.core.stream import EventKind, StreamEvent, StreamPosition
from ccn.core.turn import TurnStatus
from ccn.store.conversations.turns import Turn

BATCH_LIMIT = 500
"""Most events that a reader gets at once."""

Batches = AsyncGenerator[Sequence[StreamEvent]]


class StreamStore(Protocol):
    """The database, as a stream needs it."""

    async def read_events(self, turn_id: TurnId, after: StreamPosition) -> Sequence[StreamEvent]:
        """Return the first page of the events stored after a position."""

    async def load_turn(self, turn_id: TurnId) -> Turn:
        """Load the turn."""

    async def load_reply(self, ended: Turn) -> str | None:
        """Load the reply that a turn committed, or None if it was redacted."""


StreamFromHost = Callable[[Turn, StreamPosition], Batches]
"""Streams a turn from the other node that hosts it. It ends when that node has no more events."""


@dataclass(frozen=True, slots=True)
class TurnStreams:
    """Finds the events of a turn wherever they are."""

    find_live: Callable[[TurnId], LiveStream | None]
    stream_from_host: StreamFromHost
    store: StreamStore
    pauses_s: Sequence[float] = (0.05, 0.1, 0.2)
    """Pauses between reads of the database while no node has more. The last one repeats."""

    async def follow_turn(self, turn_id: TurnId, after: StreamPosition = stream.START) -> Batches:
        """Yield every event after a position, in order, to the end of the turn, whichever node hosts it."""
        place, empty_reads = after, 0
        while True:
            async with aclosing(self._read_available(turn_id, place)) as batches:
                async for batch in batches:
                    yield batch
                    place, empty_reads = batch[-1].position, 0
                    if batch[-1].ends:
                        return
            stored = await self.store.load_turn(turn_id)
            if turn.is_ended(stored.status):
                break
            if (
                empty_reads
            ):  # read once more at once, because the events may have just moved to the database
                await asyncio.sleep(self.pauses_s[min(empty_reads, len(self.pauses_s)) - 1])
            empty_reads += 1
        async for batch in self._read_rest(stored, place):
            yield batch

    async def _read_available(self, turn_id: TurnId, place: StreamPosition) -> Batches:
        """Yield the events that can be read now: from this process, the database or the host."""
        if (live := self.find_live(turn_id)) is not None and place.epoch <= live.epoch:
            async for batch in self.read_here(turn_id, place):
                yield batch
            return
        while batch := await self.store.read_events(turn_id, place):
            yield batch
            place = batch[-1].position
            if batch[-1].ends:
                return
        stored = await self.store.load_turn(turn_id)
        if not turn.is_ended(stored.status):
            async with aclosing(self.stream_from_host(stored, place)) as batches:
                async for batch in batches:
                    yield batch

    async def read_here(self, turn_id: TurnId, place: StreamPosition) -> Batches:
        """Yield the events of earlier hosts and of this process, if this process runs the turn."""
        live = self.find_live(turn_id)
        if live is None or place.epoch > live.epoch:
            return
        async for batch in live.read_earlier(place, self.store):
            yield batch
            place = batch[-1].position
        async for batch in live.read_after(place):
            yield batch

    async def _read_rest(self, ended: Turn, place: StreamPosition) -> Batches:
        """Yield what is left of an ended turn.

        If its last event was not stored, or is deleted by now, the turn itself tells how it ended.
        """
        while batch := await self.store.read_events(ended.id, place):
            yield batch
            place = batch[-1].position
            if batch[-1].ends:
                return
        end = _end_event(ended)
        if ended.status is TurnStatus.COMMITTED and place != end.position:
            retold = await self._retell_reply(ended, place)
            if later := [event for event in retold if event.position > place]:
                yield later
        elif end.position > place:
            yield [end]

    async def _retell_reply(self, ended: Turn, place: StreamPosition) -> list[StreamEvent]:
        """Return the whole reply once its stream is deleted, at positions after the end of that stream.

        A reader that had a part of it cannot get just the rest, so it is told to begin again.
        """
        end = _end_event(ended)
        words = await self.store.load_reply(ended)
        pieces = [(EventKind.RESTART, "the stream is forgotten")] if place != stream.START else []
        pieces += [(EventKind.DELTA, words)] if words is not None else []
        first = end.position.number + 3 - len(pieces)
        events = [
            StreamEvent(StreamPosition(ended.epoch, first + nth), kind, data)
            for nth, (kind, data) in enumerate(pieces)
        ]
        last = StreamPosition(ended.epoch, end.position.number + 3)
        return [*events, StreamEvent(last, end.kind, end.data)]


class LiveStream:
    """The events of one turn in this process. A reader that has it can read it to its end."""

    def __init__(self, turn_id: TurnId, epoch: int, stored: int, *, begun: bool = False) -> None:
        self.turn = turn_id
        self.begun = begun
        """Whether this process began the turn when it accepted the message, so that no event exists yet."""
        self.epoch = epoch
        self.first = stored + 1
        self.closed = False
        self._said: list[StreamEvent] = []
        self._hint = ""
        self._usage = ""
        self._more = asyncio.Event()

    @property
    def ended(self) -> bool:
        """Return whether the end of the turn was said."""
        return bool(self._said) and self._said[-1].ends

    @property
    def length(self) -> int:
        """Return how many events were said here."""
        return len(self._said)

    def say(self, kind: EventKind, data: str = "") -> StreamEvent:
        """Say the next event to all readers."""
        event = self.next_event(kind, data)
        self.publish(event)
        return event

    def next_event(self, kind: EventKind, data: str = "") -> StreamEvent:
        """Make the next event without saying it, because an end must be durable before it is said."""
        return StreamEvent(StreamPosition(self.epoch, self.first + len(self._said)), kind, data)

    def publish(self, event: StreamEvent) -> None:
        """Say an event that `next_event` made."""
        assert event.position.number == self.first + len(self._said), "events are said in order"
        self._said.append(event)
        self._hint = ""
        self._wake_readers()

    def publish_hint(self, why: str) -> None:
        """Tell present and later readers why no event comes, until the next event."""
        self._hint = why
        self._wake_readers()

    def publish_usage(self, usage: str) -> None:
        """Tell present and later readers how many tokens the prompt took."""
        self._usage = usage
        self._wake_readers()

    def close(self) -> None:
        """End the stream here, whether or not the turn has ended."""
        self.closed = True
        self._wake_readers()

    async def read_earlier(self, place: StreamPosition, store: StreamStore) -> Batches:
        """Yield the stored events of earlier hosts, which no host adds to any more."""
        while self.first > 1 and place.epoch < self.epoch:
            events = await store.read_events(self.turn, place)
            earlier = [event for event in events if event.position.epoch < self.epoch]
            if not earlier:
                return
            yield earlier
            place = earlier[-1].position

    async def read_after(self, place: StreamPosition) -> Batches:
        """Yield what is said here after a position, as soon as it is said."""
        at = max(0, place.number + 1 - self.first) if place.epoch == self.epoch else 0
        hint, usage = "", ""
        while True:
            if self._usage != usage:
                usage = self._usage
                yield [StreamEvent(StreamPosition(self.epoch, self.first + at - 1), EventKind.BEGUN, usage)]
            elif at < len(self._said):
                batch = self._said[at : at + BATCH_LIMIT]
                at += len(batch)
                yield batch
            elif self.closed:
                return
            elif self._hint != hint:
                hint = self._hint
                if hint:
                    position = StreamPosition(self.epoch, self.first + at - 1)
                    yield [StreamEvent(position, EventKind.WAITING, hint)]
            else:
                await self._more.wait()

    def _wake_readers(self) -> None:
        self._more.set()
        self._more = asyncio.Event()


def _end_event(ended: Turn) -> StreamEvent:
    """Make the event with which a turn ended, at its position in the stream.

    A turn that was only accepted has no stream; its end has position 1.
    """
    place = StreamPosition(ended.epoch, max(1, ended.event_head))
    match ended.status:
        case TurnStatus.COMMITTED:
            return StreamEvent(place, EventKind.DONE, "{}")
        case TurnStatus.CANCELLED:
            return StreamEvent(place, EventKind.CANCELLED)
        case _:
            return StreamEvent(place, EventKind.ERROR, ended.error or "")
