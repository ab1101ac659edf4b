"""One turn: taken up, asked of the model, streamed, committed once, and queued for scoring.

    accepted ──> started ──> the model speaks: to readers at once, written in batches ──> committed, scored
                    └──> no reply: failed or cancelled, and why            └──> another host took over

A node that stops in the middle does not end the turn. The node that adopts its instance starts it again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Protocol, assert_never

import orjson
import structlog

from ccn import errors
from ccn.core.calls.call import Call, CallBegun, CallRestart, CallRetry, Delta, Piece, Reply
from ccn.core.calls.price import CallSize
from ccn.core.ids import TurnId, UserId
from ccn.core.message import Message
from ccn.core.stream import EventKind
from ccn.core.turn import TurnStatus
from ccn.node.spending.early_answer import EarlyAnswers
from ccn.node.spending.paid_model import Payer
from ccn.node.turns.prefetch import PaidCall
from ccn.node.turns.reply_attempt import ReplyAttempt
from ccn.node.turns.turn_stream import LiveStream
from ccn.store.connection.pool import Pool
from ccn.store.conversations.instances import Instance
from ccn.store.conversations.turns import Turn
from ccn.store.writing.writer import Writer

log = structlog.get_logger(__name__)

# What was held and nobody knows of expires by itself, so a call that is paid for anew costs room meanwhile.
_DATABASE = (errors.DatabaseUnavailable, errors.DatabaseFull, errors.OutcomeUnknown)
_AGAIN_S = 0.5


class CallSource(Protocol):
    """Makes the calls that the model is asked in turns."""

    async def take_call(self, instance: Instance, turn: Turn) -> PaidCall:
        """Return the whole prompt of a turn, and who pays."""

    def discard_turn(self, turn: TurnId) -> None:
        """Give back what was prepared for a turn that needs no call any more."""


class SpeakingModel(Protocol):
    """The model, with what its calls cost."""

    def stream(self, call: Call, who: Payer) -> AsyncGenerator[Piece, None]:
        """Yield deltas, a restart whenever they begin again, and last the whole reply."""

    def reserve(self, what: Call | CallSize, who: Payer) -> Payer:
        """Begin to reserve what a call, or a call of this size, can cost; stream with the result."""

    def release(self, who: Payer) -> None:
        """Give back what was reserved for a call that is not made."""

    def check_allowance(self, owner: UserId | None) -> None:
        """Refuse at once an owner whose allowance was found spent a moment ago."""

    async def is_short(self, who: Payer) -> bool:
        """Return whether the budgets may not cover a few more calls."""

    async def await_reservations(self, payers: Iterable[Payer]) -> None:
        """Wait until everything is reserved for these payers, or refuse."""


class ScoringQueue(Protocol):
    """Queues replies to be scored, which no turn waits for."""

    def enqueue(self, instance: Instance, reply: Message) -> None:
        """Queue a committed reply; drop one if too many wait."""


@dataclass(frozen=True, slots=True)
class NoReply:
    """Why there is no reply."""

    status: TurnStatus
    error: str | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class TurnRunner:
    """Runs turns on one node."""

    pool: Pool
    writer: Writer
    calls: CallSource
    model: SpeakingModel
    scoring: ScoringQueue
    pause_s: float
    """How long events gather before they are written."""

    async def run_turn(
        self, instance: Instance, taken: Turn, live: LiveStream, cancelled: asyncio.Event
    ) -> None:
        """Bring the turn to its end. Raise StaleHost if another node took over."""
        speech = ReplyAttempt(self.pool, self.writer, taken, live, self.pause_s)
        try:
            await self._answer_unless_cancelled(instance, speech, cancelled)
        finally:
            self.calls.discard_turn(taken.id)

    async def _answer_unless_cancelled(
        self, instance: Instance, speech: ReplyAttempt, cancelled: asyncio.Event
    ) -> None:
        if cancelled.is_set():
            await speech.end_without_reply(TurnStatus.CANCELLED, None, "")
            return
        async with (
            EarlyAnswers(self.model) as answers,
            self._stream_reply(instance, speech, cancelled, answers) as outcome,
        ):
            match outcome:
                case Reply() as reply:
                    await self._commit_reply(instance, speech, reply, answers)
                case NoReply() as without:
                    await _end_without_reply(speech, without)
                case never:
                    assert_never(never)

    async def _commit_reply(
        self, instance: Instance, speech: ReplyAttempt, reply: Reply, answers: EarlyAnswers
    ) -> None:
        content, data = _replace_nul(reply.text), _done_data(reply)
        try:
            message = await speech.commit_reply(instance.id, content, data, answers.settle)
        except errors.StaleHost:
            raise
        except (
            errors.Conflict,
            errors.InputInvalid,
        ) as refused:  # the conversation closed, or no valid text
            await _end_without_reply(
                speech, NoReply(TurnStatus.FAILED, type(refused).__name__, str(refused))
            )
            return
        log.info("turn committed", turn=str(speech.turn.id), seq=message.seq, stop=reply.stop)
        self.scoring.enqueue(instance, message)

    @asynccontextmanager
    async def _stream_reply(
        self, instance: Instance, speech: ReplyAttempt, cancelled: asyncio.Event, answers: EarlyAnswers
    ) -> AsyncIterator[Reply | NoReply]:
        """Let the model speak, and write what it says, until it ends or the turn is cancelled."""
        starting = asyncio.ensure_future(speech.start())
        asking = asyncio.ensure_future(self._ask_until_answered(instance, speech, starting, answers))
        keeping = asyncio.ensure_future(speech.keep_writing())
        stopping = asyncio.ensure_future(cancelled.wait())
        working = (starting, asking, keeping, stopping)
        try:
            await starting  # the turn must have begun before an end can be written
            await asyncio.wait((asking, keeping, stopping), return_when=asyncio.FIRST_COMPLETED)
            if keeping.done():
                keeping.result()  # raises, because it only ends by itself with an exception
            if asking.done():
                outcome = asking.result()
            else:
                outcome = NoReply(TurnStatus.CANCELLED)
                asking.cancel()
            # The end is written together with the rest, so no other batch may be under way then.
            speech.stop_writing()
            await keeping
            yield outcome
        finally:
            for task in working:
                task.cancel()
            await asyncio.gather(*working, return_exceptions=True)

    async def _ask_until_answered(
        self, instance: Instance, speech: ReplyAttempt, started: asyncio.Future[None], answers: EarlyAnswers
    ) -> Reply | NoReply:
        """Return the reply of the model, or why there is none. Ask again if the database was away."""

        async def relay_piece(piece: Piece) -> None:
            # The model is asked while the start is written, but nothing is said before that is durable.
            await asyncio.shield(started)
            _relay_piece(piece, speech)

        while True:
            try:
                paid = await self.calls.take_call(instance, speech.turn)
                return _reply_or_reason(await answers.answer(paid.call, paid.payer, relay_piece))
            except _DATABASE as failed:
                log.warning("a turn waits for the database", turn=str(speech.turn.id), reason=str(failed))
                await asyncio.sleep(_AGAIN_S)
                if speech.began:
                    speech.say(EventKind.RESTART, "the database did not answer")
            except (errors.Conflict, errors.ShuttingDown):
                raise
            except errors.CCNError as failed:
                return NoReply(TurnStatus.FAILED, type(failed).__name__, str(failed))
            except Exception as defect:  # the root of a turn: tell its reader, and do not try again
                log.exception("a turn met a defect", turn=str(speech.turn.id))
                return NoReply(
                    TurnStatus.FAILED, type(defect).__name__, "a defect; the node's log tells more"
                )


def _relay_piece(piece: Piece, speech: ReplyAttempt) -> None:
    match piece:
        case CallBegun(usage):
            speech.announce_usage(usage)
        case Delta(text):
            speech.say(EventKind.DELTA, _replace_nul(text))
        case CallRestart(reason):
            speech.say(EventKind.RESTART, reason)
        case CallRetry():
            speech.announce_wait(piece)
        case Reply():
            return  # readers get the reply when it is durable
        case never:
            assert_never(never)


async def _end_without_reply(speech: ReplyAttempt, without: NoReply) -> None:
    log.info("turn without a reply", turn=str(speech.turn.id), status=without.status, error=without.error)
    data = {"error": without.error, "reason": without.reason}
    await speech.end_without_reply(
        without.status, without.error, orjson.dumps(data).decode() if without.error else ""
    )


def _reply_or_reason(reply: Reply | None) -> Reply | NoReply:
    """Return the reply if it has words, also if it is a refusal. Otherwise return why there is none."""
    if reply is None:
        return NoReply(TurnStatus.FAILED, "ReplyEmpty", "the model's stream ended without a reply")
    if _replace_nul(reply.text).strip():
        return reply
    declined = reply.stop == "refusal"
    error = "ReplyDeclined" if declined else "ReplyEmpty"
    reason = (
        "the model declined to answer"
        if declined
        else f"the model said nothing and stopped by {reply.stop}"
    )
    return NoReply(TurnStatus.FAILED, error, reason)


def _replace_nul(text: str) -> str:
    """Replace the character that PostgreSQL cannot store."""
    return text.replace("\x00", "\ufffd")


def _done_data(reply: Reply) -> str:
    return orjson.dumps({"stop": reply.stop, "model": reply.model, "usage": asdict(reply.usage)}).decode()
