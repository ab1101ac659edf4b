"""What a voter says to a gateway: it checks the caller's credential itself, and then does it in its house.

A gateway is believed about nothing but what came through its door. Whoever takes one over can speak in the
name of those whose credentials pass through it, and of nobody else: who calls, what is theirs and what
their tier allows is decided here once more.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from ccn import errors
from ccn.core import stream
from ccn.core.calls.call import Call
from ccn.core.ids import CharacterId, ConversationId, NodeId, TurnId
from ccn.core.message import Role
from ccn.core.stream import EventKind, StreamEvent, StreamPosition
from ccn.gateway.accounts import access
from ccn.gateway.accounts.access import ANYBODY, Caller, OpenedConversation
from ccn.gateway.deeds import values
from ccn.gateway.deeds.interface import Deeds
from ccn.gateway.deeds.seen_gateways import SeenGateways
from ccn.gateway.guessing import Guesses
from ccn.node.rounds.voter_news import VoterNews
from ccn.peers.exchange import GatewayQuestion
from ccn.store.accounts.users import Tier
from ccn.store.conversations import turns
from ccn.store.conversations.turns import Turn
from ccn.store.operators import requests

Body = Mapping[str, Any]
Answer = Callable[[Caller, Body], Awaitable[object]]
StreamedAnswer = Callable[[Caller, Body], AsyncGenerator[object]]

_PATIENCE_S = 60.0
"""How long an operator's request is waited for at most, whatever a gateway says."""


