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
from ccn.gateway.http.conversations.context import ConversationContext
from ccn.gateway.open_streams import OpenStream
from ccn.store.conversations import characters, conversations, search, summaries
from ccn.store.conversations.conversations import StoredConversation
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
Own = Annotated[StoredConversation, Depends(auth.open_to_speak)]
Read = Annotated[StoredConversation, Depends(auth.open_to_read)]
Named = Annotated[ConversationId, Depends(auth.open_id_to_read)]
User = Annotated[Caller, Depends(auth.require_user)]
Talking = Annotated[ConversationContext, Depends(context.get_context)]


TurnName = Annotated[UUID, Path(description="As the event `accepted` named it.")]


async def open_turn_to_read(conversation: Read, talking: Talking, turn_id: TurnName) -> Turn:
    """The turn in the path, if it is one of the conversation in the path, to read it."""
    return await _load_turn(conversation, talking, TurnId(turn_id))


async def open_turn_to_cancel(
    conversation: Annotated[StoredConversation, Depends(auth.open_to_cancel)],
    talking: Talking,
    turn_id: TurnName,
) -> Turn:
    """The same to end it, which admins do as well."""
    return await _load_turn(conversation, talking, TurnId(turn_id))


def make_router() -> APIRouter:
    """Everything about one's conversations."""
    router = problems.new_router(prefix="/api/v1", tags=["conversations"])
    _add_speaking_routes(router)
    _add_reading_routes(router)
    return router


def _add_speaking_routes(router: APIRouter) -> None:
    @router.post("/conversation/start", status_code=201)
    async def start_conversation(
        *,
        request: Request,
        response: Response,
        wish: schemas.StartRequest,
        caller: User,
        talking: Talking,
        key: Key = None,
    ) -> schemas.StartedAnswer:
        """Begin a conversation with a character: it is spawned, interviewed, and ready to answer."""
        started = await talking.conversations.start(
            CharacterId(wish.character), caller.user, wish.title, key
        )
        told = presenters.started_to_schema(request, started)
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
        said: schemas.SayRequest | None = None,
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
        with talking.streams.open_until_answered(caller) as opened:
            if last:
                named, _ = streams.parse_event_id(last)
                turn = await _load_turn(conversation, talking, named)
            elif said is None:
                raise errors.InputInvalid("a message has content")
            else:
                turn = await talking.conversations.say(
                    conversation.id,
                    said.content,
                    access.require_user(caller),
                    idempotency_key=key,
                    refuse=refuse_busy,
                )
            return _stream_turn(talking, opened, conversation, turn, last=last, glance=glance)

    @router.get(
        "/conversation/{session_id:uuid}/turns/{turn_id:uuid}/events",
        response_class=Response,
        responses={200: sse.DOCUMENTED, 204: {"description": "Nothing follows the last event."}},
    )
    async def follow_turn(
        *,
        conversation: Read,
        turn: Annotated[Turn, Depends(open_turn_to_read)],
        caller: User,
        talking: Talking,
        last: LastEvent = None,
        glance: Glance = False,
    ) -> Response:
        """The stream of a turn from its beginning, or after an event."""
        with talking.streams.open_until_answered(caller) as opened:
            return _stream_turn(talking, opened, conversation, turn, last=last, glance=glance)

    @router.get("/conversation/{session_id:uuid}/turns/{turn_id:uuid}")
    async def get_turn(turn: Annotated[Turn, Depends(open_turn_to_read)]) -> schemas.TurnAnswer:
        """How a turn stands."""
        return presenters.turn_to_schema(turn)

    @router.post("/conversation/{session_id:uuid}/turns/{turn_id:uuid}/cancel")
    async def cancel_turn(
        turn: Annotated[Turn, Depends(open_turn_to_cancel)], talking: Talking
    ) -> schemas.TurnAnswer:
        """End a turn without a reply; one that has ended stays as it is."""
        return presenters.turn_to_schema(await talking.conversations.cancel_turn(turn.id))

    @router.delete("/conversation/{session_id:uuid}", status_code=204)
    async def end_conversation(
        conversation: Annotated[StoredConversation, Depends(auth.open_to_end)], talking: Talking
    ) -> None:
        """End a conversation: unanswered messages are cancelled, its instance ends, its record stays."""
        await talking.conversations.end(conversation.id)


