"""From a committed reply to the state of its instance: scored, smoothed, stored with its leaf, and watched.

No message waits for a score. A full queue drops the oldest reply, which only costs a measurement. One task
scores in the order of the replies, because each state follows from the one before it.

    reply ──> scores ──> state, sealed ──> relational state ──> drift watch
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
    """Scores a text on sixteen axes."""

    @property
    def version(self) -> str:
        """Return the version, which the nodes agreed on."""

    def score(self, text: str) -> Vector:
        """Score one message. All axes are None if it is too short to tell."""


@dataclass(frozen=True, slots=True)
class Unmeasured:
    """The scorer of nodes that measure nothing. Every axis of every text stays unknown."""

    version: str = "none"

    def score(self, text: str) -> Vector:
        """Observe nothing."""
        del text
        return Vector((None,) * len(AXES))


UNMEASURED = Unmeasured()


@dataclass(frozen=True, slots=True)
class ScoredReply:
    """A reply with its scores, and the state after it."""

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
        """Queue a committed reply; if too many wait, drop the oldest. Only an instance is watched."""
        if len(self._waiting) == WAITING_LIMIT:
            metrics.character.count_unscored()
        self._waiting.append((instance, reply))
        self._idle.clear()
        self._wake.set()

    async def wait_until_idle(self) -> None:
        """Wait until everything queued so far was scored."""
        await self._idle.wait()

    async def run(self, stop: asyncio.Event) -> None:
        """Score replies until told to stop. Replies that wait then are not scored."""
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
            metrics.character.count_unscored()
            conversation = str(reply.conversation)
            log.warning("a reply was not scored", conversation=conversation, reason=str(failed))

    async def score_reply(self, instance: Instance, reply: Message) -> ScoredReply | None:
        """Score one reply and store the state after it. Return None if nothing could be observed."""
        measured = await self._measure_reply(instance.id, reply)
        return None if measured is None else ScoredReply(instance, reply.seq, *measured)

    async def _measure_reply(
        self, instance: InstanceId | None, reply: Message
    ) -> tuple[Vector, Vector] | None:
        """Score a reply and store the state after it. Instances go on from the state of instances."""
        if reply.content is None:
            return None
        scores = await asyncio.to_thread(self._scorer.score, reply.content)
        if all(value is None for value in scores.millionths):
            return None
        conversation, version = reply.conversation, self._scorer.version
        before = await vectors.load_newest_by(
            self._pool, conversation, version, spoken=instance is not None
        )
        after = state.follow_scores(None if before is None else before.vector, scores)
        await self._writer.submit(RecordScore(conversation, reply.seq, after, version, instance, scores))
        await self._update_relation(conversation, reply.seq)
        return scores, after

    async def _update_relation(self, conversation: ConversationId, seq: int) -> None:
        last = relation.WINDOW
        page, scored, checks, outcomes = await asyncio.gather(
            conversations.load_history(self._pool, conversation, before=seq + 1, limit=2 * last),
            vectors.load_scored(self._pool, conversation, self._scorer.version, last=last),
            restorations.load_checks(self._pool, conversation),
            turns.load_outcomes(self._pool, conversation, last=last),
        )
        vector_of = {state_after.seq: state_after.vector for state_after in scored}
        exchanges = _pair_exchanges(page.messages, vector_of)
        measured = await asyncio.to_thread(relation.measure_relation, exchanges, checks, outcomes)
        await self._writer.submit(RecordRelation(conversation, seq, measured))


def _pair_exchanges(messages: tuple[Message, ...], scores: dict[int, Vector]) -> list[ScoredExchange]:
    """Pair each message with the reply to it. A message without a reply is no exchange yet."""
    exchanges, question = list[ScoredExchange](), ""
    for message in messages:
        if message.role is Role.USER:
            question = message.content or ""
        elif question and message.content:
            exchanges.append(ScoredExchange(question, message.content, scores.get(message.seq)))
            question = ""
    return exchanges
