"""The stream of a turn, for any number of readers, from any node, after any place.

What the host says now is in the memory of its process; what was said before it, and after it died, is in
the database. A reader has nothing but a place, so a slow one costs nothing: there is no queue to fill, it
reads on where it was, from memory while the turn runs and from the database later.

    kept by earlier hosts ──> said by this one, live ──> (it died) kept by it ──> the next host ──> the end
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
"""Pieces that a reader is handed at once."""

Batches = AsyncGenerator[Sequence[StreamEvent]]


class StreamStore(Protocol):
    """The database, as a stream needs it."""

    async def read_events(self, turn_id: TurnId, after: StreamPosition) -> Sequence[StreamEvent]:
        """What was kept after a place: the first page of it."""

    async def load_turn(self, turn_id: TurnId) -> Turn:
        """The turn as it stands."""

    async def load_reply(self, ended: Turn) -> str | None:
        """The words that a turn committed; None if they were redacted."""


StreamFromHost = Callable[[Turn, StreamPosition], Batches]
"""What another node that hosts the turn says of it; ends when that node can say no more."""


@dataclass(frozen=True, slots=True)
class TurnStreams:
    """Where the pieces of a turn can be."""

    find_live: Callable[[TurnId], LiveStream | None]
    stream_from_host: StreamFromHost
    store: StreamStore
    pauses_s: Sequence[float] = (0.05, 0.1, 0.2)
    """Between two looks at the database while nobody can tell more; the last one repeats."""

    async def follow_turn(self, turn_id: TurnId, after: StreamPosition = stream.START) -> Batches:
        """Every piece after a place, in order, until the end of the turn, whoever hosts it meanwhile."""
        place, quiet = after, 0
        while True:
            async with aclosing(self._read_available(turn_id, place)) as batches:
                async for batch in batches:
                    yield batch
                    place, quiet = batch[-1].position, 0
                    if batch[-1].ends:
                        return
            standing = await self.store.load_turn(turn_id)
            if turn.is_ended(standing.status):
                break
            if quiet:  # not at once: what just moved from here to there is there
                await asyncio.sleep(self.pauses_s[min(quiet, len(self.pauses_s)) - 1])
            quiet += 1
        async for batch in self._read_rest(standing, place):
            yield batch

    async def _read_available(self, turn_id: TurnId, place: StreamPosition) -> Batches:
        """What can be had now: here, or from the database, or from the host."""
        if (live := self.find_live(turn_id)) is not None and place.epoch <= live.epoch:
            async for batch in self.read_here(turn_id, place):
                yield batch
            return
        while batch := await self.store.read_events(turn_id, place):
            yield batch
            place = batch[-1].position
            if batch[-1].ends:
                return
        standing = await self.store.load_turn(turn_id)
        if not turn.is_ended(standing.status):
            async with aclosing(self.stream_from_host(standing, place)) as batches:
                async for batch in batches:
                    yield batch

    async def read_here(self, turn_id: TurnId, place: StreamPosition) -> Batches:
        """What earlier hosts kept of a turn and this process says; nothing if the turn is not here."""
        live = self.find_live(turn_id)
        if live is None or place.epoch > live.epoch:
            return
        async for batch in live.read_earlier(place, self.store):
            yield batch
            place = batch[-1].position
        async for batch in live.read_after(place):
            yield batch

    async def _read_rest(self, ended: Turn, place: StreamPosition) -> Batches:
        """What was kept last; if its end was not, or is forgotten, the turn itself tells how it ended."""
        while batch := await self.store.read_events(ended.id, place):
            yield batch
            place = batch[-1].position
            if batch[-1].ends:
                return
        end = _end_event(ended)
        if ended.status is TurnStatus.COMMITTED and place != end.position:
            if afresh := [each for each in await self._retell_reply(ended, place) if each.position > place]:
                yield afresh
        elif end.position > place:
            yield [end]

    async def _retell_reply(self, ended: Turn, place: StreamPosition) -> list[StreamEvent]:
        """The whole reply after its stream is forgotten, at places that follow the end of that stream.

        A reader who had some of it cannot be told just the rest; so what came so far is void.
        """
        end = _end_event(ended)
        words = await self.store.load_reply(ended)
        pieces = [(EventKind.RESTART, "the stream is forgotten")] if place != stream.START else []
        pieces += [(EventKind.DELTA, words)] if words is not None else []
        first = end.position.number + 3 - len(pieces)
        told = [
            StreamEvent(StreamPosition(ended.epoch, first + nth), kind, data)
            for nth, (kind, data) in enumerate(pieces)
        ]
        return [
            *told,
            StreamEvent(StreamPosition(ended.epoch, end.position.number + 3), end.kind, end.data),
        ]


class LiveStream:
    """What this process says of one turn. Readers that still hold it read it to its end."""

    def __init__(self, turn_id: TurnId, epoch: int, kept: int, *, begun: bool = False) -> None:
        self.turn = turn_id
        self.begun = begun
        """Whether this process began it when it accepted its message: then nobody has said anything yet."""
        self.epoch = epoch
        self.first = kept + 1
        self.closed = False
        self._said: list[StreamEvent] = []
        self._hint = ""
        self._usage = ""
        self._more = asyncio.Event()

    @property
    def ended(self) -> bool:
        """Whether the end of the turn was said."""
        return bool(self._said) and self._said[-1].ends

    @property
    def length(self) -> int:
        """How many pieces were said here."""
        return len(self._said)

    def say(self, kind: EventKind, data: str = "") -> StreamEvent:
        """The next piece, to all readers."""
        told = self.next_event(kind, data)
        self.publish(told)
        return told

    def next_event(self, kind: EventKind, data: str = "") -> StreamEvent:
        """The piece that would be said next; an end is made durable before anybody is told."""
        return StreamEvent(StreamPosition(self.epoch, self.first + len(self._said)), kind, data)

    def publish(self, told: StreamEvent) -> None:
        """Say a piece that was made by `next`."""
        assert told.position.number == self.first + len(self._said), "pieces are said in order"
        self._said.append(told)
        self._hint = ""
        self._wake_readers()

    def publish_hint(self, why: str) -> None:
        """Tell who listens now why nothing comes; until the next piece, and whoever comes later as well."""
        self._hint = why
        self._wake_readers()

    def publish_usage(self, usage: str) -> None:
        """Tell, before the first piece, what the prompt took; whoever comes later is told as well."""
        self._usage = usage
        self._wake_readers()

    def close(self) -> None:
        """Nothing more will be said here, whether or not the turn has ended."""
        self.closed = True
        self._wake_readers()

    async def read_earlier(self, place: StreamPosition, kept: StreamStore) -> Batches:
        """What earlier hosts kept after a place; nothing is added to it any more."""
        while self.first > 1 and place.epoch < self.epoch:
            found = await kept.read_events(self.turn, place)
            earlier = [told for told in found if told.position.epoch < self.epoch]
            if not earlier:
                return
            yield earlier
            place = earlier[-1].position

    async def read_after(self, place: StreamPosition) -> Batches:
        """What is said here after a place, as soon as it is said."""
        at = max(0, place.number + 1 - self.first) if place.epoch == self.epoch else 0
        heard, usage = "", ""
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
            elif self._hint != heard:
                heard = self._hint
                if heard:
                    yield [
                        StreamEvent(
                            StreamPosition(self.epoch, self.first + at - 1), EventKind.WAITING, heard
                        )
                    ]
            else:
                await self._more.wait()

    def _wake_readers(self) -> None:
        self._more.set()
        self._more = asyncio.Event()


def _end_event(ended: Turn) -> StreamEvent:
    """How a turn ended, at the place where its stream said so: what was accepted only has no stream."""
    place = StreamPosition(ended.epoch, max(1, ended.event_head))
    match ended.status:
        case TurnStatus.COMMITTED:
            return StreamEvent(place, EventKind.DONE, "{}")
        case TurnStatus.CANCELLED:
            return StreamEvent(place, EventKind.CANCELLED)
        case _:
            return StreamEvent(place, EventKind.ERROR, ended.error or "")
