"""A conversation over a WebSocket: frames.py lists the frames, and the codes it is closed with.

A client shows its credential in a bearer header, in an API key header, or, in a browser, by the
subprotocols `ccn.v1` and `ccn.bearer.CREDENTIAL`, so that no secret stands in an address. Every frame
counts as a request, and with every frame the credential is checked again.

One task receives, one sends. While a message is being accepted, no further frame is read; while the client
does not read, no further frame is sent: the server stops reading from the connection, or waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from contextlib import aclosing
from dataclasses import asdict
from typing import Annotated, Any, assert_never
from uuid import UUID

import orjson
import structlog
from fastapi import APIRouter, Depends, FastAPI
from starlette.types import Message
from starlette.websockets import WebSocket, WebSocketDisconnect

from ccn import errors, metrics
from ccn.core import stream
from ccn.core.ids import ConversationId, TurnId
from ccn.core.stream import START, EventKind, StreamEvent
from ccn.gateway.accounts import access
from ccn.gateway.accounts.access import Caller
from ccn.gateway.http import auth, problems
from ccn.gateway.http.conversations import frames
from ccn.gateway.http.conversations.context import STOPPING, ConversationContext, get_context
from ccn.gateway.http.conversations.frames import CancelFrame, CloseCode, ResumeFrame, SayFrame
from ccn.gateway.http.conversations.sse import Batches, is_read_whole
from ccn.gateway.open_streams import OpenStream
from ccn.store.character import measures
from ccn.store.character.measures import ConversationMeasure
from ccn.store.conversations import conversations, turns
from ccn.store.conversations.conversations import StoredConversation
from ccn.store.conversations.turns import Turn

log = structlog.get_logger(__name__)

PROTOCOL = "ccn.v1"
BEARER = "ccn.bearer."
_ALSO = (EventKind.WAITING,)
WAITING_LIMIT = 16
"""The turns of one socket that may wait to be sent."""
PATIENCE = 10
"""Frames in a row that are invalid, or come too fast, before the socket is closed."""
_MEASURED_S = (0.05, 0.1, 0.2, 0.4, 0.8, 1.5)
"""The pauses between looks for the measures of a reply; after the last, the newest measures are sent."""
_ELSEWHERE = "pages of this origin may not connect here: CCN_HTTP_CORS_ORIGINS names those that may"
_TOO_MANY_WAIT = f"{WAITING_LIMIT} replies wait to be sent on this socket"
_REASONS = {
    CloseCode.GOING: STOPPING,
    CloseCode.BINARY: "frames are text",
    CloseCode.IDLE: "nothing was said for too long",
    CloseCode.NONSENSE: "too many frames that make no sense",
    CloseCode.TOO_FAST: "too many messages after the limit was reached",
}

Queue = asyncio.Queue[tuple[Turn, Batches]]


def install_origins(app: FastAPI, origins: Collection[str]) -> None:
    """Allow pages of these origins to open sockets at this application, besides its own page."""
    app.state.origins = origins


async def identify_socket(socket: WebSocket) -> Caller | errors.CCNError:
    """Identify who opens a socket. An error is returned, because it is sent over the opened socket."""
    try:
        caller = await auth.require_user(await auth.admit_anybody(socket, _read_credential(socket)))
        return auth.add_reason(caller, socket.headers.get("x-ccn-reason"))
    except errors.CCNError as refused:
        return refused


def make_router() -> APIRouter:
    """The route of the WebSocket."""
    router = APIRouter()

    @router.websocket("/ws/conversation/{session_id}")
    async def serve_socket(
        socket: WebSocket,
        session_id: str,
        caller: Annotated[Caller | errors.CCNError, Depends(identify_socket)],
    ) -> None:
        if not _is_origin_allowed(socket):
            await socket.send_denial_response(problems.answer_error(errors.Forbidden(_ELSEWHERE)))
            return
        offered = socket.scope.get("subprotocols", ())
        protocol = PROTOCOL if PROTOCOL in offered else None
        opened = await _open_socket(socket, session_id, caller)
        if isinstance(opened, errors.CCNError):
            await socket.accept(protocol)
            await socket.send_text(frames.encode_error(opened))
            await _close_socket(socket, _code_of_error(opened), str(opened))
            return
        with opened.stream, metrics.doors.count_open_socket():
            # Accepted only now that the socket has its place: a client that is connected may open other
            # streams, and those must not take the place of this one.
            await socket.accept(protocol)
            await opened.serve_until_end()

    return router


async def _open_socket(
    socket: WebSocket, session_id: str, caller: Caller | errors.CCNError
) -> _ConversationSocket | errors.CCNError:
    """Let the caller into the conversation and take a place for the socket; or return why not."""
    try:
        if isinstance(caller, errors.CCNError):
            raise caller
        context = await get_context(socket)
        opening = auth.get_context(socket).require_access()
        conversation = await opening.open_to_read(caller, _parse_conversation_id(session_id))
        opened = context.streams.open_stream(caller)
    except errors.CCNError as refused:
        return refused
    return _ConversationSocket(socket, caller, conversation, context, opened)


class _ConversationSocket:
    """One socket that was let in. Its `stream` has to be closed after it was served."""

    def __init__(
        self,
        socket: WebSocket,
        caller: Caller,
        conversation: StoredConversation,
        context: ConversationContext,
        opened: OpenStream,
    ) -> None:
        self._socket = socket
        self._opening = auth.get_context(socket).require_access()
        self._caller = caller
        self._context = context
        self.stream = opened
        self._conversation = conversation.id
        self._owner = conversation.owner
        self._queue: Queue = asyncio.Queue(WAITING_LIMIT)
        self._idle = asyncio.Event()
        self._idle.set()
        self._measuring: asyncio.Task[None] | None = None

    async def serve_until_end(self) -> None:
        """Serve until the client leaves or may not stay, this node stops, or something fails; send why."""
        working: list[asyncio.Future[CloseCode]] = [
            asyncio.create_task(self._receive_frames(), name="socket receives"),
            asyncio.create_task(self._send_turns(), name="socket sends"),
            asyncio.create_task(self._wait_for_shutdown(), name="socket waits for shutdown"),
            self.stream.ended,
        ]
        with self._context.shutdown.count_stream():
            try:
                done, _ = await asyncio.wait(working, return_when=asyncio.FIRST_COMPLETED)
                code, reason = _outcome_of_task(done.pop())
            finally:
                ending: list[asyncio.Future[Any]] = [*working, *filter(None, (self._measuring,))]
                for task in ending:
                    task.cancel()
                await asyncio.gather(*ending, return_exceptions=True)
                await self._close_unread()
            await _close_socket(self._socket, code, reason)

    async def _receive_frames(self) -> CloseCode:
        wrong_in_a_row = 0
        while True:
            message = await self._next_message()
            if message is None:
                return CloseCode.IDLE
            if message["type"] == "websocket.disconnect":
                return CloseCode.LEFT
            if message.get("text") is None:
                return CloseCode.BINARY
            try:
                await auth.admit_anybody(self._socket, _read_credential(self._socket))
                await self._handle_frame(message["text"])
                wrong_in_a_row = 0
            except errors.Unauthenticated:
                raise
            except errors.CCNError as refused:
                await self._socket.send_text(frames.encode_error(refused))
                if isinstance(refused, errors.InputInvalid | errors.TooManyRequests):
                    wrong_in_a_row += 1
                if wrong_in_a_row > PATIENCE:
                    too_fast = isinstance(refused, errors.TooManyRequests)
                    return CloseCode.TOO_FAST if too_fast else CloseCode.NONSENSE

    async def _next_message(self) -> Message | None:
        """Receive a message; None if none came for too long and nothing was being sent either."""
        while True:
            try:
                async with asyncio.timeout(self._context.streams.idle_s):
                    return await self._socket.receive()
            except TimeoutError:
                if self._idle.is_set():
                    return None

    async def _handle_frame(self, text: str) -> None:
        match frames.parse_frame(text):
            case SayFrame(content=content, idempotency_key=key, refuse_busy=refuse):
                if self._queue.full():  # before anything is said: a message that counts has to be followed
                    raise errors.Overloaded(_TOO_MANY_WAIT)
                access.require_owner(self._caller, self._owner)
                begun = await self._context.deeds.say(
                    self._caller,
                    self._conversation,
                    content,
                    idempotency_key=key,
                    refuse=refuse,
                    also=_ALSO,
                )
                turn = begun.turn
                await self._socket.send_text(
                    frames.encode_frame("accepted", turn.id, START, fields={"seq": turn.user_seq})
                )
                self._enqueue_turn(turn, begun.batches)
            case ResumeFrame(after=after):
                named, position = stream.parse_event_id(after)
                turn = await self._load_own_turn(named)
                if not is_read_whole(turn, position):
                    following = self._context.deeds.follow_batches(self._caller, turn, position, also=_ALSO)
                    self._enqueue_turn(turn, following)
            case CancelFrame(turn_id=turn_id):
                await self._opening.open_to_operate(self._caller, self._conversation, "cancel")
                turn = await self._load_own_turn(TurnId(turn_id))
                await self._context.deeds.cancel_turn(self._caller, turn)
            case never:
                assert_never(never)

    def _enqueue_turn(self, turn: Turn, batches: Batches) -> None:
        try:
            self._queue.put_nowait((turn, batches))
        except asyncio.QueueFull:
            raise errors.Overloaded(_TOO_MANY_WAIT) from None
        self._idle.clear()

    async def _load_own_turn(self, turn_id: TurnId) -> Turn:
        turn = await turns.load_turn(self._context.pool, turn_id)
        if turn.conversation != self._conversation:
            raise errors.NotFound("there is no such turn")
        return turn

    async def _send_turns(self) -> CloseCode:
        while True:
            if self._queue.empty():
                self._idle.set()
            turn, following = await self._queue.get()
            async with aclosing(following) as batches:
                async for batch in batches:
                    for event in batch:
                        await self._send_event(turn.id, event)

    async def _close_unread(self) -> None:
        while not self._queue.empty():
            _, batches = self._queue.get_nowait()
            await batches.aclose()

    async def _send_event(self, turn: TurnId, event: StreamEvent) -> None:
        if event.kind is EventKind.DELTA:
            await self._socket.send_text(frames.encode_delta(turn, event))
        else:
            await self._socket.send_text(await self._event_to_frame(turn, event))

    async def _event_to_frame(self, turn: TurnId, event: StreamEvent) -> str:
        """The frame for any event but a delta."""
        match event.kind:
            case EventKind.DONE:
                return await self._done_to_frame(turn, event)
            case EventKind.ERROR:
                return frames.encode_failure(turn, event)
            case EventKind.WAITING:
                return frames.encode_frame("waiting", turn, fields=orjson.loads(event.data))
            case EventKind.RESTART:
                return frames.encode_frame("restart", turn, event.position, fields={"reason": event.data})
            case _:
                return frames.encode_frame("cancelled", turn, event.position)

    async def _done_to_frame(self, turn_id: TurnId, done: StreamEvent) -> str:
        """The frame with the whole reply from the record; a task sends its measures once there are any."""
        seq = (await turns.load_turn(self._context.pool, turn_id)).reply_seq
        assert seq is not None, "what was committed has a reply"
        (reply,) = await conversations.load_after(self._context.pool, self._conversation, seq - 1, limit=1)
        measure = await measures.load_latest(self._context.pool, self._conversation)
        if self._measuring is not None:  # only the newest reply is waited for
            self._measuring.cancel()
        self._measuring = asyncio.create_task(self._send_metrics(seq), name="socket measures")
        fields = {
            "content": reply.content or "",
            "metrics": _measure_fields(measure) | orjson.loads(done.data or "{}"),
        }
        return frames.encode_frame("response", turn_id, done.position, fields=fields)

    async def _send_metrics(self, seq: int) -> None:
        """Send the measures of the reply, or the newest there are if they take too long."""
        measure: ConversationMeasure | None = None
        try:
            for pause_s in _MEASURED_S:
                await asyncio.sleep(pause_s)
                measure = await measures.load_latest(self._context.pool, self._conversation)
                if measure is not None and measure.seq >= seq:
                    break
            await self._socket.send_text(frames.encode_frame("metrics", fields=_measure_fields(measure)))
        except (errors.CCNError, WebSocketDisconnect) as failed:
            log.info("a socket was not told what a reply measured", reason=type(failed).__name__)

    async def _wait_for_shutdown(self) -> CloseCode:
        """Wait until this node stops, and then until no reply is being sent or streams have to end."""
        shutdown = self._context.shutdown
        await shutdown.stop.wait()
        due = asyncio.ensure_future(shutdown.wait_until_due())
        idle = asyncio.ensure_future(self._idle.wait())
        try:
            await asyncio.wait({due, idle}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            due.cancel()
            idle.cancel()
        return CloseCode.GOING


def _read_credential(socket: WebSocket) -> str | None:
    """The credential that came with the request to open the socket."""
    scheme, _, token = socket.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token:
        return token.strip()
    if key := socket.headers.get("x-api-key"):
        return key
    offered = socket.scope.get("subprotocols", ())
    return next((each.removeprefix(BEARER) for each in offered if each.startswith(BEARER)), None)


def _is_origin_allowed(socket: WebSocket) -> bool:
    """Whether no page asks, or one that may: browsers let any page connect to sockets."""
    origin = socket.headers.get("origin")
    if origin is None or origin in socket.app.state.origins:
        return True
    scheme, _, host = origin.partition("://")
    return scheme in {"http", "https"} and host == socket.headers.get("host")


def _parse_conversation_id(session_id: str) -> ConversationId:
    try:
        return ConversationId(UUID(session_id))
    except ValueError:
        raise errors.NotFound(access.NO_SUCH) from None


def _measure_fields(measure: ConversationMeasure | None) -> dict[str, object]:
    names = ("ccc", "phi", "trust", "emergence", "drift", "seq")
    fields = {} if measure is None else asdict(measure)
    return {name: fields.get(name) for name in names}


def _code_of_error(error: errors.CCNError) -> CloseCode:
    match error:
        case errors.Forbidden():
            return CloseCode.FORBIDDEN
        case errors.NotAllowed():
            return CloseCode.UNAUTHENTICATED
        case errors.NotFound():
            return CloseCode.NOT_FOUND
        case errors.TooManyRequests():
            return CloseCode.TOO_FAST
        case errors.Unavailable() | errors.OutcomeUnknown():
            return CloseCode.LATER
        case _:
            return CloseCode.DEFECT


def _outcome_of_task(task: asyncio.Future[CloseCode]) -> tuple[CloseCode, str]:
    """The code and the reason to close a socket with, from the task of it that ended first."""
    try:
        code = task.result()
    except WebSocketDisconnect:
        return CloseCode.LEFT, ""
    except errors.CCNError as refused:
        return _code_of_error(refused), str(refused)
    except Exception:  # the root of a socket: its client is told, and other sockets go on
        log.exception("a socket met a defect")
        return CloseCode.DEFECT, "this is a defect of the server; its log tells more"
    return code, _REASONS.get(code, "")


async def _close_socket(socket: WebSocket, code: CloseCode, reason: str) -> None:
    if code is CloseCode.LEFT:
        return
    fitting = reason.encode()[:120].decode(errors="ignore")  # a frame has no room for more
    try:
        await socket.close(code, fitting)
    except (RuntimeError, WebSocketDisconnect):
        return  # the client was quicker
