"""A conversation over a WebSocket: frames.py says what goes over it, and why it is closed.

Who calls is shown by a bearer header, an API key header, or, for browsers, by the subprotocols `ccn.v1` and
`ccn.bearer.CREDENTIAL`, so that no secret stands in an address. Every frame counts as a request, and every
frame asks again whether the credential still counts.

One task hears, one tells. While a message is being accepted nothing more is read, and while the client does
not read nothing more is told: the server stops reading from the connection, or waits until it drains.
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
from ccn.core.stream import START, EventKind, StreamEvent, StreamPosition
from ccn.gateway.accounts import access
from ccn.gateway.accounts.access import Caller
from ccn.gateway.http import auth, problems
from ccn.gateway.http.conversations import context, frames
from ccn.gateway.http.conversations.context import STOPPING, ConversationContext
from ccn.gateway.http.conversations.frames import CancelFrame, CloseCode, ResumeFrame, SayFrame
from ccn.gateway.http.conversations.sse import is_told_whole
from ccn.gateway.open_streams import OpenStream
from ccn.store.character import measures
from ccn.store.character.measures import ConversationMeasure
from ccn.store.conversations import conversations
from ccn.store.conversations.conversations import StoredConversation
from ccn.store.conversations.turns import Turn

log = structlog.get_logger(__name__)

PROTOCOL = "ccn.v1"
BEARER = "ccn.bearer."
WAITING_LIMIT = 16
"""Turns of one socket that may wait to be told."""
PATIENCE = 10
"""Frames in a row that make no sense, or come too fast, before the socket is closed."""
_MEASURED_S = (0.05, 0.1, 0.2, 0.4, 0.8, 1.5)
"""Between looks for what a reply measured; then whatever was measured last is told."""
_ELSEWHERE = "pages of this origin may not connect here: CCN_HTTP_CORS_ORIGINS names those that may"
_WORDS = {
    CloseCode.GOING: STOPPING,
    CloseCode.BINARY: "frames are text",
    CloseCode.IDLE: "nothing was said for too long",
    CloseCode.NONSENSE: "too many frames that make no sense",
    CloseCode.TOO_FAST: "too many messages after the limit was reached",
}

Queue = asyncio.Queue[tuple[Turn, StreamPosition]]


def install_origins(app: FastAPI, origins: Collection[str]) -> None:
    """Let pages of these origins open sockets at this application, besides its own."""
    app.state.origins = origins


async def identify_socket(socket: WebSocket) -> Caller | errors.CCNError:
    """Who wants to come in. What is wrong is a value here: a socket is opened to be told so."""
    try:
        caller = await auth.require_user(await auth.admit_anybody(socket, _read_credential(socket)))
        return auth.add_reason(caller, socket.headers.get("x-ccn-reason"))
    except errors.CCNError as refused:
        return refused


def make_router() -> APIRouter:
    """The one route."""
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
        with opened.stream, metrics.count_open_socket():
            # Not before the socket has its place: a client that is connected may open other streams, and
            # those must not take this place from it.
            await socket.accept(protocol)
            await opened.serve_until_end()

    return router


async def _open_socket(
    socket: WebSocket, session_id: str, caller: Caller | errors.CCNError
) -> _ConversationSocket | errors.CCNError:
    """Let the caller in and take a place for the socket; an error says why not."""
    try:
        if isinstance(caller, errors.CCNError):
            raise caller
        talking = await context.get_context(socket)
        conversation = await access.open_to_read(talking.pool, caller, _parse_conversation_id(session_id))
        opened = talking.streams.open_stream(caller)
    except errors.CCNError as refused:
        return refused
    return _ConversationSocket(socket, caller, conversation, talking, opened)


class _ConversationSocket:
    """One socket, let in; whoever serves it closes its `stream`."""

    def __init__(
        self,
        socket: WebSocket,
        caller: Caller,
        conversation: StoredConversation,
        talking: ConversationContext,
        opened: OpenStream,
    ) -> None:
        self._socket = socket
        self._caller = caller
        self._talking = talking
        self.stream = opened
        self._conversation = conversation.id
        self._owner = conversation.owner
        self._queue: Queue = asyncio.Queue(WAITING_LIMIT)
        self._idle = asyncio.Event()
        self._idle.set()
        self._measuring: asyncio.Task[None] | None = None

    async def serve_until_end(self) -> None:
        """Serve until the client leaves or may not stay, this node stops, or something fails; say which."""
        working: list[asyncio.Future[CloseCode]] = [
            asyncio.create_task(self._receive_frames(), name="socket hears"),
            asyncio.create_task(self._send_turns(), name="socket tells"),
            asyncio.create_task(self._wait_for_shutdown(), name="socket leaves"),
            self.stream.ended,
        ]
        with self._talking.shutdown.count_stream():
            try:
                done, _ = await asyncio.wait(working, return_when=asyncio.FIRST_COMPLETED)
                why, words = _outcome_of_task(done.pop())
            finally:
                ending: list[asyncio.Future[Any]] = [*working, *filter(None, (self._measuring,))]
                for task in ending:
                    task.cancel()
                await asyncio.gather(*ending, return_exceptions=True)
            await _close_socket(self._socket, why, words)

    async def _receive_frames(self) -> CloseCode:
        wrong = 0
        while True:
            heard = await self._next_frame()
            if heard is None:
                return CloseCode.IDLE
            if heard["type"] == "websocket.disconnect":
                return CloseCode.LEFT
            if heard.get("text") is None:
                return CloseCode.BINARY
            try:
                await auth.admit_anybody(self._socket, _read_credential(self._socket))
                await self._handle_frame(heard["text"])
                wrong = 0
            except errors.Unauthenticated:
                raise
            except errors.CCNError as refused:
                await self._socket.send_text(frames.encode_error(refused))
                wrong += isinstance(refused, errors.InputInvalid | errors.TooManyRequests)
                if wrong > PATIENCE:
                    too_fast = isinstance(refused, errors.TooManyRequests)
                    return CloseCode.TOO_FAST if too_fast else CloseCode.NONSENSE

    async def _next_frame(self) -> Message | None:
        """The next frame; None if there is none for too long while nothing is told either."""
        while True:
            try:
                async with asyncio.timeout(self._talking.streams.idle_s):
                    return await self._socket.receive()
            except TimeoutError:
                if self._idle.is_set():
                    return None

    async def _handle_frame(self, text: str) -> None:
        match frames.parse_frame(text):
            case SayFrame(content=content, idempotency_key=key, refuse_busy=refuse):
                if self._queue.full():
                    raise errors.Overloaded(f"{WAITING_LIMIT} replies wait to be told on this socket")
                access.require_owner(self._caller, self._owner)
                turn = await self._talking.conversations.say(
                    self._conversation,
                    content,
                    access.require_user(self._caller),
                    idempotency_key=key,
                    refuse=refuse,
                )
                await self._socket.send_text(
                    frames.encode_frame("accepted", turn.id, START, fields={"seq": turn.user_seq})
                )
                self._enqueue_turn(turn, START)
            case ResumeFrame(after=after):
                named, place = stream.parse_event_id(after)
                turn = await self._load_own_turn(named)
                if not is_told_whole(turn, place):
                    self._enqueue_turn(turn, place)
            case CancelFrame(turn_id=turn_id):
                await access.open_to_operate(self._talking.pool, self._caller, self._conversation, "cancel")
                turn = await self._load_own_turn(TurnId(turn_id))
                await self._talking.conversations.cancel_turn(turn.id)
            case never:
                assert_never(never)

    def _enqueue_turn(self, turn: Turn, place: StreamPosition) -> None:
        try:
            self._queue.put_nowait((turn, place))
        except asyncio.QueueFull:
            raise errors.Overloaded(f"{WAITING_LIMIT} replies wait to be told on this socket") from None
        self._idle.clear()

    async def _load_own_turn(self, turn: TurnId) -> Turn:
        found = await self._talking.conversations.load_turn(turn)
        if found.conversation != self._conversation:
            raise errors.NotFound("there is no such turn")
        return found

    async def _send_turns(self) -> CloseCode:
        while True:
            if self._queue.empty():
                self._idle.set()
            turn, place = await self._queue.get()
            async with aclosing(
                self._talking.conversations.follow_turn(turn.id, place, also=(EventKind.WAITING,))
            ) as pieces:
                async for told in pieces:
                    if told.kind is EventKind.DELTA:
                        await self._socket.send_text(frames.encode_delta(turn.id, told))
                    else:
                        await self._socket.send_text(await self._event_to_frame(turn.id, told))

    async def _event_to_frame(self, turn: TurnId, told: StreamEvent) -> str:
        """The frame for anything but some more text."""
        match told.kind:
            case EventKind.DONE:
                return await self._done_to_frame(turn, told)
            case EventKind.ERROR:
                return frames.encode_failure(turn, told)
            case EventKind.WAITING:
                return frames.encode_frame("waiting", turn, fields=orjson.loads(told.data))
            case EventKind.RESTART:
                return frames.encode_frame("restart", turn, told.position, fields={"reason": told.data})
            case _:
                return frames.encode_frame("cancelled", turn, told.position)

    async def _done_to_frame(self, turn: TurnId, told: StreamEvent) -> str:
        """The reply as it is in the record, whatever of it was told here; what it measures follows."""
        seq = (await self._talking.conversations.load_turn(turn)).reply_seq
        assert seq is not None, "what was committed has a reply"
        (said,) = await conversations.load_after(self._talking.pool, self._conversation, seq - 1, limit=1)
        known = await measures.load_latest(self._talking.pool, self._conversation)
        if self._measuring is not None:
            self._measuring.cancel()
        self._measuring = asyncio.create_task(self._send_metrics(seq), name="socket measures")
        told_of = _measure_fields(known) | orjson.loads(told.data or "{}")
        return frames.encode_frame(
            "response", turn, told.position, fields={"content": said.content or "", "metrics": told_of}
        )

    async def _send_metrics(self, seq: int) -> None:
        """Tell what the reply measured, or what was measured last when that takes too long."""
        known: ConversationMeasure | None = None
        try:
            for pause_s in _MEASURED_S:
                await asyncio.sleep(pause_s)
                known = await measures.load_latest(self._talking.pool, self._conversation)
                if known is not None and known.seq >= seq:
                    break
            await self._socket.send_text(frames.encode_frame("metrics", fields=_measure_fields(known)))
        except (errors.CCNError, WebSocketDisconnect) as failed:
            log.info("a socket was not told what a reply measured", reason=type(failed).__name__)

    async def _wait_for_shutdown(self) -> CloseCode:
        """When this node stops: at once if nothing is being told, else when it is or has to end."""
        leaving = self._talking.shutdown
        await leaving.stop.wait()
        due, idle = (
            asyncio.ensure_future(leaving.wait_until_due()),
            asyncio.ensure_future(self._idle.wait()),
        )
        try:
            await asyncio.wait({due, idle}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            due.cancel()
            idle.cancel()
        return CloseCode.GOING


def _read_credential(socket: WebSocket) -> str | None:
    """What was shown when the socket was opened."""
    scheme, _, shown = socket.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and shown:
        return shown.strip()
    if key := socket.headers.get("x-api-key"):
        return key
    offered = socket.scope.get("subprotocols", ())
    return next((each.removeprefix(BEARER) for each in offered if each.startswith(BEARER)), None)


def _is_origin_allowed(socket: WebSocket) -> bool:
    """Whether no page asks, or one that may: to sockets, browsers let any page connect."""
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


def _measure_fields(known: ConversationMeasure | None) -> dict[str, object]:
    names = ("ccc", "phi", "trust", "emergence", "drift", "seq")
    told = {} if known is None else asdict(known)
    return {name: told.get(name) for name in names}


def _code_of_error(refused: errors.CCNError) -> CloseCode:
    match refused:
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
    """Why a session is over, from whichever of its tasks ended first."""
    try:
        why = task.result()
    except WebSocketDisconnect:
        return CloseCode.LEFT, ""
    except errors.CCNError as refused:
        return _code_of_error(refused), str(refused)
    except Exception:  # the root of a session: its client is told, and the others are not concerned
        log.exception("a socket met a defect")
        return CloseCode.DEFECT, "this is a defect of the server; its log tells more"
    return why, _WORDS.get(why, "")


async def _close_socket(socket: WebSocket, why: CloseCode, words: str) -> None:
    if why is CloseCode.LEFT:
        return
    try:
        await socket.close(
            why, words.encode()[:120].decode(errors="ignore")
        )  # a frame has no room for more
    except (RuntimeError, WebSocketDisconnect):
        return  # the client was quicker
