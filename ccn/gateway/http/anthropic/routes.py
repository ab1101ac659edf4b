"""The Messages API with characters as models: programs for it need another `base_url`, no other line.

x-ccn-conversation: ID     the last message is said in that conversation, where all earlier ones are
x-ccn-conversation: new    the same in a new conversation, whose id the answer has in that header
without it                 the plate and the messages that were sent; nothing is kept but what it cost
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Query, Response

from ccn import errors
from ccn.core.calls.call import Call, CallBlock, CallMessage
from ccn.core.ids import CharacterId, ConversationId
from ccn.core.message import Role
from ccn.core.prompts import markup, prompt, wording
from ccn.core.stream import EventKind
from ccn.gateway.accounts import access
from ccn.gateway.accounts.access import Caller
from ccn.gateway.http import auth, problems
from ccn.gateway.http.anthropic import api_errors, schemas
from ccn.gateway.http.anthropic import events as anthropic_events
from ccn.gateway.http.anthropic.api_errors import CONVERSATION
from ccn.gateway.http.anthropic.events import MessageEncoder
from ccn.gateway.http.conversations import context
from ccn.gateway.http.conversations.context import ConversationContext
from ccn.gateway.http.conversations.routes import Key
from ccn.gateway.http.conversations.schemas import CHARACTER
from ccn.gateway.http.conversations.sse import EVENT
from ccn.node.spending.paid_model import Payer
from ccn.store.conversations import characters
from ccn.store.conversations.characters import Character

NEW = "new"

User = Annotated[Caller, Depends(auth.require_user)]
Talking = Annotated[ConversationContext, Depends(context.get_context)]
Named = Annotated[
    str | None,
    Header(alias=CONVERSATION, max_length=40, description="A conversation to go on with, or `new`."),
]
_EVENTS = {
    "description": "The message, or with `stream` its events.",
    "content": {"text/event-stream": {"schema": EVENT}},
}


def make_router() -> APIRouter:
    """What of the API is spoken here."""
    router = problems.new_router(
        prefix="/v1",
        tags=["anthropic"],
        route_class=api_errors.AnthropicRoute,
        responses=problems.describe_responses(schemas.ApiError),
    )

    @router.post("/messages", response_model=schemas.CreateMessageAnswer, responses={200: _EVENTS})
    async def create_message(
        *,
        caller: User,
        talking: Talking,
        response: Response,
        asked: schemas.CreateMessageRequest,
        named: Named = None,
        key: Key = None,
    ) -> schemas.CreateMessageAnswer | Response:
        """Have a character answer, as JSON or as events."""
        headers = {"request-id": api_errors.new_request_id()}
        with talking.streams.open_until_answered(caller) if asked.stream else nullcontext() as opened:
            if named is None:
                call = await _build_call(talking, asked, asked.max_tokens)
                pieces = talking.model.stream(call, Payer(None, _parse_character(asked.model), caller.user))
                voice = MessageEncoder(f"msg_{secrets.token_hex(12)}", asked.model)
            else:
                here = await _open_conversation(talking, caller, asked, named, key)
                said, by = _last_text(asked.messages), access.require_user(caller)
                turn = await talking.conversations.say(here, said, by, idempotency_key=key)
                pieces = anthropic_events.pieces_from_turn(
                    talking.conversations.follow_turn(turn.id, also=(EventKind.BEGUN,))
                )
                voice = MessageEncoder(f"msg_{turn.id.hex}", asked.model)
                headers |= {CONVERSATION: str(here)}
            if opened is not None:
                events = voice.stream_events(await anthropic_events.await_first(pieces))
                return anthropic_events.AnthropicStream(events, talking.shutdown, opened, headers)
        response.headers.update(headers)
        return await voice.build_message(pieces)

    @router.post("/messages/count_tokens")
    async def count_tokens(
        caller: User, talking: Talking, asked: schemas.CountTokensRequest
    ) -> schemas.TokenCount:
        """How many tokens a stateless call would have, its plate included."""
        del caller
        return schemas.TokenCount(
            input_tokens=await talking.model.count_tokens(await _build_call(talking, asked, 1))
        )

    @router.get("/models")
    async def list_models(
        *,
        caller: User,
        talking: Talking,
        limit: Annotated[int, Query(ge=1, le=1_000)] = 20,
        after_id: Annotated[str | None, Query(max_length=100)] = None,
        before_id: Annotated[str | None, Query(max_length=100)] = None,
    ) -> schemas.ModelsAnswer:
        """The characters."""
        del caller
        every = [
            each
            for each in await characters.list_characters(talking.pool)
            if not after_id or each.id > after_id
        ]
        if before_id:
            every = [each for each in every if each.id < before_id][-limit:]
        data = tuple(map(_model_from_character, every[:limit]))
        return schemas.ModelsAnswer(
            data=data,
            has_more=len(every) > limit,
            first_id=data[0].id if data else None,
            last_id=data[-1].id if data else None,
        )

    @router.get("/models/{model_id}")
    async def get_model(caller: User, talking: Talking, model_id: str) -> schemas.ModelEntry:
        """One of them."""
        del caller
        for each in await characters.list_characters(talking.pool):
            if each.id == model_id:
                return _model_from_character(each)
        raise errors.NotFound("there is no such character")

    return router


async def _open_conversation(
    talking: ConversationContext,
    caller: Caller,
    asked: schemas.CreateMessageRequest,
    named: str,
    key: str | None,
) -> ConversationId:
    """Where the message is said; it has to be the caller's, and with the character that is asked."""
    if named == NEW:
        character = _parse_character(asked.model)
        return (await talking.conversations.start(character, caller.user, "", key)).conversation.id
    try:
        wanted = ConversationId(UUID(named))
    except ValueError:
        raise errors.NotFound(access.NO_SUCH) from None
    here = await access.open_to_speak(talking.pool, caller, wanted)
    if here.character != asked.model:
        raise errors.InputInvalid(f"that conversation is with {here.character}")
    return here.id


