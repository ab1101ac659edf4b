"""The Messages API with characters as models: a program for it only needs another `base_url`.

x-ccn-conversation: ID     the last message is said in that conversation, which has the earlier ones
x-ccn-conversation: new    the same in a new conversation; the answer has its id in the same header
without it                 the plate and the messages are sent to the model; only the cost is recorded
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Header, Query, Request, Response

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
from ccn.gateway.http.conversations.context import Context, ConversationContext
from ccn.gateway.http.conversations.routes import Key
from ccn.gateway.http.conversations.schemas import CHARACTER
from ccn.gateway.http.conversations.sse import EVENT
from ccn.store.conversations import characters
from ccn.store.conversations.characters import Character

NEW = "new"

ConversationHeader = Annotated[
    str | None,
    Header(
        alias=CONVERSATION,
        max_length=40,
        description="The conversation to say the last message in, or `new` for a new one.",
    ),
]
_EVENTS = {
    "description": "The message, or with `stream` its events.",
    "content": {"text/event-stream": {"schema": EVENT}},
}


def make_router() -> APIRouter:
    """The routes of the Messages API that characters answer."""
    router = problems.new_router(
        prefix="/v1",
        tags=["anthropic"],
        route_class=api_errors.AnthropicRoute,
        responses=problems.describe_responses(schemas.ApiError),
    )

    @router.post("/messages", response_model=schemas.CreateMessageAnswer, responses={200: _EVENTS})
    async def create_message(
        *,
        request: Request,
        caller: auth.User,
        context: Context,
        response: Response,
        asked: schemas.CreateMessageRequest,
        conversation: ConversationHeader = None,
        key: Key = None,
    ) -> schemas.CreateMessageAnswer | Response:
        """Have a character answer, as one message or as a stream of events."""
        headers = {"request-id": api_errors.new_request_id()}
        with context.streams.open_until_answered(caller) if asked.stream else nullcontext() as opened:
            if conversation is None:
                call = await _build_call(context, asked, asked.max_tokens)
                pieces = context.model.answer_call(caller, _parse_character(asked.model), call)
                encoder = MessageEncoder(f"msg_{secrets.token_hex(12)}", asked.model)
            else:
                conversation_id = await _open_conversation(
                    request, context, caller, asked, conversation, key
                )
                said = _last_text(asked.messages)
                begun = await context.deeds.say(
                    caller, conversation_id, said, idempotency_key=key, also=(EventKind.BEGUN,)
                )
                pieces = anthropic_events.pieces_from_turn(begun.batches)
                encoder = MessageEncoder(f"msg_{begun.turn.id.hex}", asked.model)
                headers |= {CONVERSATION: str(conversation_id)}
            if opened is not None:
                events = encoder.stream_events(await anthropic_events.await_first(pieces))
                return anthropic_events.AnthropicStream(events, context.shutdown, opened, headers)
        response.headers.update(headers)
        return await encoder.build_message(pieces)

    @router.post("/messages/count_tokens")
    async def count_tokens(
        caller: auth.User, context: Context, asked: schemas.CountTokensRequest
    ) -> schemas.TokenCount:
        """Count the tokens of a call outside any conversation, its plate included."""
        return schemas.TokenCount(
            input_tokens=await context.model.count_tokens(caller, await _build_call(context, asked, 1))
        )

    @router.get("/models")
    async def list_models(
        *,
        _: auth.User,
        context: Context,
        limit: Annotated[int, Query(ge=1, le=1_000)] = 20,
        after_id: Annotated[str | None, Query(max_length=100)] = None,
        before_id: Annotated[str | None, Query(max_length=100)] = None,
    ) -> schemas.ModelsAnswer:
        """List the characters."""
        listed = [
            each
            for each in await characters.list_characters(context.pool)
            if not after_id or each.id > after_id
        ]
        if before_id:
            listed = [each for each in listed if each.id < before_id][-limit:]
        data = tuple(map(_model_from_character, listed[:limit]))
        return schemas.ModelsAnswer(
            data=data,
            has_more=len(listed) > limit,
            first_id=data[0].id if data else None,
            last_id=data[-1].id if data else None,
        )

    @router.get("/models/{model_id}")
    async def get_model(_: auth.User, context: Context, model_id: str) -> schemas.ModelEntry:
        """Show one character."""
        for character in await characters.list_characters(context.pool):
            if character.id == model_id:
                return _model_from_character(character)
        raise errors.NotFound("there is no such character")

    return router


async def _open_conversation(  # noqa: PLR0917 - a request, taken apart
    request: Request,
    context: ConversationContext,
    caller: Caller,
    asked: schemas.CreateMessageRequest,
    header: str,
    key: str | None,
) -> ConversationId:
    """Begin the conversation, or open the one of the header: the caller's own, with that character."""
    if header == NEW:
        character = _parse_character(asked.model)
        return (await context.deeds.start(caller, character, "", key)).conversation.id
    try:
        conversation_id = ConversationId(UUID(header))
    except ValueError:
        raise errors.NotFound(access.NO_SUCH) from None
    opening = auth.get_context(request).require_access()
    conversation = await opening.open_to_speak(caller, conversation_id)
    if conversation.character != asked.model:
        raise errors.InputInvalid(f"that conversation is with {conversation.character}")
    return conversation.id


async def _build_call(
    context: ConversationContext, asked: schemas.CountTokensRequest, max_tokens: int
) -> Call:
    """Build a call outside any conversation, from the plate and the messages that were sent."""
    stored = await characters.load_plate(context.pool, _parse_character(asked.model))
    plate = await context.plates.load_plate(stored.character, stored.version)
    limits = context.plates.limit_call(context.plates.choose_model(plate))
    _last_text(asked.messages)
    texts = [markup.escape_marks(each.text) for each in asked.messages]
    system = [CallBlock(wording.write_plate(plate, stored.version), mark=True)]
    if asked.system is not None and (added := schemas.join_text(asked.system)).strip():
        system.append(CallBlock(markup.escape_marks(added)))
    prompt.check_message(plate, "\n".join([*texts, *(block.text for block in system[1:])]), limits)
    messages = tuple(
        CallMessage(Role(each.role), text) for each, text in zip(asked.messages, texts, strict=True)
    )
    temperature = getattr(asked, "temperature", None)
    return Call(limits.model, tuple(system), messages, min(max_tokens, limits.max_tokens), temperature)


def _parse_character(model: str) -> CharacterId:
    """The character with the name of a model; raises NotFound for what no character can be called."""
    if re.fullmatch(CHARACTER, model) is None:
        raise errors.NotFound(f"there is no character {problems.make_writable(model)}")
    return CharacterId(model)


def _last_text(messages: Sequence[schemas.MessageParam]) -> str:
    """The text to be answered, which is the user's."""
    last = messages[-1]
    if last.role != "user" or not last.text.strip():
        raise errors.InputInvalid("the last message is the user's, and not empty")
    return last.text


def _model_from_character(character: Character) -> schemas.ModelEntry:
    return schemas.ModelEntry(
        id=character.id,
        display_name=character.name,
        created_at=character.imported_at.isoformat(),
    )
