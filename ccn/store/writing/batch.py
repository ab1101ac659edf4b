"""One transaction's worth of writes: what they need to know, what they decide, what goes to the database.

A write says which conversation it is about, gets that conversation's head, and then decides without
waiting: it raises to be refused alone, or adds rows and answers. Rows of one kind travel as one statement.
Leaves and messages, which nearly every write has, share a single statement, with all that happens to turns,
so that a lone append and each step of a turn cost one round trip and no explicit transaction.

What is made for every message is made of tuples here: a frozen dataclass takes seven times as long to make.
"""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Generic, NamedTuple, TypeVar

from ccn import errors
from ccn.core import language, message
from ccn.core.ids import ConversationId, NodeId, TurnId, UserId
from ccn.core.ledger import commitment
from ccn.core.ledger.commitment import Fields, Leaf, LeafKind
from ccn.core.message import Message, Role, Speaker
from ccn.store.connection.pool import Connection, Record
from ccn.store.writing import message_rows, quotas, turn_steps
from ccn.store.writing.message_rows import Packed
from ccn.store.writing.quotas import Quota
from ccn.store.writing.turn_steps import TurnStep

Answer_co = TypeVar("Answer_co", covariant=True)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_HEADS_KEPT = 20_000


@dataclass(frozen=True, slots=True)
class KeyLookup:
    """An idempotency key, and the statement that finds its use: $1 conversations, $2 keys, side by side."""

    sql: str
    conversation: ConversationId
    key: str


class ConversationHead(NamedTuple):
    """Where a conversation stands: what the next message must follow."""

    seq: int
    at: datetime
    epoch: int
    open: bool
    character: str
    version: int
    text: str
    """The conversation's id as every one of its leaves spells it."""


class Write(ABC, Generic[Answer_co]):
    """Something to be made durable together with others. Subclasses are frozen dataclasses."""

    def needs_head_of(self) -> ConversationId | None:
        """Name the conversation whose head this write has to know."""
        return None

    def reads_head_anew(self) -> bool:
        """Tell whether that head has to be read: nothing would refuse this write for an old one."""
        return False

    def begins_conversation(self) -> ConversationId | None:
        """Name the conversation that this write begins, so that nobody looks for its head."""
        return None

    def key_lookup(self) -> KeyLookup | None:
        """Say where to find what an earlier write under the same idempotency key made."""
        return None

    @abstractmethod
    def prepare(self, batch: Batch) -> Answer_co:
        """Decide: raise before anything is added, or add rows and return the answer."""


@dataclass(frozen=True, slots=True)
class Confirm(Write[None]):
    """Writes nothing. Its answer comes once all that can be read now is durable, on the standbys too."""

    def prepare(self, batch: Batch) -> None:
        """Answer with what is there, as to a repeated write."""
        batch.answers_repeats = True


class Numbering:
    """What the writer remembers from one transaction to the next, and forgets when one is refused."""

    def __init__(self, node: NodeId, leaf: int) -> None:
        self.node = node
        self.leaf = leaf
        self.heads: dict[ConversationId, ConversationHead] = {}

    def advance_past(self, batch: Batch) -> None:
        """Let the next batch follow this one, which is durable."""
        self.leaf = batch.last_leaf
        self.heads.update(batch.heads)
        for conversation in [*islice(self.heads, max(0, len(self.heads) - _HEADS_KEPT))]:
            del self.heads[conversation]


@dataclass(slots=True)
class RowStatement:
    """Rows for one statement, which takes an array a column; whether it must touch as many rows."""

    sql: str
    every_row: bool = False
    values: list[tuple[object, ...]] = field(default_factory=list)

    def to_columns(self) -> list[Sequence[object]]:
        """Turn the rows into columns."""
        return message_rows.rows_to_columns(self.values, len(self.values[0]))


