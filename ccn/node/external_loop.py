"""Lending a character to a loop that somebody else runs: the prompt it gets here, and what was said there.

The record belongs to one speaker at a time. While an instance is alive in a conversation it alone speaks;
without one, what is recorded carries the epoch of the last host, so that an instance that is spawned in the
middle fences it off. A node's writer appends, and its leaves are sealed as all others are: whoever brings
the loop needs no place among the nodes.
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
    """Who speaks in place of an instance."""

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
        """What would be sent to the model now; it ends with the message to answer, if there is one."""
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
        """Add a message: when this returns it is durable. A reply is measured like any other.

        Whoever records it has said it, also a reply: the record never takes it for an instance's.
        """
        message.check_content(content)
        key = idempotency_key or self.new_id().hex

        async def append_message(here: StoredConversation) -> Message:
            return await self.writer.submit(
                AppendMessage(conversation, role, content, speaker, here.epoch, language, key)
            )

        said = await self._retry_while_free(conversation, append_message)
        if role is Role.ASSISTANT:
            self.scoring.enqueue(None, said)
        return said

    async def _build_call(self, here: StoredConversation) -> Call:
        borrower = await self._load_speaker(here)
        page = await conversations.load_history(self.pool, here.id, limit=1)
        if page.messages and page.messages[0].role is Role.USER:
            return await self.prompts.build_call(borrower, page.messages[0].seq)
        opening = await self.prompts.load_opening(borrower)
        (asked,) = self.prompts.build_questions(borrower.model, opening, ["?"])
        return replace(asked, messages=asked.messages[:-1])

    async def _retry_while_free(
        self, conversation: ConversationId, attempt: Callable[[StoredConversation], Awaitable[A]]
    ) -> A:
        """Again where somebody else was first, as long as the conversation is free."""
        tried = 0
        while True:
            here = await self._load_free_conversation(conversation)
            try:
                return await attempt(here)
            except (errors.Conflict, errors.OutcomeUnknown):
                tried += 1
                if tried == _TRIES:
                    raise
            await asyncio.sleep(_AGAIN_S)

    async def _load_free_conversation(self, conversation: ConversationId) -> StoredConversation:
        """The conversation, if nobody else speaks in it."""
        here, alive, unanswered = await asyncio.gather(
            conversations.load_conversation(self.pool, conversation),
            instances.find_in_conversation(self.pool, conversation),
            turns.list_unfinished(self.pool, conversation),
        )
        if alive is not None:
            raise errors.Conflict("an instance speaks in this conversation; terminate it first")
        if unanswered:
            raise errors.TurnRunning("a message of this conversation waits for its reply")
        return here

    async def _load_speaker(self, here: StoredConversation) -> ExternalSpeaker:
        version = here.plate_version
        if version is None:
            version = (await characters.load_plate(self.pool, here.character)).version
        model = self.prompts.choose_model(await self.prompts.load_plate(here.character, version))
        return ExternalSpeaker(here.id, here.character, version, model, here.epoch)
