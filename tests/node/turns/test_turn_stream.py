"""However hosts speak and die, and wherever a reader goes on: no piece is lost and none doubled."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from ccn.core.ids import ConversationId, TurnId
from ccn.core.stream import START, EventKind, StreamEvent, StreamPosition
from ccn.core.turn import TurnStatus
from ccn.node.turns.turn_stream import BATCH_LIMIT, Batches, LiveStream, TurnStreams
from ccn.store.conversations.turns import Turn
from tests.support.node.node_world import text

TURN = TurnId(UUID(int=1))
STANDING = Turn(TURN, ConversationId(UUID(int=2)), TurnStatus.RUNNING, 1, None, 1, 1, 0, datetime.now(UTC))
PAGE = 3


@dataclass
class Cluster:
    """A turn: what is kept of it, and the host that speaks now."""

    standing: Turn = STANDING
    kept: list[StreamEvent] = field(default_factory=list)
    live: LiveStream | None = None
    unkept: list[StreamEvent] = field(default_factory=list)
    said: str = ""
    words: str | None = "The whole reply."

    async def read_events(self, turn_id: TurnId, after: StreamPosition) -> Sequence[StreamEvent]:
        await asyncio.sleep(0)
        return [told for told in self.kept if told.position > after][:PAGE]

    async def load_turn(self, turn_id: TurnId) -> Turn:
        await asyncio.sleep(0)
        return self.standing

    async def load_reply(self, ended: Turn) -> str | None:
        await asyncio.sleep(0)
        return self.words

    def move_host(self) -> None:
        """The host is gone with what it had not kept; another one begins anew."""
        again = self.live is not None
        if self.live is not None:
            self.live.close()
        epoch = self.standing.epoch + again
        self.standing = replace(self.standing, epoch=epoch)
        self.live, self.unkept, self.said = LiveStream(TURN, epoch, len(self.kept)), [], ""
        if again:
            self.unkept.append(self.live.say(EventKind.RESTART, "another node goes on"))

    def say(self, words: str) -> None:
        assert self.live is not None
        self.unkept.append(self.live.say(EventKind.DELTA, words))
        self.said += words

    def keep(self) -> None:
        self.kept += self.unkept
        self.unkept = []
        self.standing = replace(self.standing, event_head=len(self.kept))

    def end(self, *, told: bool) -> None:
        """Durable first; a host may die before it tells anybody."""
        assert self.live is not None
        done = self.live.next_event(EventKind.DONE, "{}")
        self.unkept.append(done)
        self.keep()
        self.standing = replace(self.standing, status=TurnStatus.COMMITTED, reply_seq=2)
        if told:
            self.live.publish(done)
        self.live.close()
        self.live = None

    def streams(self, where: str) -> TurnStreams:
        here = (lambda _: self.live) if where == "host" else (lambda _: None)
        return TurnStreams(here, self._forward if where == "peer" else _silent, self, (0.0,))

    async def _forward(self, standing: Turn, place: StreamPosition) -> Batches:
        host = self.streams("host")
        async with aclosing(host.read_here(TURN, place)) as batches:
            async for batch in batches:
                yield batch


async def _silent(standing: Turn, place: StreamPosition) -> Batches:
    nothing: list[list[StreamEvent]] = []
    for batch in nothing:
        yield batch


async def _read(cluster: Cluster, stays: list[tuple[str, int]]) -> list[StreamEvent]:
    """Read from one node after the other, a few batches at each, going on after the last piece seen."""
    seen, place = list[StreamEvent](), START
    while True:
        where, batches = stays.pop(0) if stays else ("host", 1 << 30)
        async with aclosing(cluster.streams(where).follow_turn(TURN, place)) as following:
            async for batch in following:
                seen += batch
                place = batch[-1].position
                if batch[-1].ends:
                    return seen
                batches -= 1
                if not batches:
                    break


deeds = st.one_of(
    st.tuples(st.just("say"), st.integers(1, 4)),
    st.tuples(st.just("keep"), st.just(0)),
    st.tuples(st.just("rest"), st.integers(1, 12)),
    st.tuples(st.just("move_host"), st.just(0)),
)
stays = st.lists(st.tuples(st.sampled_from(["host", "peer", "database"]), st.integers(1, 3)), max_size=6)


@settings(max_examples=300, deadline=None)
@given(st.lists(deeds, max_size=25), st.lists(stays, min_size=1, max_size=3), st.booleans())
async def test_every_reader_sees_the_whole_reply_once(
    deeds: list[tuple[str, int]], readers: list[list[tuple[str, int]]], told: bool
) -> None:
    cluster = Cluster()
    cluster.move_host()
    async with asyncio.timeout(60):
        reading = [asyncio.create_task(_read(cluster, [*stays])) for stays in readers]
        for nth, (deed, times) in enumerate(deeds):
            match deed:
                case "say":
                    for each in range(times):
                        cluster.say(f"{nth}.{each} ")
                case "rest":
                    for _ in range(times):
                        await asyncio.sleep(0)
                case _:
                    getattr(cluster, deed)()
        cluster.end(told=told)
        for seen in await asyncio.gather(*reading):
            places = [each.position for each in seen]
            assert places == sorted(set(places)), "in order, none twice"
            assert [each.kind for each in seen].count(EventKind.DONE) == 1
            assert text(seen) == cluster.said
            _without_gaps(seen)


def _without_gaps(seen: list[StreamEvent]) -> None:
    """Numbers follow each other; with another host they may go back, and then the restart comes first."""
    for before, after in zip([StreamEvent(START, EventKind.DELTA), *seen], seen, strict=False):
        if before.position.epoch in {0, after.position.epoch}:
            assert after.position.number == before.position.number + 1
        else:
            assert after.kind is EventKind.RESTART
            assert after.position.number <= before.position.number + 1


async def test_a_slow_reader_costs_nothing_and_misses_nothing() -> None:
    cluster = Cluster()
    cluster.move_host()
    following = cluster.streams("host").follow_turn(TURN)
    cluster.say("first")
    seen = [*await anext(following)]
    for number in range(3 * BATCH_LIMIT):
        cluster.say(f"{number},")
    cluster.end(told=True)
    batches = [batch async for batch in following]
    assert max(map(len, batches)) <= BATCH_LIMIT
    assert text([*seen, *(told for batch in batches for told in batch)]) == cluster.said


async def test_an_end_whose_stream_is_forgotten_is_told_once_by_the_turn_itself() -> None:
    cases = {TurnStatus.CANCELLED: EventKind.CANCELLED, TurnStatus.FAILED: EventKind.ERROR}
    for status, kind in cases.items():
        for head in (0, 7):
            cluster = Cluster(replace(STANDING, status=status, event_head=head, error="Why"))
            told = [each async for batch in cluster.streams("host").follow_turn(TURN) for each in batch]
            assert [(each.kind, each.position) for each in told] == [
                (kind, StreamPosition(1, max(head, 1)))
            ]
            assert [
                each async for each in cluster.streams("peer").follow_turn(TURN, told[0].position)
            ] == []


async def test_a_reply_whose_stream_is_forgotten_is_told_as_a_whole_wherever_its_reader_was() -> None:
    cluster = Cluster(replace(STANDING, status=TurnStatus.COMMITTED, event_head=7, reply_seq=2))
    for place in (START, StreamPosition(1, 3), StreamPosition(1, 6)):
        told = await _read_from(cluster, place)
        begins = [] if place == START else [EventKind.RESTART]
        assert [each.kind for each in told] == [*begins, EventKind.DELTA, EventKind.DONE]
        assert text(told) == "The whole reply."
        places = [place, *(each.position for each in told)]
        assert places == sorted(set(places))
        for nth, each in enumerate(told):
            assert await _read_from(cluster, each.position) == told[nth + 1 :], "whoever broke off goes on"
    assert await _read_from(cluster, StreamPosition(1, 7)) == [], "who saw the end has seen all"
    cluster.words = None
    assert [each.kind for each in await _read_from(cluster, START)] == [EventKind.DONE], "it was redacted"


async def test_a_place_that_nobody_said_shows_nothing_but_ends() -> None:
    cluster = Cluster()
    cluster.move_host()
    cluster.say("words")
    reading = asyncio.create_task(_read_from(cluster, StreamPosition(99, 99)))
    await asyncio.sleep(0.01)
    cluster.end(told=True)
    assert await asyncio.wait_for(reading, 30) == []


async def _read_from(cluster: Cluster, place: StreamPosition) -> list[StreamEvent]:
    return [each async for batch in cluster.streams("host").follow_turn(TURN, place) for each in batch]
