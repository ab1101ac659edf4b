"""A gateway has a voter do it: each deed is a question, in the name and with the credential of its caller.

What changes something carries a key that the gateway makes up where the client sent none: a question whose
answer was lost can be asked of another voter, and is done once.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from ccn import errors
from ccn.core import stream
from ccn.core.bounded import Recent
from ccn.core.calls.call import Call
from ccn.core.ids import CharacterId, ConversationId, NodeId
from ccn.core.message import Message, Role
from ccn.core.stream import EventKind, StreamEvent, StreamPosition
from ccn.gateway.accounts.access import Caller, OpenedConversation
from ccn.gateway.deeds import interface
from ccn.gateway.deeds.voter_calls import VoterCalls, VoterQuestion
from ccn.node.conversations import StartedConversation
from ccn.store.connection.pool import Pool
from ccn.store.conversations import instances
from ccn.store.conversations.conversations import StoredConversation
from ccn.store.conversations.turns import Turn
from ccn.store.operators.requests import Body

SPAWN_S = 120.0
"""How long a conversation may take to begin: its instance is interviewed."""
FOLLOW_S = 300.0
"""How long one stream may last before it is asked for again."""
PATIENCE_S = 30.0
"""How long a stream is asked for while no voter tells it."""
_AGAIN_S = 0.1
_MARGIN_S = 5.0
_KNOWN_S = 10.0
"""How long a gateway believes where an instance lives: if it moved, the old host asks the new one."""
_REMEMBERED = 50_000
_BROKEN = (errors.OutcomeUnknown, errors.PeerUnavailable, errors.ShuttingDown, errors.NoVoter)


class KnownHosts:
    """Where instances live, read from the database now and then."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._hosts = Recent[ConversationId, tuple[float, NodeId | None]](_REMEMBERED)

    async def find_host(self, conversation: ConversationId) -> NodeId | None:
        """The node that hosts the conversation, if any does."""
        now = asyncio.get_running_loop().time()
        until, host = self._hosts.get(conversation, (0.0, None))
        if now < until:
            return host
        found = await instances.find_in_conversation(self._pool, conversation)
        host = found.host if found is not None else None
        if host is not None:
            self._hosts[conversation] = now + _KNOWN_S, host
        return host

    def forget(self, conversation: ConversationId) -> None:
        """Look again next time."""
        self._hosts.pop(conversation, None)


@dataclass(frozen=True, slots=True)
class RemoteConversations:
    """`ConversationDeeds` that voters do."""

    voters: VoterCalls
    hosts: KnownHosts

    async def start(
        self, caller: Caller, character: CharacterId, title: str, key: str | None
    ) -> StartedConversation:
        """Begin a conversation, and spawn who speaks in it."""
        body = {"character": character, "title": title, "key": key or make_key()}
        asked = VoterQuestion("start", body, caller, within_s=SPAWN_S)
        return await self.voters.ask(StartedConversation, asked)

    async def begin_without_instance(
        self, caller: Caller, character: CharacterId, title: str, key: str | None
    ) -> StoredConversation:
        """Begin one in which nobody speaks yet."""
        body = {"character": character, "title": title, "key": key or make_key()}
        return await self.voters.ask(StoredConversation, VoterQuestion("begin", body, caller))

    async def say(
        self,
        caller: Caller,
        conversation: ConversationId,
        content: str,
        *,
        idempotency_key: str | None = None,
        refuse: bool = False,
        language: str | None = None,
    ) -> Turn:
        """Accept a message."""
        body = {
            "conversation": conversation,
            "content": content,
            "key": idempotency_key or make_key(),
            "refuse": refuse,
            "language": language,
        }
        return await self.voters.ask(Turn, await self._question("say", body, caller, conversation))

    async def follow_turn(
        self,
        caller: Caller,
        turn: Turn,
        after: StreamPosition = stream.START,
        *,
        also: Collection[EventKind] = (),
    ) -> AsyncGenerator[StreamEvent]:
        """Every piece of a turn after a place, to its end."""
        async with aclosing(self.follow_batches(caller, turn, after, also=also)) as batches:
            async for batch in batches:
                for event in batch:
                    yield event

    async def follow_batches(
        self,
        caller: Caller,
        turn: Turn,
        after: StreamPosition = stream.START,
        *,
        also: Collection[EventKind] = (),
    ) -> AsyncGenerator[Sequence[StreamEvent]]:
        """The same, as voters tell it: one voter after the other, if they die."""
        clock = asyncio.get_running_loop().time
        place, until = after, clock() + PATIENCE_S
        while True:
            try:
                async with aclosing(self._stream_batches(caller, turn, place, also)) as batches:
                    async for batch in batches:
                        yield batch
                        if batch[-1].ends:
                            return
                        place, until = batch[-1].position, clock() + PATIENCE_S
            except _BROKEN:
                if clock() > until:
                    raise
            else:
                return  # it was read whole before
            self.hosts.forget(turn.conversation)
            await asyncio.sleep(_AGAIN_S)

    async def cancel_turn(self, caller: Caller, turn: Turn) -> Turn:
        """End a turn without a reply."""
        body = {"conversation": turn.conversation, "turn": turn.id}
        return await self.voters.ask(Turn, await self._question("cancel", body, caller, turn.conversation))

    async def end(self, caller: Caller, conversation: ConversationId, reason: str) -> None:
        """Close a conversation."""
        body = {"conversation": conversation, "reason": reason}
        await self.voters.ask(bool, await self._question("end", body, caller, conversation))

    async def terminate_instance(self, caller: Caller, conversation: ConversationId, reason: str) -> None:
        """End the instance of a conversation."""
        body = {"conversation": conversation, "reason": reason}
        await self.voters.ask(bool, await self._question("terminate", body, caller, conversation))

    async def _stream_batches(
        self, caller: Caller, turn: Turn, place: StreamPosition, also: Collection[EventKind]
    ) -> AsyncGenerator[Sequence[StreamEvent]]:
        body = {
            "conversation": turn.conversation,
            "turn": turn.id,
            "epoch": place.epoch,
            "number": place.number,
            "also": sorted(also),
        }
        asked = await self._question("follow", body, caller, turn.conversation, FOLLOW_S)
        async with aclosing(self.voters.stream_values(asked)) as batches:
            async for batch in batches:
                yield [
                    StreamEvent(StreamPosition(epoch, number), EventKind(kind), data)
                    for epoch, number, kind, data in batch
                ]

    async def _question(
        self,
        method: str,
        body: dict[str, Any],
        caller: Caller,
        conversation: ConversationId,
        within_s: float = PATIENCE_S + _MARGIN_S,
    ) -> VoterQuestion:
        host = await self.hosts.find_host(conversation)
        return VoterQuestion(method, body, caller, host, conversation, within_s=within_s)


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
            "key": idempotency_key or make_key(),
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


def make_key() -> str:
    """An idempotency key for a client that sent none."""
    return secrets.token_hex(16)
