"""What a prompt is made of, as the database has it today: earlier conversations, and this one.

Separate from `conversations`, which reads for people: here a page ends where a prompt has no more room, and
long messages that are only quoted stay in the database but for their beginning.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from ccn import errors
from ccn.core.axes import Vector
from ccn.core.chain.result import SHARED
from ccn.core.ids import CharacterId, ConversationId, UserId
from ccn.core.message import Message, Role
from ccn.core.prompts import prompt
from ccn.core.prompts.anchor import MEMORIES_LIMIT, Anchor, RecalledConversation, ShownState, StateSource
from ccn.core.prompts.prompt import Scene
from ccn.core.prompts.wording import QUOTED_FROM, PromptMemory
from ccn.store.character import vectors
from ccn.store.connection.pool import Pool, Record
from ccn.store.rounds import blocks

_LATER = 200
"""How far behind its message a reply may stand while others are queued."""
_BYTES_PER_TOKEN = 5
"""No text has more by the estimate of `core/tokens`."""


@dataclass(frozen=True, slots=True)
class Beginning:
    """What a conversation begins with in which nothing was said."""

    plate: int
    """The newest version."""
    collaborator: str
    state: ShownState
    """How the character was last, as far as this person may be told."""
    places: tuple[RecalledConversation, ...]
    memories: tuple[PromptMemory, ...]
    """What is at those places."""


async def load_beginning(
    pool: Pool, character: CharacterId, owner: UserId | None, *, besides: ConversationId | None = None
) -> Beginning:
    """Load the last conversations of a character with one person, the oldest first, and its state in them.

    Nobody's conversations are nobody's memories: they may be of many people. Nor does anybody begin with
    how the character was with somebody else: it would tell of strangers, and let them set the tone. So a
    conversation begins with what the last round agreed on, if several people had a part in it, or else with
    one's own last state. NotFound without a plate.
    """
    newest, rows = await asyncio.gather(
        pool.row(_NEWEST, character, owner, besides, SHARED),
        pool.rows(_RECENT, character, owner, besides, MEMORIES_LIMIT, QUOTED_FROM),
    )
    if newest is None or newest["plate"] is None:
        raise errors.NotFound(f"there is no character {character}")
    conversations = [[*messages] for _, messages in groupby(rows, key=lambda row: row["conversation_id"])]
    return Beginning(
        newest["plate"],
        newest["name"] or "",
        _state_from_row(newest),
        tuple(
            RecalledConversation(messages[0]["conversation_id"], messages[0]["upto"])
            for messages in conversations
        ),
        tuple(map(_memory_from_rows, conversations)),
    )


def _state_from_row(newest: Record) -> ShownState:
    if newest["agreed"] is not None:
        return ShownState(0, Vector(tuple(newest["agreed"])), source=StateSource.AGREED)
    return ShownState(0, vectors.vector_from_stored(newest["vector"]), source=StateSource.EARLIER)


async def load_scene(  # noqa: PLR0917 - what a prompt is about, and how large it may be
    pool: Pool,
    conversation: ConversationId,
    anchor: Anchor,
    this: int,
    limits: prompt.PromptLimits,
    collaborator: str = "",
) -> Scene:
    """Load what the anchor names, and as many messages up to `this` as a prompt may have room for."""
    places = list(prompt.places_to_quote(anchor.kept_from))
    bounds = 2 * prompt.HISTORY_LIMIT, limits.budget * _BYTES_PER_TOKEN
    rows, remembered = await asyncio.gather(
        pool.rows(_SAID, conversation, anchor.kept_from, this, *bounds, places, QUOTED_FROM, _LATER),
        load_memories(pool, anchor.memories),
    )
    return Scene(this, tuple(map(_message_from_row, rows)), remembered, collaborator)


async def load_memories(pool: Pool, places: Sequence[RecalledConversation]) -> tuple[PromptMemory, ...]:
    """Load the words of remembered conversations, without what was redacted since."""
    if not places:
        return ()
    places_wanted = [each.conversation for each in places], [each.upto for each in places]
    rows = await pool.rows(_RECALLED, *places_wanted, QUOTED_FROM)
    return tuple(
        _memory_from_rows([*messages]) for _, messages in groupby(rows, key=lambda row: row["nth"])
    )


def _memory_from_rows(rows: Sequence[Record]) -> PromptMemory:
    return PromptMemory(
        f"{rows[0]['begun_at']:%Y-%m-%d}", rows[0]["title"], tuple(map(_message_from_row, rows))
    )


def _message_from_row(row: Record) -> Message:
    return Message(
        row["conversation_id"],
        row["seq"],
        Role(row["role"]),
        row["content"],
        row["created_at"],
        row["turn_id"],
    )


_NEWEST = f"""
    SELECT (SELECT max(version) FROM plates WHERE character_id = $1) AS plate,
           (SELECT name FROM users WHERE id = $2) AS name,
           (SELECT vector FROM ({vectors.OF_OWNER}) AS state) AS vector,
           (SELECT said -> 'median' FROM ({blocks.LAST_OF_CHARACTER}) AS last
            WHERE (said ->> 'owners')::int >= $4) AS agreed
"""  # noqa: S608 - constants joined
_RECENT = """
    SELECT r.head_seq AS upto, r.created_at AS begun_at, r.title, m.*
    FROM (
            SELECT id, head_seq, created_at, title FROM conversations
            WHERE character_id = $1 AND owner_id = $2 AND head_seq > 0 AND id IS DISTINCT FROM $3
            ORDER BY created_at DESC, id DESC LIMIT $4
        ) AS r
        CROSS JOIN LATERAL (
            SELECT conversation_id, seq, role, left(content, $5) AS content, created_at, turn_id
            FROM messages
            WHERE conversation_id = r.id AND seq = ANY (ARRAY[1, 2, r.head_seq - 1, r.head_seq])
            LIMIT 4
        ) AS m
    ORDER BY r.created_at, r.id, m.seq
"""
_SAID = """
    SELECT conversation_id, seq, role, content, created_at, turn_id
    FROM (
        SELECT *, sum(octet_length(content)) OVER (ORDER BY seq DESC) AS so_far
        FROM (
            SELECT conversation_id, seq, role, content, created_at, turn_id FROM messages
            WHERE conversation_id = $1 AND seq >= $2 AND seq <= $3::bigint + $8::bigint
            ORDER BY seq DESC LIMIT $4
        ) AS young
    ) AS counted
    WHERE so_far <= $5::bigint OR so_far IS NULL OR seq >= $3::bigint
    UNION ALL
    SELECT conversation_id, seq, role, left(content, $7), created_at, turn_id FROM messages
    WHERE conversation_id = $1 AND seq = ANY ($6::bigint[])
"""
_RECALLED = """
    SELECT w.nth, c.begun_at, c.title, m.*
    FROM unnest($1::uuid[], $2::bigint[]) WITH ORDINALITY AS w (conversation_id, upto, nth)
        CROSS JOIN LATERAL (
            SELECT created_at AS begun_at, title FROM conversations WHERE id = w.conversation_id LIMIT 1
        ) AS c
        CROSS JOIN LATERAL (
            SELECT conversation_id, seq, role, left(content, $3) AS content, created_at, turn_id
            FROM messages
            WHERE conversation_id = w.conversation_id AND seq = ANY (ARRAY[1, 2, w.upto - 1, w.upto])
              AND seq <= w.upto
            LIMIT 4
        ) AS m
    ORDER BY w.nth, m.seq
"""
# The first exchange and the last. The limits keep the planner at look-ups, whatever it thinks of the sizes.
