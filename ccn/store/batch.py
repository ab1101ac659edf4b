"""One transaction's worth of writes: what they need to know, what they decide, what goes to the database.

A write says which conversation it is about, gets that conversation's head, and then decides without
waiting: it raises to be refused alone, or adds rows and answers. Rows of one kind travel as one statement.
Leaves and messages, which nearly every write has, share a single statement, with all that happens to turns,
so that a lone append and each step of a turn cost one round trip and no explicit transaction.
"""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Generic, TypeVar

from ccn import errors
from ccn.core import commitment, language, message
from ccn.core.commitment import Fields, Kind, Leaf
from ccn.core.ids import ConversationId, NodeId, TurnId
from ccn.core.message import Message, Role
from ccn.store.pool import Connection, Record

Answer_co = TypeVar("Answer_co", covariant=True)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_HEADS_KEPT = 20_000


@dataclass(frozen=True, slots=True)
class Words:
    """What somebody says, before it has a place."""

    conversation: ConversationId
    role: Role
    content: str
    language: str | None = None
    turn: TurnId | None = None
    idempotency_key: str | None = None

    def __post_init__(self) -> None:
        message.check(self.content)
        if self.language is not None and self.language not in language.LANGUAGES:
            raise errors.InputInvalid(f"{self.language!r} is not one of {', '.join(language.LANGUAGES)}")


@dataclass(frozen=True, slots=True)
class Repeated:
    """An idempotency key, and the statement that finds its use: $1 conversations, $2 keys, side by side."""

    sql: str
    conversation: ConversationId
    key: str


@dataclass(frozen=True, slots=True)
class Head:
    """Where a conversation stands: what the next message must follow."""

    seq: int
    at: datetime
    epoch: int
    open: bool
    character: str
    version: int


class Write(ABC, Generic[Answer_co]):
    """Something to be made durable together with others. Subclasses are frozen dataclasses."""

    def concerns(self) -> ConversationId | None:
        """The conversation whose head this write has to know."""
        return None

    def begins(self) -> ConversationId | None:
        """The conversation that this write begins: nobody need look for its head."""
        return None

    def repeats(self) -> Repeated | None:
        """Where to look for what an earlier write under the same idempotency key made."""
        return None

    @abstractmethod
    def prepare(self, batch: Batch) -> Answer_co:
        """Decide; raise before anything is added, or add rows and answer."""


class Numbering:
    """What the writer remembers from one transaction to the next, and forgets when one is refused."""

    def __init__(self, node: NodeId, leaf: int) -> None:
        self.node = node
        self.leaf = leaf
        self.heads: dict[ConversationId, Head] = {}

    def forget(self) -> None:
        """Somebody else wrote: read the heads again."""
        self.heads.clear()

    def advance(self, batch: Batch) -> None:
        """The batch is durable: the next one follows it."""
        self.leaf = batch.last_leaf
        for conversation, head in batch.heads.items():
            self.heads.pop(conversation, None)  # so that the oldest entry is the one unused for longest
            self.heads[conversation] = head
        for conversation in list(self.heads)[: max(0, len(self.heads) - _HEADS_KEPT)]:
            del self.heads[conversation]


@dataclass(slots=True)
class Statement:
    """Rows for one statement, which takes an array a column; whether it must touch as many rows."""

    sql: str
    every_row: bool = False
    values: list[tuple[object, ...]] = field(default_factory=list)

    def columns(self) -> list[Sequence[object]]:
        """The rows turned on their side."""
        return _columns(self.values, len(self.values[0]))


class Step(Enum):
    """What can happen to a turn, in the order in which one statement makes it so, and its columns there."""

    ACCEPT = 7
    START = 3
    TELL = 6
    END = 8

    @property
    def width(self) -> int:
        """How many columns."""
        return int(self.value)


