"""A gateway has a voter do it: each deed is a question, in the name and with the credential of its caller.

What changes something carries a key that the gateway makes up where the client sent none: a question whose
answer was lost can be asked of another voter, and is done once. Conversations have a file of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from ccn.core.calls.call import Call
from ccn.core.ids import ConversationId, NodeId
from ccn.core.message import Message, Role
from ccn.gateway.accounts.access import Caller, OpenedConversation
from ccn.gateway.deeds import interface, voter_calls
from ccn.gateway.deeds.voter_calls import VoterCalls, VoterQuestion
from ccn.store.operators.requests import Body

_MARGIN_S = 5.0


@dataclass(frozen=True, slots=True)
class RemoteLoop:
    """`LoopDeeds` that voters do."""

    voters: VoterCalls

    async def build_prompt(self, caller: Caller, conversation: ConversationId) -> Call:
        """Build what would be sent to the model now."""
        body = {"conversation": conversation}
        return await self.voters.ask(Call, VoterQuestion("prompt", body, caller, about=conversation))

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
        body = {
            "conversation": conversation,
            "role": role,
            "content": content,
            "key": idempotency_key or voter_calls.make_key(),
            "language": language,
        }
        return await self.voters.ask(Message, VoterQuestion("record", body, caller, about=conversation))


@dataclass(frozen=True, slots=True)
class RemoteRequests:
    """`RequestDeeds` that voters do."""

    voters: VoterCalls

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
        asked = {
            "request": request,
            "command": command,
            "beside": beside,
            "body": dict(body or {}),
            "node": node,
            "patience_s": patience_s,
        }
        within_s = patience_s + _MARGIN_S
        return await self.voters.ask(dict, VoterQuestion("ask", asked, caller, within_s=within_s))

    async def take_back(self, caller: Caller, request: UUID, beside: str, why: str) -> dict[str, Any]:
        """Take a request back."""
        body = {"request": request, "beside": beside, "why": why}
        return await self.voters.ask(dict, VoterQuestion("take_back", body, caller))

    async def seal_access(self, caller: Caller, opened: OpenedConversation) -> None:
        """Have a voter write down what an admin does in somebody else's conversation."""
        body = {"conversation": opened.conversation, "action": opened.action, "reason": opened.reason}
        await self.voters.ask(bool, VoterQuestion("seal_access", body, caller, about=opened.conversation))
