"""Conversations whose loop runs outside CCN: the prompts it gets here, and what it records.

A conversation has one speaker at a time. While an instance is alive in it, only the instance speaks.
Without an instance, what is recorded carries the epoch of the last host, so an instance that is spawned
meanwhile fences it off. The writer of a node appends it, and its leaves are sealed like all others. So the
program with the loop need not be a node.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TypeVar
from uuid import UUID

from ccn import errors
from ccn.core import message
from ccn.core.calls.call import Call
from ccn.core.ids import CharacterId, ConversationId, UserId
from ccn.core.message import Message, Role
from ccn.node.character.scoring import ReplyScoring
from ccn.node.turns.prompts import Prompts
from ccn.store.connection.pool import Pool
from ccn.store.conversations import characters, conversations, instances, turns
from ccn.store.conversations.conversations import AppendMessage, StoredConversation
from ccn.store.writing.writer import Writer

A = TypeVar("A")

_TRIES = 5
_AGAIN_S = 0.05


@dataclass(frozen=True, slots=True)
class ExternalSpeaker:
    """The speaker in place of an instance."""

    conversation: ConversationId
    character: CharacterId
    plate_version: int
    model: str
    epoch: int


@dataclass(frozen=True, slots=True)
class ExternalLoop:
    """One node's part in conversations whose loop runs elsewhere."""

    pool: Pool
    writer: Writer
    prompts: Prompts
    scoring: ReplyScoring
    new_id: Callable[[], UUID]

    async def build_prompt(self, conversation: ConversationId) -> Call:
        """Build what would be sent to the model now; it ends with the message to answer, if any."""
        return await self._retry_while_free(conversation, self._build_call)

    async def record_message(
        self,
        conversation: ConversationId,
        role: Role,
        content: str,
        speaker: UserId,
        *,
        idempotency_key: str | None = None,
        language: str | None = None,
    ) -> Message:
        """Add a message. When this returns, it is durable. A reply is scored like any other.

        The record says that `speaker` said it, also if it is a reply. It never counts as an instance's.
        """
        message.check_content(content)
        key = idempotency_key or self.new_id().hex

        async def append_message(stored: StoredConversation) -> Message:
            return await self.writer.submit(
                AppendMessage(conversation, role, content, speaker, stored.epoch, language, key)
            )

        said = await self._retry_while_free(conversation, append_message)
        if role is Role.ASSISTANT:
            self.scoring.enqueue(None, said)
        return said

    async def _build_call(self, stored: StoredConversation) -> Call:
        speaker = await self._load_speaker(stored)
        page = await conversations.load_history(self.pool, stored.id, limit=1)
        if page.messages and page.messages[0].role is Role.USER:
            return await self.prompts.build_call(speaker, page.messages[0].seq)
        opening = await self.prompts.load_opening(speaker)
        (asked,) = self.prompts.build_questions(speaker.model, opening, ["?"])
        return replace(asked, messages=asked.messages[:-1])

    async def _retry_while_free(
        self, conversation: ConversationId, attempt: Callable[[StoredConversation], Awaitable[A]]
    ) -> A:
        """Try again if another write came first, as long as the conversation is free."""
        tried = 0
        while True:
            stored = await self._load_free_conversation(conversation)
            try:
                return await attempt(stored)
            except (errors.Conflict, errors.OutcomeUnknown):
                tried += 1
                if tried == _TRIES:
                    raise
            await asyncio.sleep(_AGAIN_S)

    async def _load_free_conversation(self, conversation: ConversationId) -> StoredConversation:
        """Load the conversation. Refuse if an instance speaks in it, or a message waits for its reply."""
        stored, instance, unanswered = await asyncio.gather(
            conversations.load_conversation(self.pool, conversation),
            instances.find_in_conversation(self.pool, conversation),
            turns.list_unfinished(self.pool, conversation),
        )
        if instance is not None:
            raise errors.Conflict("an instance speaks in this conversation; terminate it first")
        if unanswered:
            raise errors.TurnRunning("a message of this conversation waits for its reply")
        return stored

    async def _load_speaker(self, stored: StoredConversation) -> ExternalSpeaker:
        version = stored.plate_version
        if version is None:
            version = (await characters.load_plate(self.pool, stored.character)).version
        model = self.prompts.choose_model(await self.prompts.load_plate(stored.character, version))
        return ExternalSpeaker(stored.id, stored.character, version, model, stored.epoch)