class Batch:
    """Collects what one transaction will do, on top of the one that is `after` while that is under way."""

    def __init__(self, numbering: Numbering, now: datetime, after: Batch | None = None) -> None:
        self.now = now
        self.node = numbering.node
        self.heads: dict[ConversationId, Head] = {}
        self.leaves: list[Leaf] = []
        self.messages: list[tuple[object, ...]] = []
        self.statements: dict[str, Statement] = {}
        self.steps: dict[Step, list[tuple[object, ...]]] = {}
        self.remembered = after is not None
        """Whether something was decided on that the database has not confirmed just now."""
        self._known = (after.heads if after else {}, numbering.heads)
        self._first_leaf = after.last_leaf if after else numbering.leaf
        self._found: dict[Repeated, object] = dict(after.answered) if after else {}
        self.answered: dict[Repeated, object] = {}
        self._heads_wanted: set[ConversationId] = set()
        self._lookups: dict[str, list[Repeated]] = {}

    @property
    def last_leaf(self) -> int:
        """The number of the newest leaf, in this batch or before it."""
        return self._first_leaf + len(self.leaves)

    @property
    def empty(self) -> bool:
        """Whether there is nothing for the database to do."""
        return not (self.leaves or self.messages or self.steps or self.statements)

    async def run(self, connection: Connection) -> None:
        """Make it durable: alone if it is one statement, otherwise inside one transaction."""
        if not self.statements:
            await self._say_all(connection)
            return
        if len(self.statements) == 1 and not (self.leaves or self.messages or self.steps):
            (alone,) = self.statements.values()
            if not alone.every_row:
                await connection.execute(alone.sql, *alone.columns())
                return
        async with connection.transaction():
            await self._say_all(connection)
            for statement in self.statements.values():
                touched = await connection.execute(statement.sql, *statement.columns())
                if statement.every_row and _count(touched) != len(statement.values):
                    raise errors.Conflict("a row was changed by somebody else meanwhile")

    async def _say_all(self, connection: Connection) -> None:
        kinds, bodies = [each.kind.value for each in self.leaves], [each.body for each in self.leaves]
        if self.steps:
            rows = [
                (self.messages, _SAID_WIDTH),
                *((self.steps.get(step, []), step.width) for step in Step),
            ]
            columns = (column for these, width in rows for column in _columns(these, width))
            await connection.execute(_TURNS, self.node, self._first_leaf, kinds, bodies, *columns)
        elif self.messages:
            said = [None if _blank(each) else each for each in _columns(self.messages, _SAID_WIDTH)]
            await connection.execute(_SAY, self.node, self._first_leaf, kinds, bodies, *said)
        elif self.leaves:
            await connection.execute(_LEAVES, self.node, self._first_leaf, kinds, bodies)

    async def landed(self, connection: Connection) -> bool:
        """Whether a try whose end was not seen is in the ledger: its last leaf, body and all."""
        last = self.leaves[-1]
        body = await connection.fetchval(
            "SELECT body FROM leaves WHERE node_id = $1 AND number = $2", last.node, last.number
        )
        return bool(body == last.body)

    def recall(self, writes: Iterable[Write[object]]) -> bool:
        """Collect what the writes need to know; whether memory has it all."""
        begun = set[ConversationId | None]()
        for write in writes:
            begun.add(write.begins())
            conversation = write.concerns()
            if conversation not in self.heads and conversation not in begun and conversation is not None:
                self._recall_head(conversation)
            repeated = write.repeats()
            if repeated is not None:
                self._lookups.setdefault(repeated.sql, []).append(repeated)
        return not (self._heads_wanted or self._lookups)

    def _recall_head(self, conversation: ConversationId) -> None:
        for heads in self._known:
            if conversation in heads:
                self.heads[conversation] = heads[conversation]
                self.remembered = True
                return
        self._heads_wanted.add(conversation)

    async def look_up(self, connection: Connection) -> None:
        """Read the heads that memory does not have, and whatever repeated keys made earlier."""
        if self._heads_wanted:
            for row in await connection.fetch(_HEADS, list(self._heads_wanted)):
                self.heads[row["id"]] = _head(row)
        for sql, keys in self._lookups.items():
            for row in await connection.fetch(sql, [k.conversation for k in keys], [k.key for k in keys]):
                key = Repeated(sql, row["conversation_id"], row["idempotency_key"])
                self._found.setdefault(key, row)

    def begin(self, conversation: ConversationId, character: str) -> None:
        """The head of a conversation in which nothing was said, as the database will have it."""
        self.heads[conversation] = Head(0, _EPOCH, 0, True, character, 1)

    def head(self, conversation: ConversationId, epoch: int) -> Head:
        """The head to write after, for a host that holds `epoch` (0: a conversation nobody hosts)."""
        head = self.heads.get(conversation)
        if head is None:
            raise errors.NotFound("there is no such conversation")
        if not head.open:
            raise errors.Conflict("the conversation is closed")
        if head.epoch != epoch:
            raise errors.StaleHost(f"the conversation is hosted under epoch {head.epoch}, not {epoch}")
        return head

    def earlier(self, write: Write[object]) -> object | None:
        """What a write under the same key made: a row of its lookup, or an answer of this batch."""
        repeated = write.repeats()
        return None if repeated is None else self._found.get(repeated)

    def remember(self, write: Write[object], answer: object) -> None:
        """A second write under the same key in this batch gets the same answer."""
        repeated = write.repeats()
        if repeated is not None:
            self._found[repeated] = self.answered[repeated] = answer

    def leaf(self, kind: Kind, fields: Fields) -> Leaf:
        """Number and hash one protected row."""
        leaf = commitment.leaf(self.node, self.last_leaf + 1, kind, fields)
        self.leaves.append(leaf)
        return leaf

    def say(self, said: Words, epoch: int) -> Message:
        """Add one message after the head of its conversation, with its leaf."""
        head = self.head(said.conversation, epoch)
        at = max(self.now, head.at)
        seq = head.seq + 1
        salt = secrets.token_bytes(commitment.SALT_BYTES)
        committed = commitment.content(salt, said.content)
        leaf = commitment.spoken(
            self.node,
            self.last_leaf + 1,
            micros(at),
            committed,
            said.conversation,
            epoch,
            said.role,
            seq,
            said.turn,
        )
        self.leaves.append(leaf)
        place = (said.conversation, seq, said.role.value)
        words = (said.content, salt, said.language, at, said.turn, epoch, said.idempotency_key)
        self.messages.append((*place, *words, leaf.number))
        self.heads[said.conversation] = Head(seq, at, head.epoch, head.open, head.character, head.version)
        return Message(said.conversation, seq, said.role, said.content, at, said.turn)

    def add(self, sql: str, *values: object, every_row: bool = False) -> None:
        """Add a row for `sql`, which takes an array a value; with `every_row` it must touch one each."""
        statement = self.statements.setdefault(sql, Statement(sql, every_row))
        statement.values.append(values)

    def step(self, step: Step, *values: object) -> None:
        """Add a row to what happens to turns; it is refused unless that can happen to its turn."""
        self.steps.setdefault(step, []).append(values)


