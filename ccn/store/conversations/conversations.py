"""Conversations and what was said in them: begin, append, close, and read page by page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from ccn import errors
from ccn.core import message
from ccn.core.ids import CharacterId, ConversationId, TurnId, UserId
from ccn.core.ledger.commitment import LeafKind
from ccn.core.message import Message, Role
from ccn.store.connection.pool import NamedRow, Pool, Record
from ccn.store.writing.batch import Batch, KeyLookup, Write, micros
from ccn.store.writing.quotas import Quota

PAGE_LIMIT = 1_000


@dataclass(frozen=True, slots=True)
class StoredConversation:
    """One conversation as it stands."""

    id: ConversationId
    character: CharacterId
    owner: UserId | None
    title: str
    open: bool
    created_at: datetime
    head_seq: int = 0
    epoch: int = 0
    plate_version: int | None = None
    version: int = 1


@dataclass(frozen=True, slots=True)
class MessagePage:
    """Messages in order, and the `before` of the page that precedes it; None when nothing does."""

    messages: tuple[Message, ...]
    before: int | None


@dataclass(frozen=True, slots=True)
class AppendMessage(Write[Message]):
    """Have somebody say something. The answer has the place the message got.

    `epoch` is the host's, 0 for a conversation nobody hosts. A second append under the same idempotency key
    answers with the first message, provided that it says the same.
    """

    conversation: ConversationId
    role: Role
    content: str
    speaker: UserId
    epoch: int = 0
    language: str | None = None
    idempotency_key: str | None = None

    def needs_head_of(self) -> ConversationId | None:
        """Its own conversation."""
        return self.conversation

    def key_lookup(self) -> KeyLookup | None:
        """Look for a message of the same conversation under this key."""
        key = self.idempotency_key
        return None if key is None else KeyLookup(_SAID_EARLIER, self.conversation, key)

    def prepare(self, batch: Batch) -> Message:
        """Follow the head, unless the key was used before."""
        key, by = self.idempotency_key, message.account_speaker(self.speaker)
        arguments = (self.conversation, self.role, self.content, by, self.epoch)
        if key is None:
            return batch.say(*arguments, language=self.language)
        match batch.find_earlier(self):
            case None:
                appended = batch.say(*arguments, language=self.language, idempotency_key=key)
                batch.remember_answer(self, appended)
                return appended
            case Message() as appended:
                return self._check_same(appended)
            case Record() as row:
                return self._check_same(_message_from_row(row))
            case other:
                raise TypeError(f"a message's key found {type(other).__name__}")

    def _check_same(self, earlier: Message) -> Message:
        if earlier.role is not self.role or earlier.content not in (self.content, None):
            raise errors.IdempotencyConflict("the idempotency key was used for another message")
        return earlier


@dataclass(frozen=True, slots=True)
class BeginConversation(Write[StoredConversation]):
    """Open a conversation with a character."""

    id: ConversationId
    character: CharacterId
    owner: UserId | None = None
    plate_version: int | None = None
    title: str = ""
    quota: Quota | None = None

    def begins_conversation(self) -> ConversationId | None:
        """Name the conversation, because other writes of the batch may be about it already."""
        return self.id

    def prepare(self, batch: Batch) -> StoredConversation:
        """Add one row and its leaf."""
        begun = StoredConversation(
            self.id,
            self.character,
            self.owner,
            self.title,
            True,
            batch.now,
            plate_version=self.plate_version,
        )
        batch.set_quota(self.owner, self.quota)
        _add_leaf(batch, begun, batch.now)
        batch.add_row(
            _BEGIN, self.id, self.character, self.owner, self.plate_version, self.title, batch.now
        )
        batch.begin_conversation(self.id, self.character)
        return begun


@dataclass(frozen=True, slots=True)
class CloseConversation(Write[None]):
    """Nothing more is said in a conversation; closing a closed one changes nothing."""

    conversation: StoredConversation

    def needs_head_of(self) -> ConversationId | None:
        """Its head is closed for whatever this writer remembers of it."""
        return self.conversation.id

    def prepare(self, batch: Batch) -> None:
        """Add the next version, unless the conversation was changed since it was read."""
        if not self.conversation.open:
            return
        closed = replace(self.conversation, open=False, version=self.conversation.version + 1)
        _add_leaf(batch, closed, batch.now)
        if (head := batch.heads.get(closed.id)) is not None:
            batch.heads[closed.id] = head._replace(open=False)
        batch.add_row(_CLOSE, closed.id, closed.version, batch.now, every_row=True)


async def load_conversation(pool: Pool, conversation: ConversationId) -> StoredConversation:
    """Load one conversation, or raise NotFound."""
    row = await pool.row(_GET, conversation)
    if row is None:
        raise errors.NotFound("there is no such conversation")
    return conversation_from_row(row)


async def list_of_owner(
    pool: Pool, owner: UserId, *, before: ConversationId | None = None, limit: int = 50
) -> list[StoredConversation]:
    """List the newest conversations of one user. `before` is the last id of the previous page."""
    return [
        conversation_from_row(row)
        for row in await pool.rows(_OF_OWNER, owner, before, min(limit, PAGE_LIMIT))
    ]


async def load_openings(
    pool: Pool, named: Sequence[ConversationId], length: int = 80
) -> Mapping[ConversationId, str]:
    """Load the first words of each conversation, without redacted ones and those not begun."""
    rows = await pool.rows(_OPENINGS, list(named), length)
    return {ConversationId(row["conversation_id"]): row["opening"] for row in rows}


async def load_collaborator(pool: Pool, conversation: ConversationId) -> str:
    """Load the name of a conversation's owner; empty if it has none."""
    return await pool.value(_COLLABORATOR, conversation) or ""


