"""Turns: an accepted message, the stream of its reply, and exactly one committed end.

A host writes under its epoch, which every statement here compares in the row it changes; adoption moves the
epoch in the same rows. So a host that was replaced is refused by the database, inside the transaction.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from ccn import errors
from ccn.core import message, stream, turn
from ccn.core.ids import ConversationId, InstanceId, NodeId, TurnId, UserId
from ccn.core.ledger.commitment import LeafKind
from ccn.core.message import Message, Role
from ccn.core.stream import StreamEvent, StreamPosition
from ccn.core.turn import TurnStatus
from ccn.store.connection.pool import NamedRow, Pool, Record
from ccn.store.writing.batch import Batch, KeyLookup, Write, micros
from ccn.store.writing.turn_steps import TurnStep

EVENTS_LIMIT = 1_000


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn as it stands."""

    id: TurnId
    conversation: ConversationId
    status: TurnStatus
    user_seq: int
    reply_seq: int | None
    attempt: int
    epoch: int
    event_head: int
    accepted_at: datetime
    error: str | None = None


@dataclass(frozen=True, slots=True)
class TurnEvent:
    """One piece of what a client sees of a turn, numbered from 1."""

    number: int
    kind: str
    data: str


@dataclass(frozen=True, slots=True)
class AcceptTurn(Write[Turn]):
    """Take a user's message and promise a reply. The same key and content again: the same turn.

    `begun` is for a host that has nothing else to answer: it starts the first attempt at once. `unused`
    says that nobody can know the key, so nobody has to look for an earlier turn.
    """

    id: TurnId
    conversation: ConversationId
    content: str
    speaker: UserId
    epoch: int = 0
    language: str | None = None
    idempotency_key: str | None = None
    begun: bool = False
    unused: bool = False

    def needs_head_of(self) -> ConversationId | None:
        """Its own conversation."""
        return self.conversation

    def key_lookup(self) -> KeyLookup | None:
        """Look for a turn of the same conversation under this key."""
        key = self.idempotency_key
        return None if key is None or self.unused else KeyLookup(_ACCEPTED_EARLIER, self.conversation, key)

    def prepare(self, batch: Batch) -> Turn:
        """Add the message and the turn, together or not at all."""
        match batch.find_earlier(self):
            case None:
                by = message.account_speaker(self.speaker)
                arguments = (self.conversation, Role.USER, self.content, by, self.epoch)
                accepted = batch.say(*arguments, language=self.language, turn=self.id)
                key, at = self.idempotency_key, accepted.at
                identity = (self.id, self.conversation, key, accepted.seq, self.epoch)
                batch.add_step(TurnStep.ACCEPT, *identity, at, self.begun)
                status, attempt = (TurnStatus.RUNNING, 1) if self.begun else (TurnStatus.ACCEPTED, 0)
                new_turn = Turn(
                    self.id, self.conversation, status, accepted.seq, None, attempt, self.epoch, 0, at
                )
                batch.remember_answer(self, (new_turn, self.content))
                return new_turn
            case (Turn() as turn_made, str() as asked):
                return self._check_same(turn_made, asked)
            case Record() as row:
                return self._check_same(turn_from_row(row), row["content"])
            case other:
                raise TypeError(f"a turn's key found {type(other).__name__}")

    def _check_same(self, made: Turn, asked: str | None) -> Turn:
        if asked not in {self.content, None}:  # None: it was redacted since, and nobody knows any more
            raise errors.IdempotencyConflict("the idempotency key was used for another message")
        return made


@dataclass(frozen=True, slots=True)
class StartTurn(Write[None]):
    """Begin an attempt at the reply: the first one, or another on the node that adopted it."""

    turn: Turn
    epoch: int

    def prepare(self, batch: Batch) -> None:
        """Begin one more attempt under this epoch."""
        turn.move_status(self.turn.status, TurnStatus.RUNNING)
        batch.add_step(TurnStep.START, self.turn.id, self.epoch, batch.now)