async def _build_call(
    talking: ConversationContext, asked: schemas.CountTokensRequest, max_tokens: int
) -> Call:
    """The prompt of a call that belongs to no conversation: the plate, and what was sent."""
    stored = await characters.load_plate(talking.pool, _parse_character(asked.model))
    plate = await talking.prompting.load_plate(stored.character, stored.version)
    limits = talking.prompting.limit_call(talking.prompting.choose_model(plate))
    _last_text(asked.messages)
    told = [markup.escape_marks(each.text) for each in asked.messages]
    system = [CallBlock(wording.write_plate(plate, stored.version), mark=True)]
    if asked.system is not None and (added := schemas.join_text(asked.system)).strip():
        system.append(CallBlock(markup.escape_marks(added)))
    prompt.check_message(plate, "\n".join([*told, *(block.text for block in system[1:])]), limits)
    said = [CallMessage(Role(each.role), text) for each, text in zip(asked.messages, told, strict=True)]
    temperature = getattr(asked, "temperature", None)
    return Call(limits.model, tuple(system), tuple(said), min(max_tokens, limits.max_tokens), temperature)


def _parse_character(model: str) -> CharacterId:
    """The character of that name, if such a one can be: what clients call a model may be anything."""
    if re.fullmatch(CHARACTER, model) is None:
        raise errors.NotFound(f"there is no character {problems.make_writable(model)}")
    return CharacterId(model)


def _last_text(said: Sequence[schemas.MessageParam]) -> str:
    """What is to be answered."""
    if said[-1].role != "user" or not said[-1].text.strip():
        raise errors.InputInvalid("the last message is the user's, and not empty")
    return said[-1].text


def _model_from_character(character: Character) -> schemas.ModelEntry:
    return schemas.ModelEntry(
        id=character.id,
        display_name=character.name,
        created_at=character.imported_at.isoformat(),
    )
