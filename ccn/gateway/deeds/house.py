"""A voter answers in its own house: every deed is a call of what runs in this process."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol
from uuid import UUID

from ccn.core import stream
from ccn.core.calls.call import Call, CallRetry, Piece
from ccn.core.ids import CharacterId, ConversationId, NodeId
from ccn.core.message import Message, Role
from ccn.core.stream import EventKind, StreamEvent, StreamPosition
from ccn.gateway.accounts import access
from ccn.gateway.accounts.access import Caller, ConversationAccess, OpenedConversation
from ccn.gateway.deeds import interface
from ccn.gateway.deeds.interface import BegunReply
from ccn.node.conversations import Conversations, StartedConversation
from ccn.node.external_loop import ExternalLoop
from ccn.node.operators import submission
from ccn.node.spending.paid_model import Payer
from ccn.store.connection.pool import Pool
from ccn.store.conversations.conversations import StoredConversation
from ccn.store.conversations.turns import Turn
from ccn.store.operators import requests
from ccn.store.operators.requests import Body

_ACCESS_IDS = UUID("f0a6d9a4-3f0b-4c1c-8d61-0f4f8c9b1a57")
"""The name space for the ids of what admins do in conversations of others."""


@dataclass(frozen=True, slots=True)
class HouseConversations:
    """`ConversationDeeds` of the node that runs here."""

    node: Conversations

    async def start(
        self, caller: Caller, character: CharacterId, title: str, key: str | None
    ) -> StartedConversation:
        """Begin a conversation, and spawn who speaks in it."""
        return await self.node.start(character, caller.user, title, key)

    async def begin_without_instance(
        self, caller: Caller, character: CharacterId, title: str, key: str | None
    ) -> StoredConversation:
        """Begin one in which nobody speaks yet."""
        return await self.node.begin_without_instance(character, caller.user, title, key)

    async def say(
        self,
        caller: Caller,
        conversation: ConversationId,
        content: str,
        *,
        idempotency_key: str | None = None,
        refuse: bool = False,
        language: str | None = None,
        also: Collection[EventKind] = (),
    ) -> BegunReply:
        """Accept a message."""
        turn = await self.node.say(
            conversation,
            content,
            access.require_user(caller),
            idempotency_key=idempotency_key,
            refuse=refuse,
            language=language,
        )
        return BegunReply(turn, self.node.follow_batches(turn.id, also=also))

    def follow_batches(
        self,
        caller: Caller,
        turn: Turn,
        after: StreamPosition = stream.START,
        *,
        also: Collection[EventKind] = (),
    ) -> AsyncGenerator[Sequence[StreamEvent]]:
        """Every piece of a turn after a place, to its end."""
        del caller
        return self.node.follow_batches(turn.id, after, also=also)

    async def cancel_turn(self, caller: Caller, turn: Turn) -> Turn:
        """End a turn without a reply."""
        del caller
        return await self.node.cancel_turn(turn.id)

    async def end(self, caller: Caller, conversation: ConversationId, reason: str) -> None:
        """Close a conversation."""
        del caller
        await self.node.end(conversation, reason)

    async def terminate_instance(self, caller: Caller, conversation: ConversationId, reason: str) -> None:
        """End the instance of a conversation."""
        del caller
        await self.node.terminate_instance(conversation, reason)


@dataclass(frozen=True, slots=True)
class HouseLoop:
    """`LoopDeeds` of the node that runs here."""

    node: ExternalLoop

    async def build_prompt(self, caller: Caller, conversation: ConversationId) -> Call:
        """Build what would be sent to the model now."""
        del caller
        return await self.node.build_prompt(conversation)

    async def record_message(
        self,
        caller: Caller,
        conversation: ConversationId,
        role: Role,
        content: str,
        *,
        idempotency_key: str | None = None,
        language: str | None = None,
    ) -> Message:
        """Add a message."""
        speaker = access.require_user(caller)
        return await self.node.record_message(
            conversation, role, content, speaker, idempotency_key=idempotency_key, language=language
        )


@dataclass(frozen=True, slots=True)
class HouseRequests:
    """`RequestDeeds` of the node that runs here: a request is a row."""

    pool: Pool

    async def ask_and_wait(
        self,
        caller: Caller,
        request: UUID,
        command: str,
        *,
        beside: str = "",
        body: Body | None = None,
        node: NodeId | None = None,
        patience_s: float = interface.PATIENCE_S,
    ) -> Body:
        """Ask, and what came of it."""
        by = interface.name_asker(caller, beside)
        return await submission.ask_and_wait(
            self.pool, request, command, by, body=body, node=node, patience_s=patience_s
        )

    async def take_back(self, caller: Caller, request: UUID, beside: str, why: str) -> dict[str, Any]:
        """Take a request back."""
        return await submission.take_back(self.pool, request, interface.name_asker(caller, beside), why)

    async def seal_access(self, caller: Caller, opened: OpenedConversation) -> None:
        """Write it down, once in an hour for one reason; a node seals it."""
        hour = f"{datetime.now(UTC):%Y-%m-%dT%H}"
        once = f"{caller.user}/{opened.action}/{opened.conversation}/{hour}/{opened.reason}"
        body = {
            "action": opened.action,
            "conversation": str(opened.conversation),
            "owner": None if opened.owner is None else str(opened.owner),
            "reason": opened.reason,
            "user": str(caller.user),
        }
        await requests.add_request(
            self.pool, uuid.uuid5(_ACCESS_IDS, once), requests.ACCESS, caller.name, body
        )


class PayableModel(Protocol):
    """The model of a node, as calls outside any conversation need it."""

    @property
    def trouble(self) -> CallRetry | None:
        """The next try of a call that failed; None while no call waits for one."""

    def stream(self, call: Call, who: Payer) -> AsyncGenerator[Piece, None]:
        """Yield deltas, a restart whenever they begin again, and last the whole reply."""

    async def count_tokens(self, call: Call) -> int:
        """Count the tokens of the prompt."""

    async def await_settlements(self) -> None:
        """Return when every call that has ended on this node is in the figures."""


@dataclass(frozen=True, slots=True)
class HouseModel:
    """`ModelDeeds` of the node that runs here."""

    node: PayableModel

    @property
    def trouble(self) -> CallRetry | None:
        """The next try of a call that failed; None while no call waits for one."""
        return self.node.trouble

    def answer_call(
        self, caller: Caller, character: CharacterId, call: Call
    ) -> AsyncGenerator[Piece, None]:
        """Yield what the model says, on the account of the caller."""
        return self.node.stream(call, Payer(None, character, caller.user))

    async def count_tokens(self, caller: Caller, call: Call) -> int:
        """Count the tokens of the prompt."""
        del caller
        return await self.node.count_tokens(call)

    async def await_settlements(self) -> None:
        """Return when every call that has ended on this node is in the figures."""
        await self.node.await_settlements()


def open_house(pool: Pool) -> tuple[ConversationAccess, HouseRequests]:
    """Access to conversations, and requests, where this process may write both down itself."""
    own = HouseRequests(pool)
    return ConversationAccess(pool, own), own