@dataclass(frozen=True, slots=True)
class EmitEvents(Write[None]):
    """Keep what was just streamed, in pieces that follow the last one kept."""

    turn: TurnId
    epoch: int
    events: Sequence[TurnEvent]

    def prepare(self, batch: Batch) -> None:
        """Add the events. The database refuses a gap, and an epoch that is over."""
        for event in self.events:
            batch.add_step(
                TurnStep.TELL, self.turn, event.number, event.kind, event.data, self.epoch, batch.now
            )


@dataclass(frozen=True, slots=True)
class CommitReply(Write[Message]):
    """The one reply, its last events, and the end of the turn, in one transaction."""

    turn: Turn
    epoch: int
    content: str
    speaker: InstanceId
    events: Sequence[TurnEvent] = ()
    language: str | None = None

    def needs_head_of(self) -> ConversationId | None:
        """Name the conversation, because the reply follows its head."""
        return self.turn.conversation

    def prepare(self, batch: Batch) -> Message:
        """Refused if the turn has ended or runs under another epoch."""
        turn.move_status(self.turn.status, TurnStatus.COMMITTED)
        by = message.instance_speaker(self.speaker)
        arguments = (self.turn.conversation, Role.ASSISTANT, self.content, by, self.epoch)
        reply = batch.say(*arguments, language=self.language, turn=self.turn.id)
        EmitEvents(self.turn.id, self.epoch, self.events).prepare(batch)
        _add_end(batch, self.turn, self.epoch, TurnStatus.COMMITTED, reply_seq=reply.seq)
        return reply


@dataclass(frozen=True, slots=True)
class EndTurn(Write[None]):
    """A turn that gets no reply: why it failed, or that it was cancelled."""

    turn: Turn
    epoch: int
    status: TurnStatus
    error: str | None = None
    events: Sequence[TurnEvent] = ()

    def prepare(self, batch: Batch) -> None:
        """End the turn. The reason names what went wrong, and never what was said."""
        turn.move_status(self.turn.status, self.status)
        if self.status not in (TurnStatus.FAILED, TurnStatus.CANCELLED):
            raise errors.TransitionRefused(
                f"without a reply a turn is failed or cancelled, not {self.status}"
            )
        if (self.status is TurnStatus.FAILED) != (self.error is not None):
            raise errors.InputInvalid("a failed turn has a reason, and no other has one")
        EmitEvents(self.turn.id, self.epoch, self.events).prepare(batch)
        _add_end(batch, self.turn, self.epoch, self.status, error=self.error)


async def load_turn(pool: Pool, turn_id: TurnId) -> Turn:
    """Load one turn, or raise NotFound."""
    row = await pool.row(_GET, turn_id)
    if row is None:
        raise errors.NotFound("there is no such turn")
    return turn_from_row(row)


async def find_accepted(pool: Pool, conversation: ConversationId, idempotency_key: str) -> Turn | None:
    """Find the turn that was accepted under a key."""
    row = await pool.row(_ACCEPTED_EARLIER, [conversation], [idempotency_key])
    return None if row is None else turn_from_row(row)


async def list_unfinished(pool: Pool, conversation: ConversationId) -> list[Turn]:
    """List the turns that have no end yet, in the order of their messages."""
    return [turn_from_row(row) for row in await pool.rows(_UNFINISHED, conversation)]


async def load_outcomes(pool: Pool, conversation: ConversationId, *, last: int) -> list[bool]:
    """Load in order whether each of the last ended turns has a reply. Cancelled turns do not count."""
    return [row["kept"] for row in reversed(await pool.rows(_OUTCOMES, conversation, last))]


async def load_stream(
    pool: Pool, turn_id: TurnId, after: StreamPosition, *, limit: int = EVENTS_LIMIT
) -> list[StreamEvent]:
    """Load what follows a position, from all hosts that the turn had."""
    rows = await pool.rows(_TOLD, turn_id, after.epoch, after.number, min(limit, EVENTS_LIMIT))
    return [
        StreamEvent(
            StreamPosition(row["host_epoch"], row["number"]), stream.EventKind(row["kind"]), row["data"]
        )
        for row in rows
    ]


async def list_overlooked(pool: Pool, host: NodeId, known: Collection[TurnId]) -> list[Turn]:
    """Unfinished turns of this node's instances that it does not know of: accepted by another node."""
    return [turn_from_row(row) for row in await pool.rows(_OVERLOOKED, host, list(known))]


