"""Conversations at a gateway: voters accept what is said and tell the replies, each after one that died.

A message and its reply are one question. What a voter tells of a reply has places, so whoever tells it next
goes on after the last piece that was passed on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from ccn import errors
from ccn.core import stream
from ccn.core.ids import CharacterId, ConversationId, NodeId
from ccn.core.stream import EventKind, StreamEvent, StreamPosition
from ccn.gateway.accounts.access import Caller
from ccn.gateway.deeds import values, voter_calls
from ccn.gateway.deeds.interface import BegunReply
from ccn.gateway.deeds.known_hosts import KnownHosts
from ccn.gateway.deeds.voter_calls import VoterCalls, VoterQuestion
from ccn.node.conversations import StartedConversation
from ccn.store.conversations.conversations import StoredConversation
from ccn.store.conversations.turns import Turn

SPAWN_S = 120.0
"""How long a conversation may take to begin: its instance is interviewed."""
FOLLOW_S = 300.0
"""How long one stream may last before it is asked for again."""
PATIENCE_S = 30.0
"""How long a stream is asked for while no voter tells it."""
_AGAIN_S = 0.1
_BROKEN = (errors.OutcomeUnknown, errors.PeerUnavailable, errors.ShuttingDown, errors.NoVoter)


@dataclass(frozen=True, slots=True)
class RemoteConversations:
    """`ConversationDeeds` that voters do."""

    voters: VoterCalls
    hosts: KnownHosts

    async def start(
        self, caller: Caller, character: CharacterId, title: str, key: str | None
    ) -> StartedConversation:
        """Begin a conversation, and spawn who speaks in it."""
        body = {"character": character, "title": title, "key": key or voter_calls.make_key()}
        asked = VoterQuestion("start", body, caller, within_s=SPAWN_S)
        started = await self.voters.ask(StartedConversation, asked)
        self.hosts.remember(started.conversation.id, started.instance.host)
        return started

    async def begin_without_instance(
        self, caller: Caller, character: CharacterId, title: str, key: str | None
    ) -> StoredConversation:
        """Begin one in which nobody speaks yet."""
        body = {"character": character, "title": title, "key": key or voter_calls.make_key()}
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
        also: Collection[EventKind] = (),
    ) -> BegunReply:
        """Accept a message, and hear its reply from who accepted it."""
        body = {
            "conversation": conversation,
            "content": content,
            "key": idempotency_key or voter_calls.make_key(),
            "refuse": refuse,
            "language": language,
            "follow": sorted(also),
        }
        asked = await self._question(
            "say", body, caller, conversation, within_s=FOLLOW_S, begins_within_s=voter_calls.ANSWER_S
        )
        told = self.voters.stream_values(asked)
        try:
            turn, host = _read_accepted(await anext(told, None))
        except BaseException:
            await told.aclose()
            raise
        self.hosts.remember(conversation, host)
        return BegunReply(turn, self._read_on(_Listener(caller, turn, also), stream.START, told))

    def follow_batches(
        self,
        caller: Caller,
        turn: Turn,
        after: StreamPosition = stream.START,
        *,
        also: Collection[EventKind] = (),
    ) -> AsyncGenerator[Sequence[StreamEvent]]:
        """Every piece of a turn after a place, to its end."""
        return self._read_on(_Listener(caller, turn, also), after, None)

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

    async def _read_on(
        self, listener: _Listener, after: StreamPosition, told: AsyncGenerator[Any] | None
    ) -> AsyncGenerator[Sequence[StreamEvent]]:
        """Yield what one voter tells, and then the next, if that one dies; `told` goes on with a reply.

        A voter of an older version accepts a message without telling its reply: that is asked for then.
        """
        clock = asyncio.get_running_loop().time
        place, until = after, clock() + PATIENCE_S
        while True:
            with_rest = told is None
            try:
                told = told or self.voters.stream_values(await self._ask_to_follow(listener, place))
                async with aclosing(told):
                    async for data in told:
                        batch = _batch_from_json(data)
                        yield batch
                        if batch[-1].ends:
                            return
                        place, until = batch[-1].position, clock() + PATIENCE_S
            except _BROKEN:
                if clock() > until:
                    raise
                self.hosts.forget(listener.turn.conversation)
                await asyncio.sleep(_AGAIN_S)
            else:
                if with_rest:
                    return  # it was read whole before
            told = None

    async def _ask_to_follow(self, listener: _Listener, place: StreamPosition) -> VoterQuestion:
        turn = listener.turn
        body = {
            "conversation": turn.conversation,
            "turn": turn.id,
            "epoch": place.epoch,
            "number": place.number,
            "also": sorted(listener.also),
        }
        return await self._question("follow", body, listener.caller, turn.conversation, within_s=FOLLOW_S)

    async def _question(
        self,
        method: str,
        body: dict[str, Any],
        caller: Caller,
        conversation: ConversationId,
        *,
        within_s: float = voter_calls.ANSWER_S,
        begins_within_s: float | None = None,
    ) -> VoterQuestion:
        host = await self.hosts.find_host(conversation)
        return VoterQuestion(
            method, body, caller, host, conversation, within_s=within_s, begins_within_s=begins_within_s
        )


@dataclass(frozen=True, slots=True)
class _Listener:
    """Who hears which turn, and what they hear beside what is kept."""

    caller: Caller
    turn: Turn
    also: Collection[EventKind]


def _read_accepted(told: Any) -> tuple[Turn, NodeId | None]:
    """The turn of a message, and who hosts it, which a voter of an older version does not say."""
    if told is None:
        raise errors.PeerRefused("a voter answered nothing to a message")
    if "turn" not in told:
        return values.read_value(Turn, told), None
    host = told.get("host")
    return values.read_value(Turn, told["turn"]), None if host is None else NodeId(str(host))


def _batch_from_json(data: Any) -> Sequence[StreamEvent]:
    try:
        return [
            StreamEvent(StreamPosition(epoch, number), EventKind(kind), text)
            for epoch, number, kind, text in data
        ]
    except (TypeError, ValueError):
        raise errors.PeerRefused("a voter told what is no piece of a reply") from None
