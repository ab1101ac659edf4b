"""Conversations over REST: begin one, say something and read the reply as it is spoken, read back, end it.

Any node answers, whichever hosts the instance. A stream that breaks is continued after its last event id,
at any node. A request that is repeated with its idempotency key has no second effect.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
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
from ccn.gateway.http.conversations import axes, presenters, schemas, sse
from ccn.gateway.http.conversations import glance as glances
from ccn.gateway.http.conversations.context import Context, ConversationContext
from ccn.gateway.open_streams import OpenStream
from ccn.store.connection.pool import Pool
from ccn.store.conversations import characters, conversations, search, summaries, turns
from ccn.store.conversations.conversations import StoredConversation
from ccn.store.conversations.turns import Turn

Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        pattern=r"^[\x21-\x7e]{1,200}$",
        description="Made up by the client. The same request with the same key again has no second effect.",
    ),
]
LastEvent = Annotated[
    str | None,
    Header(
        alias="Last-Event-ID",
        pattern=r"^([0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}:[0-9]{1,18}-[0-9]{1,18})?$",
        description="The last event of a stream that was read: continue after it.",
    ),
]
Glance = Annotated[
    bool,
    Query(description="Add to the event `done` what `glance` and `axes` would answer."),
]
_ALSO = (streams.EventKind.WAITING,)
_ENDED = "the conversation was ended"
TurnName = Annotated[UUID, Path(description="The turn, as the event `accepted` named it.")]


@dataclass(frozen=True, slots=True)
class SaidTurn:
    """A turn, where it was said, and who reads it."""

    reader: Caller
    conversation: StoredConversation
    turn: Turn


async def open_turn_to_read(
    conversation: auth.ConversationToRead, context: Context, turn_id: TurnName
) -> Turn:
    """Open the turn of the path to read it, if it belongs to the conversation of the path."""
    return await _load_turn(conversation, context, TurnId(turn_id))


async def open_turn_to_cancel(
    conversation: auth.ConversationToCancelIn, context: Context, turn_id: TurnName
) -> Turn:
    """Open it to cancel it, which admins may as well."""
    return await _load_turn(conversation, context, TurnId(turn_id))


TurnToRead = Annotated[Turn, Depends(open_turn_to_read)]
TurnToCancel = Annotated[Turn, Depends(open_turn_to_cancel)]


def make_router() -> APIRouter:
    """The routes with which users talk."""
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
        asked: schemas.StartRequest,
        caller: auth.User,
        context: Context,
        key: Key = None,
    ) -> schemas.StartedAnswer:
        """Begin a conversation with a character.

        When this answers, an instance of the character was spawned and interviewed, and is ready to speak.
        """
        started = await context.deeds.start(caller, CharacterId(asked.character), asked.title, key)
        answer = presenters.started_to_schema(request, started)
        response.headers["Location"] = f"/api/v1/conversation/{answer.session_id}"
        return answer

    @router.post(
        "/conversation/{session_id:uuid}/messages",
        response_class=Response,
        responses={200: sse.DOCUMENTED, 204: {"description": "Nothing follows the last event."}},
    )
    async def say(
        *,
        conversation: auth.OwnConversation,
        caller: auth.User,
        context: Context,
        asked: schemas.SayRequest | None = None,
        key: Key = None,
        last: LastEvent = None,
        refuse_busy: Annotated[
            bool,
            Query(description="Refuse with `turn_running` if earlier messages still wait for their reply."),
        ] = False,
        glance: Glance = False,
    ) -> Response:
        """Say something, and read the reply as server-sent events.

        With `Last-Event-ID` nothing is said: the stream continues after that event, at any node. If the
        answer to a request was lost, repeat the request with the same `Idempotency-Key`.
        """
        with context.streams.open_until_answered(caller) as opened:
            if last:
                turn_id, _ = streams.parse_event_id(last)
                turn = await _load_turn(conversation, context, turn_id)
                said = SaidTurn(caller, conversation, turn)
                return _stream_turn(context, opened, said, last=last, glance=glance)
            if asked is None:
                raise errors.InputInvalid("a message has content")
            begun = await context.deeds.say(
                caller, conversation.id, asked.content, idempotency_key=key, refuse=refuse_busy, also=_ALSO
            )
            said = SaidTurn(caller, conversation, begun.turn)
            return _stream_turn(context, opened, said, begun.batches, glance=glance)

    @router.get(
        "/conversation/{session_id:uuid}/turns/{turn_id:uuid}/events",
        response_class=Response,
        responses={200: sse.DOCUMENTED, 204: {"description": "Nothing follows the last event."}},
    )
    async def follow_turn(
        *,
        conversation: auth.ConversationToRead,
        turn: TurnToRead,
        caller: auth.UserWithReason,
        context: Context,
        last: LastEvent = None,
        glance: Glance = False,
    ) -> Response:
        """Read the stream of a turn, from its beginning or after an event."""
        with context.streams.open_until_answered(caller) as opened:
            said = SaidTurn(caller, conversation, turn)
            return _stream_turn(context, opened, said, last=last, glance=glance)

    @router.get("/conversation/{session_id:uuid}/turns/{turn_id:uuid}")
    async def get_turn(turn: TurnToRead) -> schemas.TurnAnswer:
        """Show whether a turn has its reply, waits for it, or failed."""
        return presenters.turn_to_schema(turn)

    @router.post("/conversation/{session_id:uuid}/turns/{turn_id:uuid}/cancel")
    async def cancel_turn(
        turn: TurnToCancel, caller: auth.UserWithReason, context: Context
    ) -> schemas.TurnAnswer:
        """End a turn without a reply. A turn that has already ended stays as it is."""
        return presenters.turn_to_schema(await context.deeds.cancel_turn(caller, turn))

    @router.delete("/conversation/{session_id:uuid}", status_code=204)
    async def end_conversation(
        conversation: auth.ConversationToEnd, caller: auth.UserWithReason, context: Context
    ) -> None:
        """End a conversation. Unanswered messages are cancelled, its instance ends, its record stays."""
        await context.deeds.end(caller, conversation.id, _ENDED)


def _add_reading_routes(router: APIRouter) -> None:
    @router.get("/conversation/{session_id:uuid}", response_model=schemas.ConversationAnswer)
    async def get_conversation(conversation_id: auth.ConversationIdToRead, context: Context) -> Response:
        """Show a conversation: its instance, its unanswered messages, and its latest measures."""
        summary = await context.reading.history.read(
            lambda pool: summaries.load_summary(pool, conversation_id)
        )
        return presenters.json_response(presenters.encode_schema(presenters.summary_to_schema(summary)))

    @router.get("/conversation/{session_id:uuid}/messages", response_model=schemas.MessagesAnswer)
    async def list_messages(
        conversation_id: auth.ConversationIdToRead,
        context: Context,
        cursor: paging.Cursor = None,
        limit: paging.Limit = 50,
    ) -> Response:
        """List the newest messages, in the order in which they were said. `next` leads to earlier ones."""
        before = paging.seq_from_cursor(cursor)
        page = await context.reading.history.read(
            lambda pool: conversations.load_history(pool, conversation_id, before=before, limit=limit)
        )
        return presenters.json_response(presenters.page_to_json(page))

    @router.get("/conversations")
    async def list_conversations(
        *,
        request: Request,
        caller: auth.User,
        context: Context,
        cursor: paging.Cursor = None,
        limit: paging.Limit = 50,
    ) -> schemas.ConversationsAnswer:
        """List your own conversations, the newest first."""
        owner, before = access.require_user(caller), paging.id_from_cursor(cursor)
        if before is not None:
            opening = auth.get_context(request).require_access()
            await opening.open_to_speak(caller, ConversationId(before))
        last = None if before is None else ConversationId(before)

        async def load_page(pool: Pool) -> tuple[list[StoredConversation], Mapping[ConversationId, str]]:
            found = await conversations.list_of_owner(pool, owner, before=last, limit=limit + 1)
            return found, await conversations.load_openings(pool, [each.id for each in found[:limit]])

        found, openings = await context.reading.history.read(load_page)
        page = found[:limit]
        return schemas.ConversationsAnswer(
            conversations=tuple(
                presenters.conversation_to_entry(each, openings.get(each.id, "")) for each in page
            ),
            next=paging.cursor_from_id(page[-1].id) if len(found) > limit else None,
        )

    @router.get("/search")
    async def search_messages(
        caller: auth.User,
        context: Context,
        q: Annotated[
            str,
            Query(
                min_length=1,
                max_length=search.QUERY_LIMIT,
                description='Words, "phrases", `or`, and -words that must not occur.',
                examples=["lighthouse -storm"],
            ),
        ],
        session_id: Annotated[UUID | None, Query(description="Search this conversation only.")] = None,
        limit: Annotated[int, Query(ge=1, le=search.HITS_LIMIT)] = 20,
    ) -> schemas.SearchAnswer:
        """Search everything that you have said and that was said to you."""
        within = None if session_id is None else ConversationId(session_id)
        hits = await context.reading.searches.search(caller, q, within, limit)
        return schemas.SearchAnswer(
            found=tuple(map(presenters.hit_to_schema, hits)), complete=hits.complete
        )

    @router.get("/characters")
    async def list_characters(_: auth.User, context: Context) -> schemas.CharactersAnswer:
        """List the characters that you can talk with."""
        return schemas.CharactersAnswer(
            characters=tuple(
                schemas.CharacterAnswer(id=each.id, name=each.name, plate_version=each.version)
                for each in await characters.list_characters(context.pool)
            )
        )


async def _load_turn(
    conversation: StoredConversation, context: ConversationContext, turn_id: TurnId
) -> Turn:
    turn = await turns.load_turn(context.pool, turn_id)
    if turn.conversation != conversation.id:
        raise errors.NotFound("there is no such turn")
    return turn


def _stream_turn(
    context: ConversationContext,
    opened: OpenStream,
    said: SaidTurn,
    batches: sse.Batches | None = None,
    *,
    last: str | None = None,
    glance: bool,
) -> Response:
    """Stream a turn that was said now, as `batches` of it, or else after the `last` event that was read."""
    conversation, turn = said.conversation, said.turn
    position = sse.parse_position(turn.id, last)
    if sse.is_read_whole(turn, position):
        opened.close()
        return Response(status_code=204)
    if batches is None:
        batches = context.deeds.follow_batches(said.reader, turn, position, also=_ALSO)
    first = b"" if last else sse.encode_accepted(turn)

    async def load_more() -> Mapping[str, object]:
        seen, measured = await asyncio.gather(
            glances.load_glance(context, conversation), axes.load_axes(context, conversation)
        )
        return {"glance": seen.model_dump(mode="json"), "axes": measured.model_dump(mode="json")}

    return sse.stream_turn(
        turn.id, batches, context.shutdown, opened, first=first, load_more=load_more if glance else None
    )