async def list_orphaned(pool: Pool, older_s: float) -> list[Turn]:
    """Unfinished turns of conversations that have had no instance for so long: accepted while one ended."""
    return [turn_from_row(row) for row in await pool.rows(_ORPHANED, older_s)]


def _add_end(
    batch: Batch,
    ended: Turn,
    epoch: int,
    status: TurnStatus,
    *,
    reply_seq: int | None = None,
    error: str | None = None,
) -> None:
    leaf = batch.add_leaf(
        LeafKind.TURN,
        {
            "at": micros(batch.now),
            "conversation": str(ended.conversation),
            "epoch": epoch,
            "error": error,
            "reply": reply_seq,
            "status": status.value,
            "turn": str(ended.id),
            "user": ended.user_seq,
        },
    )
    values = (ended.id, epoch, status.value, reply_seq, error, batch.now, batch.node, leaf.number)
    batch.add_step(TurnStep.END, *values)


def turn_from_row(row: NamedRow) -> Turn:
    """Make a turn from a row."""
    return Turn(
        row["id"],
        row["conversation_id"],
        TurnStatus(row["status"]),
        row["user_seq"],
        row["reply_seq"],
        row["attempt"],
        row["host_epoch"],
        row["event_head"],
        row["accepted_at"],
        row["error"],
    )


COLUMNS = (
    "id, conversation_id, status, user_seq, reply_seq, attempt, host_epoch, event_head, accepted_at, error"
)
_GET = f"SELECT {COLUMNS} FROM turns WHERE id = $1"  # noqa: S608 - constants joined, here and below
_UNFINISHED = f"""
    SELECT {COLUMNS} FROM turns WHERE conversation_id = $1 AND status IN ('accepted', 'running')
    ORDER BY user_seq
"""  # noqa: S608
_OUTCOMES = """
    SELECT status = 'committed' AS kept FROM turns
    WHERE conversation_id = $1 AND status IN ('committed', 'failed') ORDER BY user_seq DESC LIMIT $2
"""
_TOLD = """
    SELECT number, kind, data, host_epoch FROM turn_events
    WHERE turn_id = $1 AND (host_epoch, number) > ($2::bigint, $3::bigint) ORDER BY number LIMIT $4
"""
_OF_TURN = ", ".join(f"t.{column}" for column in COLUMNS.split(", "))
_OVERLOOKED = f"""
    SELECT {_OF_TURN} FROM turns t JOIN instance_registry i
        ON i.conversation_id = t.conversation_id AND i.ended_at IS NULL AND i.host = $1
    WHERE t.status IN ('accepted', 'running') AND t.id <> ALL ($2::uuid[]) AND i.status <> 'spawning'
    ORDER BY t.accepted_at, t.user_seq LIMIT 1000
"""  # noqa: S608
_ORPHANED = f"""
    SELECT {_OF_TURN} FROM turns t
    WHERE t.status IN ('accepted', 'running')
      AND t.accepted_at < clock_timestamp() - make_interval(secs => $1)
      AND NOT EXISTS (SELECT FROM instance_registry i
                      WHERE i.conversation_id = t.conversation_id AND i.ended_at IS NULL)
    ORDER BY t.accepted_at, t.user_seq LIMIT 1000
"""  # noqa: S608
_ACCEPTED_EARLIER = """
    SELECT t.id, t.conversation_id, t.status, t.user_seq, t.reply_seq, t.attempt, t.host_epoch,
           t.event_head, t.accepted_at, t.error, k.idempotency_key, m.content
    FROM unnest($1::uuid[], $2::text[]) AS k (conversation_id, idempotency_key)
        CROSS JOIN LATERAL (
            SELECT * FROM turns
            WHERE conversation_id = k.conversation_id AND idempotency_key = ANY (
                ARRAY[k.idempotency_key, ccn_hidden_key(k.conversation_id, k.idempotency_key)])
            LIMIT 1
        ) AS t
        JOIN messages m ON m.conversation_id = t.conversation_id AND m.seq = t.user_seq
"""
