"""Conversations over REST: begin, say something and read the reply as it is spoken, look back, end.

Any node answers: whoever hosts the instance is found behind the facade. A stream that breaks is taken up
with its last event id, at any node; the same idempotency key again never says anything twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Path, Query, Request
from fastapi.responses import Response

from ccn import errors
from ccn.core import stream as streams
from ccn.core.ids import CharacterId, ConversationId, TurnId
from ccn.gateway.accounts import access
from ccn.gateway.accounts.access import Caller
from ccn.gateway.http import auth, paging, problems
from ccn.gateway.http.conversations import axes, context, presenters, schemas, sse
from ccn.gateway.http.conversations import glance as glances
from ccn.gateway.http.conversations.context import Talk
from ccn.gateway.open_streams import Open
from ccn.store.conversations import characters, conversations, search, summaries
from ccn.store.conversations.conversations import Conversation
from ccn.store.conversations.turns import Turn

Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        pattern=r"^[\x21-\x7e]{1,200}$",
        description="Made up by the client; the same key and request again has no second effect.",
    ),
]
LastEvent = Annotated[
    str | None,
    Header(
        alias="Last-Event-ID",
        pattern=r"^([0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}:[0-9]{1,18}-[0-9]{1,18})?$",
        description="Resume after this event of a stream.",
    ),
]
Glance = Annotated[
    bool,
    Query(description="Let `done` also tell what `glance` and `axes` would; spares asking for them."),
]
Own = Annotated[Conversation, Depends(auth.own)]
Read = Annotated[Conversation, Depends(auth.read)]
Named = Annotated[ConversationId, Depends(auth.named)]
User = Annotated[Caller, Depends(auth.user)]
Talking = Annotated[Talk, Depends(context.of)]


TurnName = Annotated[UUID, Path(description="As the event `accepted` named it.")]


async def turn_to_read(conversation: Read, talking: Talking, turn_id: TurnName) -> Turn:
    """The turn in the path, if it is one of the conversation in the path, to read it."""
    return await _turn_of(conversation, talking, TurnId(turn_id))


async def turn_to_cancel(
    conversation: Annotated[Conversation, Depends(auth.cancel)],
    talking: Talking,
    turn_id: TurnName,
) -> Turn:
    """The same to end it, which admins do as well."""
    return await _turn_of(conversation, talking, TurnId(turn_id))


def routes() -> APIRouter:
    """Everything about one's conversations."""
    router = problems.router(prefix="/api/v1", tags=["conversations"])
    _speaking(router)
    _reading(router)
    return router


def _speaking(router: APIRouter) -> None:
    @router.post("/conversation/start", status_code=201)
    async def start_conversation(
        *,
        request: Request,
        response: Response,
        wish: schemas.Start,
        caller: User,
        talking: Talking,
        key: Key = None,
    ) -> schemas.Started:
        """Begin a conversation with a character: it is spawned, interviewed, and ready to answer."""
        started = await talking.conversations.start(
            CharacterId(wish.character), caller.user, wish.title, key
        )
        told = presenters.started(request, started)
        response.headers["Location"] = f"/api/v1/conversation/{told.session_id}"
        return told

    @router.post(
        "/conversation/{session_id:uuid}/messages",
        response_class=Response,
        responses={200: sse.DOCUMENTED, 204: {"description": "Nothing follows the last event."}},
    )
    async def say(
        *,
        conversation: Own,
        caller: User,
        talking: Talking,
        said: schemas.Say | None = None,
        key: Key = None,
        last: LastEvent = None,
        refuse_busy: Annotated[
            bool, Query(description="Refuse with `turn_running` rather than wait for earlier messages.")
        ] = False,
        glance: Glance = False,
    ) -> Response:
        """Say something, and read the reply as server-sent events.

        With `Last-Event-ID` nothing is said: the stream of that event goes on after it, at whatever node.
        Without it, repeat a request whose answer was lost with the same `Idempotency-Key`.
        """
        with talking.streams.beginning(caller) as opened:
            if last:
                named, _ = streams.resumed(last)
                turn = await _turn_of(conversation, talking, named)
            elif said is None:
                raise errors.InputInvalid("a message has content")
            else:
                turn = await talking.conversations.say(
                    conversation.id,
                    said.content,
                    access.speaker(caller),
                    idempotency_key=key,
                    refuse=refuse_busy,
                )
            return _told(talking, opened, conversation, turn, last=last, glance=glance)

    @router.get(
        "/conversation/{session_id:uuid}/turns/{turn_id:uuid}/events",
        response_class=Response,
        responses={200: sse.DOCUMENTED, 204: {"description": "Nothing follows the last event."}},
    )
    async def follow_turn(
        *,
        conversation: Read,
        turn: Annotated[Turn, Depends(turn_to_read)],
        caller: User,
        talking: Talking,
        last: LastEvent = None,
        glance: Glance = False,
    ) -> Response:
        """The stream of a turn from its beginning, or after an event."""
        with talking.streams.beginning(caller) as opened:
            return _told(talking, opened, conversation, turn, last=last, glance=glance)

    @router.get("/conversation/{session_id:uuid}/turns/{turn_id:uuid}")
    async def get_turn(turn: Annotated[Turn, Depends(turn_to_read)]) -> schemas.Turn:
        """How a turn stands."""
        return presenters.turn(turn)

    @router.post("/conversation/{session_id:uuid}/turns/{turn_id:uuid}/cancel")
    async def cancel_turn(turn: Annotated[Turn, Depends(turn_to_cancel)], talking: Talking) -> schemas.Turn:
        """End a turn without a reply; one that has ended stays as it is."""
        return presenters.turn(await talking.conversations.cancel(turn.id))

    @router.delete("/conversation/{session_id:uuid}", status_code=204)
    async def end_conversation(
        conversation: Annotated[Conversation, Depends(auth.end)], talking: Talking
    ) -> None:
        """End a conversation: unanswered messages are cancelled, its instance ends, its record stays."""
        await talking.conversations.end(conversation.id)