class Batch:
    """Collects what one transaction will do, on top of the one that is `after` while that is under way."""

    def __init__(self, numbering: Numbering, now: datetime, after: Batch | None = None) -> None:
        self.now = now
        self._now_us = micros(now)
        self.node = numbering.node
        self.heads: dict[ConversationId, ConversationHead] = {}
        self.leaves: list[Leaf] = []
        self.messages: list[message_rows.Row] = []
        self.statements: dict[str, RowStatement] = {}
        self.steps: dict[TurnStep, list[message_rows.Row]] = {}
        self.quotas: dict[UserId, Quota] = {}
        self._packed: Packed | None = None
        self.remembered = after is not None
        """Whether something was decided on that the database has not confirmed just now."""
        self._known = (after.heads if after else {}, numbering.heads)
        self._first_leaf = after.last_leaf if after else numbering.leaf
        self._found: dict[KeyLookup, object] = dict(after.answered) if after else {}
        self.answered: dict[KeyLookup, object] = {}
        self.answers_repeats = False
        """Whether somebody is answered with what an earlier transaction made."""
        self.looked_up_at = 0
        """On which of the writer's connections that was looked up, by their count."""
        self._heads_wanted: set[ConversationId] = set()
        self._lookups: dict[str, list[KeyLookup]] = {}

    @property
    def last_leaf(self) -> int:
        """Return the number of the newest leaf, in this batch or before it."""
        return self._first_leaf + len(self.leaves)

    @property
    def empty(self) -> bool:
        """Return whether there is nothing for the database to do."""
        return not (self.leaves or self.messages or self.steps or self.statements)

    async def run(self, connection: Connection) -> None:
        """Send the batch: without a transaction if it is one statement, otherwise inside one."""
        packed = self._packed or self.pack()
        if packed is not None and not self.statements:
            await connection.execute(packed[0], *packed[1])
            return
        if len(self.statements) == 1 and packed is None:
            (alone,) = self.statements.values()
            if not alone.every_row:
                await connection.execute(alone.sql, *alone.to_columns())
                return
        async with connection.transaction():
            if self.quotas:
                await quotas.set_and_lock(connection, self.quotas)
            if packed is not None:
                await connection.execute(packed[0], *packed[1])
            for statement in self.statements.values():
                touched = await connection.execute(statement.sql, *statement.to_columns())
                if statement.every_row and _rows_touched(touched) != len(statement.values):
                    raise errors.Conflict("a row was changed by somebody else meanwhile")

    def pack(self) -> Packed | None:
        """Pack leaves, messages and turns as they will travel. Nothing may be added to them afterwards."""
        leaves, head = self.leaves, self._first_leaf
        if self.steps:
            self._packed = turn_steps.pack_call(self.node, head, leaves, self.messages, self.steps)
        else:
            self._packed = message_rows.pack_statement(self.node, head, self.now, leaves, self.messages)
        return self._packed

    async def has_landed(self, connection: Connection) -> bool:
        """Tell whether a try whose end was not seen is in the ledger, by the body of its last leaf."""
        last = self.leaves[-1]
        body = await connection.fetchval(
            "SELECT body FROM leaves WHERE node_id = $1 AND number = $2", last.node, last.number
        )
        return bool(body == last.body)

    def recall_needed(self, writes: Iterable[Write[object]]) -> bool:
        """Collect what the writes need to know, and tell whether memory has all of it."""
        begun: set[ConversationId] = set()
        for write in writes:
            beginning = write.begins_conversation()
            if beginning is not None:
                begun.add(beginning)
            conversation = write.needs_head_of()
            if conversation is None or conversation in begun:
                pass
            elif write.reads_head_anew():
                self._heads_wanted.add(conversation)
            elif conversation not in self.heads:
                self._recall_head(conversation)
            lookup = write.key_lookup()
            if lookup is not None:
                self._lookups.setdefault(lookup.sql, []).append(lookup)
        return not (self._heads_wanted or self._lookups)

    def _recall_head(self, conversation: ConversationId) -> None:
        for heads in self._known:
            head = heads.get(conversation)
            if head is not None:
                self.heads[conversation] = head
                self.remembered = True
                return
        self._heads_wanted.add(conversation)

    async def look_up_missing(self, connection: Connection) -> None:
        """Read the heads that memory does not have, and whatever repeated keys made earlier."""
        if self._heads_wanted:
            for row in await connection.fetch(_HEADS, list(self._heads_wanted)):
                head, under_way = _head_from_row(row), self._known[0].get(row["id"])
                # What is on its way to the database is newer than what that shows.
                self.heads[row["id"]] = under_way if under_way and under_way.seq > head.seq else head
        for sql, keys in self._lookups.items():
            for row in await connection.fetch(sql, [k.conversation for k in keys], [k.key for k in keys]):
                key = KeyLookup(sql, row["conversation_id"], row["idempotency_key"])
                self._found.setdefault(key, row)

    def begin_conversation(self, conversation: ConversationId, character: str) -> None:
        """Remember the head that a new conversation, in which nothing was said, will have."""
        self.heads[conversation] = ConversationHead(0, _EPOCH, 0, True, character, 1, str(conversation))

    def set_quota(self, owner: UserId | None, quota: Quota | None) -> None:
        """Set the quota of a user for whom something begins. It locks the user's row until the commit."""
        if owner is not None and quota is not None:
            self.quotas[owner] = quota

    def require_head(self, conversation: ConversationId, epoch: int) -> ConversationHead:
        """Return the head to write after, for the host of `epoch` (0: a conversation nobody hosts)."""
        head = self.heads.get(conversation)
        if head is None:
            raise errors.NotFound("there is no such conversation")
        if not head.open:
            raise errors.Conflict("the conversation is closed")
        if head.epoch != epoch:
            raise errors.StaleHost(f"the conversation is hosted under epoch {head.epoch}, not {epoch}")
        return head

    def find_earlier(self, write: Write[object]) -> object | None:
        """Find what a write under the same key made: a row of its lookup, or an answer of this batch."""
        lookup = write.key_lookup()
        earlier = None if lookup is None else self._found.get(lookup)
        self.answers_repeats = self.answers_repeats or earlier is not None
        return earlier

    def remember_answer(self, write: Write[object], answer: object) -> None:
        """Give a second write under the same key in this batch the same answer."""
        lookup = write.key_lookup()
        if lookup is not None:
            self._found[lookup] = self.answered[lookup] = answer

    def add_leaf(self, kind: LeafKind, fields: Fields) -> Leaf:
        """Number and hash one protected row."""
        leaf = commitment.make_leaf(self.node, self.last_leaf + 1, kind, fields)
        self.leaves.append(leaf)
        return leaf

    def say(
        self,
        conversation: ConversationId,
        role: Role,
        content: str,
        speaker: Speaker,
        epoch: int,
        *,
        language: str | None = None,
        turn: TurnId | None = None,
        idempotency_key: str | None = None,
    ) -> Message:
        """Add one message after the head of its conversation, with its leaf."""
        # Check everything before anything is added: a write that is refused must not leave a leaf behind.
        message.check_content(content)
        if language is not None:
            _check_language(language)
        # The head may be a remembered one, and another node has written since. Then the number is taken,
        # the database refuses the whole batch, and the writer prepares it again from heads that it reads.
        head = self.require_head(conversation, epoch)
        # Clocks of nodes differ, so after an adoption the last message may be later than now. The times of
        # a conversation must not run backwards: the look-up of a moment halves them.
        at, at_us = self.now, self._now_us
        if head.at > at:
            at, at_us = head.at, micros(head.at)
        seq, number = head.seq + 1, self.last_leaf + 1
        salt = secrets.token_bytes(commitment.SALT_BYTES)
        committed = commitment.commit_content(salt, content)
        leaf = commitment.make_message_leaf(
            self.node, number, at_us, committed, head.text, epoch, role, seq, speaker, turn
        )
        self.leaves.append(leaf)
        said = (conversation, seq, role, content, salt, speaker, language, at, turn, epoch)
        self.messages.append((*said, idempotency_key, number))
        # The next message of this batch follows this one, and so does one of the batch prepared on top.
        self.heads[conversation] = ConversationHead(
            seq, at, epoch, head.open, head.character, head.version, head.text
        )
        return Message(conversation, seq, role, content, at, turn)

    def add_row(self, sql: str, *values: object, every_row: bool = False) -> None:
        """Add a row for `sql`, which takes an array a value; with `every_row` it must touch one each."""
        statement = self.statements.setdefault(sql, RowStatement(sql, every_row))
        statement.values.append(values)

    def add_step(self, step: TurnStep, *values: object) -> None:
        """Add a row to what happens to turns; it is refused unless that can happen to its turn."""
        assert len(values) == len(step.columns), f"{step.value} takes {len(step.columns)} values"
        self.steps.setdefault(step, []).append(values)


def micros(at: datetime) -> int:
    """Return whole microseconds since 1970: how a moment is written where it is hashed."""
    return (at - _EPOCH) // _MICROSECOND


def _check_language(name: str) -> None:
    if name not in language.LANGUAGES:
        raise errors.InputInvalid(f"{name!r} is not one of {', '.join(language.LANGUAGES)}")


def _head_from_row(row: Record) -> ConversationHead:
    at = row["head_at"]
    place = (row["head_seq"], at or _EPOCH, row["host_epoch"], row["open"])
    return ConversationHead(*place, row["character_id"], row["version"], str(row["id"]))


def _rows_touched(tag: str) -> int:
    return int(tag.rpartition(" ")[2])


_HEADS = """
    SELECT id, head_seq, nullif(head_at, '-infinity') AS head_at, host_epoch, status = 'open' AS open,
           character_id, version
    FROM conversations WHERE id = ANY ($1::uuid[])
"""