@dataclass(frozen=True, slots=True)
class GatewayAnswers:
    """The answers of one node."""

    deeds: Deeds
    guesses: Guesses
    seen: SeenGateways
    load_news: Callable[[], Awaitable[VoterNews]]
    find_host: Callable[[ConversationId], Awaitable[NodeId | None]]
    """Who hosts a conversation, if any node does."""

    async def answer(self, question: GatewayQuestion) -> AsyncGenerator[bytes]:
        """The frames of an answer; an error is the last of them."""
        try:
            body = values.decode_body(question.body)
            if question.method == "news":
                self.seen.see(question.node, str(body["door"]))
                yield values.encode_value(await self.load_news())
                return
            caller = await self._identify(question)
            if (once := self._find_answer(question.method)) is not None:
                yield values.encode_value(await once(caller, body))
                return
            streamed = self._find_streamed(question.method)
            if streamed is None:
                raise errors.InputInvalid(f"nobody answers to {question.method!r} here")
            async with aclosing(streamed(caller, body)) as told:
                async for value in told:
                    yield values.encode_value(value)
        except errors.CCNError as refused:
            yield values.encode_error(refused)
        except (KeyError, TypeError, ValueError) as strange:
            yield values.encode_error(errors.InputInvalid(f"a question of no version: {strange}"))

    async def _identify(self, question: GatewayQuestion) -> Caller:
        if not question.credential:
            return ANYBODY
        caller = await self.deeds.accounts.identify_caller(question.credential)
        return replace(caller, reason=access.clean_reason(question.reason))

    def _find_answer(self, method: str) -> Answer | None:
        answers: Mapping[str, Answer] = {
            "sign_in": self._sign_in,
            "renew": self._renew_grant,
            "sign_out": self._end_sign_in,
            "start": self._start,
            "begin": self._begin,
            "cancel": self._cancel_turn,
            "end": self._end,
            "terminate": self._terminate,
            "prompt": self._build_prompt,
            "record": self._record_message,
            "count_tokens": self._count_tokens,
            "ask": self._ask,
            "take_back": self._take_back,
            "seal_access": self._seal_access,
            "status": self._load_status,
        }
        return answers.get(method)

    def _find_streamed(self, method: str) -> StreamedAnswer | None:
        streamed: Mapping[str, StreamedAnswer] = {
            "say": self._say,
            "follow": self._follow_turn,
            "call": self._answer_call,
        }
        return streamed.get(method)

    async def _sign_in(self, _: Caller, body: Body) -> object:
        """Limit refusals here, too: a gateway that was taken over must not guess for ever."""
        name, network = str(body["name"]), str(body["network"])
        self.guesses.check_sign_in(name, network)
        try:
            grant = await self.deeds.accounts.sign_in(name, str(body["password"]), network)
        except errors.SignInRefused:
            await self.guesses.count_refusal(name, network)
            raise
        self.guesses.remember_success(name, network)
        return grant

    async def _renew_grant(self, _: Caller, body: Body) -> object:
        return await self.deeds.accounts.renew_grant(str(body["token"]))

    async def _end_sign_in(self, _: Caller, body: Body) -> object:
        return str(await self.deeds.accounts.end_sign_in(str(body["token"])) or "")

    async def _start(self, caller: Caller, body: Body) -> object:
        access.require_user(caller)
        character = CharacterId(str(body["character"]))
        return await self.deeds.conversations.start(caller, character, str(body["title"]), str(body["key"]))

    async def _begin(self, caller: Caller, body: Body) -> object:
        access.require_user(caller)
        character, title, key = CharacterId(str(body["character"])), str(body["title"]), str(body["key"])
        return await self.deeds.conversations.begin_without_instance(caller, character, title, key)

    async def _say(self, caller: Caller, body: Body) -> AsyncGenerator[object]:
        """The turn, and what is said in it; a gateway of an older version asks for the turn alone."""
        conversation = await self.deeds.access.open_id_to_speak(caller, _conversation_of(body))
        follows = "follow" in body
        begun = await self.deeds.conversations.say(
            caller,
            conversation,
            str(body["content"]),
            idempotency_key=str(body["key"]),
            refuse=bool(body["refuse"]),
            language=_language_of(body),
            also=_read_kinds(body["follow"]) if follows else (),
        )
        if not follows:
            yield begun.turn
            return
        yield {"turn": begun.turn, "host": await self.find_host(conversation)}
        async with aclosing(begun.batches) as batches:
            async for batch in batches:
                yield _batch_to_json(batch)

    async def _follow_turn(self, caller: Caller, body: Body) -> AsyncGenerator[object]:
        conversation = await self.deeds.access.open_id_to_read(caller, _conversation_of(body))
        turn = await self._load_turn(conversation, body)
        place = StreamPosition(int(body["epoch"]), int(body["number"]))
        following = self.deeds.conversations.follow_batches(
            caller, turn, place, also=_read_kinds(body["also"])
        )
        async with aclosing(following) as batches:
            async for batch in batches:
                yield _batch_to_json(batch)

    async def _cancel_turn(self, caller: Caller, body: Body) -> object:
        opened = await self.deeds.access.open_to_operate(caller, _conversation_of(body), "cancel")
        return await self.deeds.conversations.cancel_turn(caller, await self._load_turn(opened.id, body))

    async def _end(self, caller: Caller, body: Body) -> object:
        reason = str(body["reason"])
        opened = await self.deeds.access.open_to_operate(
            caller, _conversation_of(body), "end", caller.reason or reason
        )
        await self.deeds.conversations.end(caller, opened.id, reason)
        return True

    async def _terminate(self, caller: Caller, body: Body) -> object:
        reason = str(body["reason"])
        opened = await self.deeds.access.open_to_operate(
            caller, _conversation_of(body), "terminate", caller.reason or reason
        )
        await self.deeds.conversations.terminate_instance(caller, opened.id, reason)
        return True

    async def _build_prompt(self, caller: Caller, body: Body) -> object:
        conversation = await self.deeds.access.open_id_to_read(caller, _conversation_of(body))
        return await self.deeds.loop.build_prompt(caller, conversation)

    async def _record_message(self, caller: Caller, body: Body) -> object:
        conversation = await self.deeds.access.open_id_to_speak(caller, _conversation_of(body))
        return await self.deeds.loop.record_message(
            caller,
            conversation,
            Role(body["role"]),
            str(body["content"]),
            idempotency_key=str(body["key"]),
            language=_language_of(body),
        )

    async def _answer_call(self, caller: Caller, body: Body) -> AsyncGenerator[object]:
        access.require_user(caller)
        call, character = values.read_value(Call, body["call"]), CharacterId(str(body["character"]))
        async with aclosing(self.deeds.model.answer_call(caller, character, call)) as pieces:
            async for piece in pieces:
                yield {type(piece).__name__: piece}

    async def _count_tokens(self, caller: Caller, body: Body) -> object:
        access.require_user(caller)
        return await self.deeds.model.count_tokens(caller, values.read_value(Call, body["call"]))

    async def _ask(self, caller: Caller, body: Body) -> object:
        access.require_tier(caller, Tier.ADMIN)
        if (command := str(body["command"])) in requests.DONE:
            raise errors.InputInvalid(f"nobody asks for {command!r}")
        return await self.deeds.requests.ask_and_wait(
            caller,
            UUID(str(body["request"])),
            command,
            beside=str(body["beside"]),
            body=body["body"],
            node=None if body["node"] is None else NodeId(str(body["node"])),
            patience_s=min(float(body["patience_s"]), _PATIENCE_S),
        )

    async def _take_back(self, caller: Caller, body: Body) -> object:
        access.require_tier(caller, Tier.ADMIN)
        request, beside, why = UUID(str(body["request"])), str(body["beside"]), str(body["why"])
        return await self.deeds.requests.take_back(caller, request, beside, why)

    async def _seal_access(self, caller: Caller, body: Body) -> object:
        """As `open_to_operate` does: whose conversation it is, this node looks up itself."""
        access.require_tier(caller, Tier.ADMIN)
        conversation, reason = _conversation_of(body), str(body["reason"])
        owner = await self.deeds.access.load_owner(caller, conversation)
        opened = OpenedConversation(conversation, owner, str(body["action"]), reason)
        await self.deeds.requests.seal_access(caller, opened)
        return True

    async def _load_status(self, _: Caller, __: Body) -> object:
        if self.deeds.load_status is None:
            raise errors.Unavailable("this node takes no part in rounds")
        return await self.deeds.load_status()

    async def _load_turn(self, conversation: ConversationId, body: Body) -> Turn:
        turn = await turns.load_turn(self.deeds.access.pool, TurnId(UUID(str(body["turn"]))))
        if turn.conversation != conversation:
            raise errors.NotFound("there is no such turn")
        return turn


def _read_kinds(names: Iterable[str]) -> frozenset[EventKind]:
    """The kinds of events that a gateway asks for beside what is kept, as far as this version has them."""
    return frozenset(EventKind(name) for name in names if name in stream.UNKEPT)


def _batch_to_json(batch: Sequence[StreamEvent]) -> object:
    return [(event.position.epoch, event.position.number, event.kind, event.data) for event in batch]


def _conversation_of(body: Body) -> ConversationId:
    return ConversationId(UUID(str(body["conversation"])))


def _language_of(body: Body) -> str | None:
    return None if body["language"] is None else str(body["language"])