def _add_reading_routes(router: APIRouter) -> None:
    @router.get("/conversation/{session_id:uuid}", response_model=schemas.ConversationAnswer)
    async def get_conversation(here: Named, talking: Talking) -> Response:
        """A conversation as it stands: who speaks there, what is unanswered, how it measures."""
        found = await summaries.load_summary(talking.pool, here)
        return presenters.json_response(presenters.encode_schema(presenters.summary_to_schema(found)))

    @router.get("/conversation/{session_id:uuid}/messages", response_model=schemas.MessagesAnswer)
    async def list_messages(
        here: Named,
        talking: Talking,
        cursor: paging.Cursor = None,
        limit: paging.Limit = 50,
    ) -> Response:
        """The newest messages in the order in which they were said; `next` leads to those before them."""
        before = paging.place_from_cursor(cursor)
        page = await conversations.load_history(talking.pool, here, before=before, limit=limit)
        return presenters.json_response(presenters.page_to_json(page))

    @router.get("/conversations")
    async def list_conversations(
        caller: User, talking: Talking, cursor: paging.Cursor = None, limit: paging.Limit = 50
    ) -> schemas.ConversationsAnswer:
        """One's own conversations, the newest first."""
        assert caller.user is not None, "everybody above PUBLIC is somebody"
        named = paging.id_from_cursor(cursor)
        before = (
            None
            if named is None
            else (await access.open_to_speak(talking.pool, caller, ConversationId(named))).id
        )
        found = await conversations.list_of_owner(talking.pool, caller.user, before=before, limit=limit + 1)
        began = await conversations.load_openings(talking.pool, [each.id for each in found[:limit]])
        return schemas.ConversationsAnswer(
            conversations=tuple(
                presenters.conversation_to_entry(each, began.get(each.id, "")) for each in found[:limit]
            ),
            next=paging.cursor_from_id(found[limit - 1].id) if len(found) > limit else None,
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
    ) -> schemas.SearchAnswer:
        """Search everything one has said and been told."""
        within = None if session_id is None else ConversationId(session_id)
        hits = await talking.searching.search(caller, q, within, limit)
        return schemas.SearchAnswer(
            found=tuple(map(presenters.hit_to_schema, hits)), complete=hits.complete
        )

    @router.get("/characters")
    async def list_characters(caller: User, talking: Talking) -> schemas.CharactersAnswer:
        """With whom one can talk."""
        del caller
        found = await characters.list_characters(talking.pool)
        return schemas.CharactersAnswer(
            characters=tuple(
                schemas.CharacterAnswer(id=each.id, name=each.name, plate_version=each.version)
                for each in found
            )
        )


async def _load_turn(conversation: StoredConversation, talking: ConversationContext, turn: TurnId) -> Turn:
    found = await talking.conversations.load_turn(turn)
    if found.conversation != conversation.id:
        raise errors.NotFound("there is no such turn")
    return found


def _stream_turn(
    talking: ConversationContext,
    opened: OpenStream,
    conversation: StoredConversation,
    turn: Turn,
    *,
    last: str | None,
    glance: bool,
) -> Response:
    place = sse.parse_place(turn.id, last)
    if sse.is_told_whole(turn, place):
        opened.close()
        return Response(status_code=204)
    told = talking.conversations.follow_turn(turn.id, place, also=(streams.EventKind.WAITING,))
    first = b"" if last else sse.encode_accepted(turn)

    async def load_more() -> Mapping[str, object]:
        seen, measured = await asyncio.gather(
            glances.load_glance(talking, conversation), axes.load_axes(talking.pool, conversation)
        )
        return {"glance": seen.model_dump(mode="json"), "axes": measured.model_dump(mode="json")}

    return sse.stream_turn(
        turn.id, told, talking.shutdown, opened, first=first, more=load_more if glance else None
    )
