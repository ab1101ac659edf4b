"""From a committed reply to the state of its instance: scored, smoothed, kept with its leaf, and watched.

Off the way of a message: nobody waits for a score, and a queue that is full drops the oldest, which costs a
measurement and nothing else. One task scores in the order of the replies, because a state follows from the
one before it.

    reply ──> scores ──> state, sealed ──> relational state ──> whoever watches for drift
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

import structlog

from ccn import errors, metrics
from ccn.core.axes import AXES, Vector
from ccn.core.character import relation, state
from ccn.core.character.relation import ScoredExchange
from ccn.core.ids import ConversationId, InstanceId
from ccn.core.message import Message, Role
from ccn.store.character import restorations, vectors
from ccn.store.character.vectors import RecordRelation, RecordScore
from ccn.store.connection.pool import Pool
from ccn.store.conversations import conversations, turns
from ccn.store.conversations.instances import Instance
from ccn.store.writing.writer import Writer

log = structlog.get_logger(__name__)

WAITING_LIMIT = 10_000


class VectorScorer(Protocol):
    """Text in, sixteen scores out."""

    @property
    def version(self) -> str:
        """What the nodes agreed to measure with."""

    def score(self, text: str) -> Vector:
        """The axes of one message; all None where it is too short to tell."""


@dataclass(frozen=True, slots=True)
class Unmeasured:
    """For nodes that measure nothing: every axis of every text stays unknown."""

    version: str = "none"

    def score(self, text: str) -> Vector:
        """Nothing observed."""
        del text
        return Vector((None,) * len(AXES))


UNMEASURED = Unmeasured()


@dataclass(frozen=True, slots=True)
class ScoredReply:
    """A reply, measured."""

    instance: Instance
    seq: int
    scores: Vector
    state: Vector


WatchReply = Callable[[ScoredReply], Awaitable[None]]


class ReplyScoring:
    """The queue of one node."""

    def __init__(self, pool: Pool, writer: Writer, scorer: VectorScorer, watch: WatchReply) -> None:
        self._pool, self._writer, self._scorer, self._watch = pool, writer, scorer, watch
        self._waiting: deque[tuple[Instance | None, Message]] = deque(maxlen=WAITING_LIMIT)
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def enqueue(self, instance: Instance | None, reply: Message) -> None:
        """Take a committed reply; of too many the oldest is dropped. Without instance nobody is watched."""
        if len(self._waiting) == WAITING_LIMIT:
            metrics.count_unscored()
        self._waiting.append((instance, reply))
        self._idle.clear()
        self._wake.set()

    async def wait_until_idle(self) -> None:
        """Return when everything offered so far was scored."""
        await self._idle.wait()

    async def run(self, stop: asyncio.Event) -> None:
        """Score what comes, until told to stop; then what is left, since it was promised to nobody."""
        stopping = asyncio.create_task(stop.wait())
        try:
            while not stop.is_set():
                while self._waiting and not stop.is_set():
                    await self._score_or_log(*self._waiting.popleft())
                self._wake.clear()
                if not self._waiting:
                    self._idle.set()
                    waking = asyncio.create_task(self._wake.wait())
                    await asyncio.wait({stopping, waking}, return_when=asyncio.FIRST_COMPLETED)
                    waking.cancel()
        finally:
            stopping.cancel()

    async def _score_or_log(self, instance: Instance | None, reply: Message) -> None:
        try:
            if instance is None:
                await self._measure_reply(None, reply)
            elif (scored := await self.score_reply(instance, reply)) is not None:
                await self._watch(scored)
        except errors.CCNError as failed:
            metrics.count_unscored()
            here = str(reply.conversation)
            log.warning("a reply was not scored", conversation=here, reason=str(failed))

    async def score_reply(self, instance: Instance, reply: Message) -> ScoredReply | None:
        """Measure one reply and keep what it led to; None where nothing could be observed."""
        measured = await self._measure_reply(instance.id, reply)
        return None if measured is None else ScoredReply(instance, reply.seq, *measured)

    async def _measure_reply(
        self, instance: InstanceId | None, reply: Message
    ) -> tuple[Vector, Vector] | None:
        """What the reply scored, and the state it led to: an instance goes on from what instances said."""
        if reply.content is None:
            return None
        scores = await asyncio.to_thread(self._scorer.score, reply.content)
        if all(value is None for value in scores.millionths):
            return None
        here, version = reply.conversation, self._scorer.version
        before = await vectors.load_newest_by(self._pool, here, version, spoken=instance is not None)
        after = state.follow_scores(None if before is None else before.vector, scores)
        await self._writer.submit(RecordScore(here, reply.seq, after, version, instance, scores))
        await self._update_relation(here, reply.seq)
        return scores, after

    async def _update_relation(self, here: ConversationId, seq: int) -> None:
        last = relation.WINDOW
        page, scored, checks, kept = await asyncio.gather(
            conversations.load_history(self._pool, here, before=seq + 1, limit=2 * last),
            vectors.load_scored(self._pool, here, self._scorer.version, last=last),
            restorations.load_checks(self._pool, here),
            turns.load_outcomes(self._pool, here, last=last),
        )
        by_seq = {each.seq: each.vector for each in scored}
        exchanges = _pair_exchanges(page.messages, by_seq)
        measured = await asyncio.to_thread(relation.measure_relation, exchanges, checks, kept)
        await self._writer.submit(RecordRelation(here, seq, measured))


def _pair_exchanges(said: tuple[Message, ...], scores: dict[int, Vector]) -> list[ScoredExchange]:
    """Each message with what was said next in reply; one still without a reply is no exchange yet."""
    exchanges, asked = list[ScoredExchange](), ""
    for each in said:
        if each.role is Role.USER:
            asked = each.content or ""
        elif asked and each.content:
            exchanges.append(ScoredExchange(asked, each.content, scores.get(each.seq)))
            asked = ""
    return exchanges