def micros(at: datetime) -> int:
    """Whole microseconds since 1970: how a moment is written where it is hashed."""
    return (at - _EPOCH) // _MICROSECOND


def _columns(rows: Sequence[tuple[object, ...]], width: int) -> list[Sequence[object]]:
    return list(zip(*rows, strict=True)) if rows else [()] * width


def _blank(column: Sequence[object]) -> bool:
    """Whether it need not be sent: beside others, unnest fills up a missing column with nulls."""
    return column.count(None) == len(column)


def _head(row: Record) -> Head:
    at = row["head_at"]
    return Head(
        row["head_seq"], at or _EPOCH, row["host_epoch"], row["open"], row["character_id"], row["version"]
    )


def _count(tag: str) -> int:
    return int(tag.rpartition(" ")[2])


_HEADS = """
    SELECT id, head_seq, nullif(head_at, '-infinity') AS head_at, host_epoch, status = 'open' AS open,
           character_id, version
    FROM conversations WHERE id = ANY ($1::uuid[])
"""
_SAID_WIDTH = 11
_TURNS = f"SELECT ccn_turns({', '.join(f'${nth}' for nth in range(1, 40))})"
_LEAVES = """
    INSERT INTO leaves (node_id, number, kind, body)
    SELECT $1, $2::bigint + nth, kind, body
    FROM unnest($3::text[], $4::bytea[]) WITH ORDINALITY AS new (kind, body, nth)
"""
_SAY = f"""
    WITH sealed AS ({_LEAVES})
    INSERT INTO messages (leaf_node, conversation_id, seq, role, content, salt, language, created_at,
                          turn_id, host_epoch, idempotency_key, leaf_number)
    SELECT $1, * FROM unnest($5::uuid[], $6::bigint[], $7::text[], $8::text[], $9::bytea[], $10::text[],
                             $11::timestamptz[], $12::uuid[], $13::bigint[], $14::text[], $15::bigint[])
"""  # noqa: S608 - two constants joined
