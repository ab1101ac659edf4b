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
from ccn.core.calls.call import Block, Call, Said
from ccn.core.ids import CharacterId, ConversationId
from ccn.core.message import Role
from ccn.core.prompts import markup, prompt, wording
from ccn.core.stream import Kind
from ccn.gateway.accounts import access
from ccn.gateway.accounts.access import Caller
from ccn.gateway.http import auth, problems
from ccn.gateway.http.anthropic import api_errors, schemas
from ccn.gateway.http.anthropic import events as anthropic_events
from ccn.gateway.http.anthropic.api_errors import CONVERSATION
from ccn.gateway.http.anthropic.events import Voice
from ccn.gateway.http.conversations import context
from ccn.gateway.http.conversations.context import Talk
from ccn.gateway.http.conversations.routes import Key
from ccn.gateway.http.conversations.schemas import CHARACTER
from ccn.gateway.http.conversations.sse import EVENT
from ccn.node.spending.paid_model import Payer
from ccn.store.conversations import characters
from ccn.store.conversations.characters import Character

NEW = "new"

User = Annotated[Caller, Depends(auth.user)]
Talking = Annotated[Talk, Depends(context.of)]
Named = Annotated[
    str | None,
    Header(alias=CONVERSATION, max_length=40, description="A conversation to go on with, or `new`."),
]
_EVENTS = {
    "description": "The message, or with `stream` its events.",
    "content": {"text/event-stream": {"schema": EVENT}},
}


def routes() -> APIRouter:
    """What of the API is spoken here."""
    router = problems.router(
        prefix="/v1",
        tags=["anthropic"],
        route_class=api_errors.Route,
        responses=problems.responses(schemas.ApiError),
    )

    @router.post("/messages", response_model=schemas.Answer, responses={200: _EVENTS})
    async def create_message(
        *,
        caller: User,
        talking: Talking,
        response: Response,
        asked: schemas.Create,
        named: Named = None,
        key: Key = None,
    ) -> schemas.Answer | Response:
        """Have a character answer, as JSON or as events."""
        headers = {"request-id": api_errors.named()}
        with talking.streams.beginning(caller) if asked.stream else nullcontext() as opened:
            if named is None:
                call = await _call(talking, asked, asked.max_tokens)
                pieces = talking.model.stream(call, Payer(None, _character(asked.model), caller.user))
                voice = Voice(f"msg_{secrets.token_hex(12)}", asked.model)
            else:
                here = await _conversation(talking, caller, asked, named, key)
                said, by = _last(asked.messages), access.speaker(caller)
                turn = await talking.conversations.say(here, said, by, idempotency_key=key)
                pieces = anthropic_events.of_turn(talking.conversations.follow(turn.id, also=(Kind.BEGUN,)))
                voice = Voice(f"msg_{turn.id.hex}", asked.model)
                headers |= {CONVERSATION: str(here)}
            if opened is not None:
                events = voice.events(await anthropic_events.begun(pieces))
                return anthropic_events.Speech(events, talking.leaving, opened, headers)
        response.headers.update(headers)
        return await voice.whole(pieces)

    @router.post("/messages/count_tokens")
    async def count_tokens(caller: User, talking: Talking, asked: schemas.Question) -> schemas.Counted:
        """How many tokens a stateless call would have, its plate included."""
        del caller
        return schemas.Counted(input_tokens=await talking.model.count(await _call(talking, asked, 1)))

    @router.get("/models")
    async def list_models(
        *,
        caller: User,
        talking: Talking,
        limit: Annotated[int, Query(ge=1, le=1_000)] = 20,
        after_id: Annotated[str | None, Query(max_length=100)] = None,
        before_id: Annotated[str | None, Query(max_length=100)] = None,
    ) -> schemas.Listing:
        """The characters."""
        del caller
        every = [
            each for each in await characters.every(talking.pool) if not after_id or each.id > after_id
        ]
        if before_id:
            every = [each for each in every if each.id < before_id][-limit:]
        data = tuple(map(_listed, every[:limit]))
        return schemas.Listing(
            data=data,
            has_more=len(every) > limit,
            first_id=data[0].id if data else None,
            last_id=data[-1].id if data else None,
        )

    @router.get("/models/{model_id}")
    async def get_model(caller: User, talking: Talking, model_id: str) -> schemas.Listed:
        """One of them."""
        del caller
        for each in await characters.every(talking.pool):
            if each.id == model_id:
                return _listed(each)
        raise errors.NotFound("there is no such character")

    return router


async def _conversation(
    talking: Talk, caller: Caller, asked: schemas.Create, named: str, key: str | None
) -> ConversationId:
    """Where the message is said; it has to be the caller's, and with the character that is asked."""
    if named == NEW:
        character = _character(asked.model)
        return (await talking.conversations.start(character, caller.user, "", key)).conversation.id
    try:
        wanted = ConversationId(UUID(named))
    except ValueError:
        raise errors.NotFound(access.NO_SUCH) from None
    here = await access.own(talking.pool, caller, wanted)
    if here.character != asked.model:
        raise errors.InputInvalid(f"that conversation is with {here.character}")
    return here.id


async def _call(talking: Talk, asked: schemas.Question, max_tokens: int) -> Call:
    """The prompt of a call that belongs to no conversation: the plate, and what was sent."""
    stored = await characters.plate(talking.pool, _character(asked.model))
    plate = await talking.prompting.plate(stored.character, stored.version)
    limits = talking.prompting.limits(talking.prompting.model(plate))
    _last(asked.messages)
    told = [markup.escaped(each.text) for each in asked.messages]
    system = [Block(wording.plate(plate, stored.version), mark=True)]
    if asked.system is not None and (added := schemas.plain(asked.system)).strip():
        system.append(Block(markup.escaped(added)))
    prompt.check(plate, "\n".join([*told, *(block.text for block in system[1:])]), limits)
    said = [Said(Role(each.role), text) for each, text in zip(asked.messages, told, strict=True)]
    temperature = getattr(asked, "temperature", None)
    return Call(limits.model, tuple(system), tuple(said), min(max_tokens, limits.max_tokens), temperature)


def _character(model: str) -> CharacterId:
    """The character of that name, if such a one can be: what clients call a model may be anything."""
    if re.fullmatch(CHARACTER, model) is None:
        raise errors.NotFound(f"there is no character {problems.writable(model)}")
    return CharacterId(model)


def _last(said: Sequence[schemas.Line]) -> str:
    """What is to be answered."""
    if said[-1].role != "user" or not said[-1].text.strip():
        raise errors.InputInvalid("the last message is the user's, and not empty")
    return said[-1].text


def _listed(character: Character) -> schemas.Listed:
    return schemas.Listed(
        id=character.id,
        display_name=character.name,
        created_at=character.imported_at.isoformat(),
    )