def _reading(router: APIRouter) -> None:
    @router.get("/conversation/{session_id:uuid}", response_model=schemas.State)
    async def get_conversation(here: Named, talking: Talking) -> Response:
        """A conversation as it stands: who speaks there, what is unanswered, how it measures."""
        found = await summaries.of_conversation(talking.pool, here)
        return presenters.ready(presenters.encoded(presenters.state(found)))

    @router.get("/conversation/{session_id:uuid}/messages", response_model=schemas.Messages)
    async def list_messages(
        here: Named,
        talking: Talking,
        cursor: paging.Cursor = None,
        limit: paging.Limit = 50,
    ) -> Response:
        """The newest messages in the order in which they were said; `next` leads to those before them."""
        before = paging.place(cursor)
        page = await conversations.history(talking.pool, here, before=before, limit=limit)
        return presenters.ready(presenters.messages(page))

    @router.get("/conversations")
    async def list_conversations(
        caller: User, talking: Talking, cursor: paging.Cursor = None, limit: paging.Limit = 50
    ) -> schemas.Conversations:
        """One's own conversations, the newest first."""
        assert caller.user is not None, "everybody above PUBLIC is somebody"
        named = paging.name(cursor)
        before = (
            None if named is None else (await access.own(talking.pool, caller, ConversationId(named))).id
        )
        found = await conversations.of_owner(talking.pool, caller.user, before=before, limit=limit + 1)
        began = await conversations.openings(talking.pool, [each.id for each in found[:limit]])
        return schemas.Conversations(
            conversations=tuple(presenters.entry(each, began.get(each.id, "")) for each in found[:limit]),
            next=paging.after(found[limit - 1].id) if len(found) > limit else None,
        )

    @router.get("/search")
    async def search_messages(
        caller: User,
        talking: Talking,
        q: Annotated[
            str,
            Query(
                min_length=1,
                max_length=search.QUERY_LIMIT,
                description='Words, "phrases", `or`, and -words that must not occur.',
                examples=["lighthouse -storm"],
            ),
        ],
        session_id: Annotated[UUID | None, Query(description="Only in this conversation.")] = None,
        limit: Annotated[int, Query(ge=1, le=search.HITS_LIMIT)] = 20,
    ) -> schemas.Search:
        """Search everything one has said and been told."""
        within = None if session_id is None else ConversationId(session_id)
        hits = await talking.searching.search(caller, q, within, limit)
        return schemas.Search(found=tuple(map(presenters.hit, hits)), complete=hits.complete)

    @router.get("/characters")
    async def list_characters(caller: User, talking: Talking) -> schemas.Characters:
        """With whom one can talk."""
        del caller
        found = await characters.every(talking.pool)
        return schemas.Characters(
            characters=tuple(
                schemas.Character(id=each.id, name=each.name, plate_version=each.version) for each in found
            )
        )


async def _turn_of(conversation: Conversation, talking: Talk, turn: TurnId) -> Turn:
    found = await talking.conversations.turn(turn)
    if found.conversation != conversation.id:
        raise errors.NotFound("there is no such turn")
    return found


def _told(
    talking: Talk,
    opened: Open,
    conversation: Conversation,
    turn: Turn,
    *,
    last: str | None,
    glance: bool,
) -> Response:
    place = sse.after(turn.id, last)
    if sse.told_whole(turn, place):
        opened.close()
        return Response(status_code=204)
    told = talking.conversations.follow(turn.id, place, also=(streams.Kind.WAITING,))
    first = b"" if last else sse.accepted(turn)

    async def more() -> Mapping[str, object]:
        seen, measured = await asyncio.gather(
            glances.of(talking, conversation), axes.of(talking.pool, conversation)
        )
        return {"glance": seen.model_dump(mode="json"), "axes": measured.model_dump(mode="json")}

    return sse.events(turn.id, told, talking.leaving, opened, first=first, more=more if glance else None)