async def count_all(pool: Pool) -> int:
    """Count all conversations in the record."""
    return int(await pool.value("SELECT count(*) FROM conversations"))


async def load_history(
    pool: Pool, conversation: ConversationId, *, before: int | None = None, limit: int = 50
) -> MessagePage:
    """Load the last `limit` messages, or the last before a place, as a reader scrolls upwards."""
    if not 0 < limit <= PAGE_LIMIT:
        raise errors.InputInvalid(f"a page has 1 to {PAGE_LIMIT} messages, not {limit}")
    rows = await pool.rows(_HISTORY, conversation, before, limit)
    messages = tuple(_message_from_row(row) for row in reversed(rows))
    return MessagePage(messages, messages[0].seq if messages and messages[0].seq > 1 else None)


async def load_after(
    pool: Pool, conversation: ConversationId, seq: int, *, limit: int = 50
) -> list[Message]:
    """Load what was said after a place, in order, for a reader who follows along."""
    return [
        _message_from_row(row) for row in await pool.rows(_AFTER, conversation, seq, min(limit, PAGE_LIMIT))
    ]


def _add_leaf(batch: Batch, conversation: StoredConversation, at: datetime) -> None:
    batch.add_leaf(
        LeafKind.CONVERSATION,
        {
            "at": micros(at),
            "character": conversation.character,
            "conversation": str(conversation.id),
            "owner": str(conversation.owner) if conversation.owner else None,
            "plate": conversation.plate_version,
            "status": "open" if conversation.open else "closed",
            "version": conversation.version,
        },
    )


def conversation_from_row(row: NamedRow) -> StoredConversation:
    """Make a conversation from a row."""
    return StoredConversation(
        row["id"],
        row["character_id"],
        row["owner_id"],
        row["title"],
        row["status"] == "open",
        row["created_at"],
        row["head_seq"],
        row["host_epoch"],
        row["plate_version"],
        row["version"],
    )


def _message_from_row(row: Record) -> Message:
    turn: TurnId | None = row["turn_id"]
    return Message(
        row["conversation_id"], row["seq"], Role(row["role"]), row["content"], row["created_at"], turn
    )


_BEGIN = """
    INSERT INTO conversations (id, character_id, owner_id, plate_version, title, created_at, changed_at)
    SELECT id, character_id, owner_id, plate_version, title, at, at
    FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::int[], $5::text[], $6::timestamptz[])
        AS new (id, character_id, owner_id, plate_version, title, at)
"""
_CLOSE = """
    UPDATE conversations c SET status = 'closed', version = to_close.version, changed_at = to_close.at
    FROM unnest($1::uuid[], $2::int[], $3::timestamptz[]) AS to_close (id, version, at)
    WHERE c.id = to_close.id AND c.version = to_close.version - 1 AND c.status = 'open'
"""
COLUMNS = (
    "id, character_id, owner_id, title, status, created_at, head_seq, host_epoch, plate_version, version"
)
_GET = f"SELECT {COLUMNS} FROM conversations WHERE id = $1"  # noqa: S608 - constants joined, here and below
_OF_OWNER = f"""
    SELECT {COLUMNS} FROM conversations
    WHERE owner_id = $1
      AND ($2::uuid IS NULL OR (created_at, id) < (SELECT created_at, id FROM conversations WHERE id = $2))
    ORDER BY created_at DESC, id DESC LIMIT $3
"""  # noqa: S608
_OPENINGS = """
    SELECT conversation_id, regexp_replace(left(content, $2), '\\s+', ' ', 'g') AS opening FROM messages
    WHERE conversation_id = ANY ($1::uuid[]) AND seq = 1 AND content IS NOT NULL
"""
_COLLABORATOR = """
    SELECT u.name FROM conversations c JOIN users u ON u.id = c.owner_id WHERE c.id = $1
"""
_HISTORY = """
    SELECT conversation_id, seq, role, content, created_at, turn_id FROM messages
    WHERE conversation_id = $1 AND seq < coalesce($2, 9223372036854775807) ORDER BY seq DESC LIMIT $3
"""
_AFTER = """
    SELECT conversation_id, seq, role, content, created_at, turn_id FROM messages
    WHERE conversation_id = $1 AND seq > $2 ORDER BY seq LIMIT $3
"""
_SAID_EARLIER = """
    SELECT m.conversation_id, k.idempotency_key, m.seq, m.role, m.content, m.created_at, m.turn_id
    FROM unnest($1::uuid[], $2::text[]) AS k (conversation_id, idempotency_key)
        CROSS JOIN LATERAL (
            SELECT * FROM messages
            WHERE conversation_id = k.conversation_id AND idempotency_key IS NOT NULL
              AND idempotency_key = ANY (
                ARRAY[k.idempotency_key, ccn_hidden_key(k.conversation_id, k.idempotency_key)])
            LIMIT 1
        ) AS m
"""
