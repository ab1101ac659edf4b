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
from ccn.core.stream import START, Kind, Place, Told
from ccn.gateway.accounts import access
from ccn.gateway.accounts.access import Caller
from ccn.gateway.http import auth, problems
from ccn.gateway.http.conversations import context, frames
from ccn.gateway.http.conversations.context import STOPPING, Talk
from ccn.gateway.http.conversations.frames import Cancel, Close, Resume, Say
from ccn.gateway.http.conversations.sse import told_whole
from ccn.gateway.open_streams import Open
from ccn.store.character import measures
from ccn.store.character.measures import Measure
from ccn.store.conversations import conversations
from ccn.store.conversations.conversations import Conversation
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
    Close.GOING: STOPPING,
    Close.BINARY: "frames are text",
    Close.IDLE: "nothing was said for too long",
    Close.NONSENSE: "too many frames that make no sense",
    Close.TOO_FAST: "too many messages after the limit was reached",
}

Queue = asyncio.Queue[tuple[Turn, Place]]


def install(app: FastAPI, origins: Collection[str]) -> None:
    """Let pages of these origins open sockets at this application, besides its own."""
    app.state.origins = origins


async def knocking(socket: WebSocket) -> Caller | errors.CCNError:
    """Who wants to come in. What is wrong is a value here: a socket is opened to be told so."""
    try:
        caller = await auth.user(await auth.anybody(socket, _credential(socket)))
        return auth.because(caller, socket.headers.get("x-ccn-reason"))
    except errors.CCNError as refused:
        return refused


def routes() -> APIRouter:
    """The one route."""
    router = APIRouter()

    @router.websocket("/ws/conversation/{session_id}")
    async def conversation(
        socket: WebSocket, session_id: str, caller: Annotated[Caller | errors.CCNError, Depends(knocking)]
    ) -> None:
        if not _from_here(socket):
            await socket.send_denial_response(problems.answer(errors.Forbidden(_ELSEWHERE)))
            return
        offered = socket.scope.get("subprotocols", ())
        await socket.accept(PROTOCOL if PROTOCOL in offered else None)
        try:
            if isinstance(caller, errors.CCNError):
                raise caller
            talking = await context.of(socket)
            here = await access.look_into(talking.pool, caller, _named(session_id))
            opened = talking.streams.open(caller)
        except errors.CCNError as refused:
            await socket.send_text(frames.error(refused))
            await _close(socket, _reason(refused), str(refused))
            return
        with opened, metrics.socket_open(), talking.leaving.stream():
            await _Session(socket, caller, here, talking).last(opened)

    return router


class _Session:
    """One socket."""

    def __init__(self, socket: WebSocket, caller: Caller, here: Conversation, talking: Talk) -> None:
        self._socket, self._caller, self._talking = socket, caller, talking
        self._here, self._owner = here.id, here.owner
        self._queue: Queue = asyncio.Queue(WAITING_LIMIT)
        self._idle = asyncio.Event()
        self._idle.set()
        self._measuring: asyncio.Task[None] | None = None

    async def last(self, opened: Open) -> None:
        """Until the client leaves or may not stay, this node has to, or something ends it; say which."""
        working: list[asyncio.Future[Close]] = [
            asyncio.create_task(self._hear(), name="socket hears"),
            asyncio.create_task(self._tell(), name="socket tells"),
            asyncio.create_task(self._leave(), name="socket leaves"),
            opened.ended,
        ]
        try:
            done, _ = await asyncio.wait(working, return_when=asyncio.FIRST_COMPLETED)
            why, words = _ended(done.pop())
        finally:
            ending: list[asyncio.Future[Any]] = [*working, *filter(None, (self._measuring,))]
            for task in ending:
                task.cancel()
            await asyncio.gather(*ending, return_exceptions=True)
        await _close(self._socket, why, words)

    async def _hear(self) -> Close:
        wrong = 0
        while True:
            heard = await self._next()
            if heard is None:
                return Close.IDLE
            if heard["type"] == "websocket.disconnect":
                return Close.LEFT
            if heard.get("text") is None:
                return Close.BINARY
            try:
                await auth.anybody(self._socket, _credential(self._socket))
                await self._take(heard["text"])
                wrong = 0
            except errors.Unauthenticated:
                raise
            except errors.CCNError as refused:
                await self._socket.send_text(frames.error(refused))
                wrong += isinstance(refused, errors.InputInvalid | errors.TooManyRequests)
                if wrong > PATIENCE:
                    too_fast = isinstance(refused, errors.TooManyRequests)
                    return Close.TOO_FAST if too_fast else Close.NONSENSE

    async def _next(self) -> Message | None:
        """The next frame; None if there is none for too long while nothing is told either."""
        while True:
            try:
                async with asyncio.timeout(self._talking.streams.idle_s):
                    return await self._socket.receive()
            except TimeoutError:
                if self._idle.is_set():
                    return None

    async def _take(self, text: str) -> None:
        match frames.read(text):
            case Say(content=content, idempotency_key=key, refuse_busy=refuse):
                if self._queue.full():
                    raise errors.Overloaded(f"{WAITING_LIMIT} replies wait to be told on this socket")
                access.require_own(self._caller, self._owner)
                turn = await self._talking.conversations.say(
                    self._here, content, access.speaker(self._caller), idempotency_key=key, refuse=refuse
                )
                await self._socket.send_text(
                    frames.frame("accepted", turn.id, START, fields={"seq": turn.user_seq})
                )
                self._follow(turn, START)
            case Resume(after=after):
                named, place = stream.resumed(after)
                turn = await self._own(named)
                if not told_whole(turn, place):
                    self._follow(turn, place)
            case Cancel(turn_id=turn_id):
                await access.operate(self._talking.pool, self._caller, self._here, "cancel")
                turn = await self._own(TurnId(turn_id))
                await self._talking.conversations.cancel(turn.id)
            case never:
                assert_never(never)

    def _follow(self, turn: Turn, place: Place) -> None:
        try:
            self._queue.put_nowait((turn, place))
        except asyncio.QueueFull:
            raise errors.Overloaded(f"{WAITING_LIMIT} replies wait to be told on this socket") from None
        self._idle.clear()

    async def _own(self, turn: TurnId) -> Turn:
        found = await self._talking.conversations.turn(turn)
        if found.conversation != self._here:
            raise errors.NotFound("there is no such turn")
        return found

    async def _tell(self) -> Close:
        while True:
            if self._queue.empty():
                self._idle.set()
            turn, place = await self._queue.get()
            async with aclosing(
                self._talking.conversations.follow(turn.id, place, also=(Kind.WAITING,))
            ) as pieces:
                async for told in pieces:
                    if told.kind is Kind.DELTA:
                        await self._socket.send_text(frames.delta(turn.id, told))
                    else:
                        await self._socket.send_text(await self._said(turn.id, told))

    async def _said(self, turn: TurnId, told: Told) -> str:
        """The frame for anything but some more text."""
        match told.kind:
            case Kind.DONE:
                return await self._response(turn, told)
            case Kind.ERROR:
                return frames.failed(turn, told)
            case Kind.WAITING:
                return frames.frame("waiting", turn, fields=orjson.loads(told.data))
            case Kind.RESTART:
                return frames.frame("restart", turn, told.place, fields={"reason": told.data})
            case _:
                return frames.frame("cancelled", turn, told.place)

    async def _response(self, turn: TurnId, told: Told) -> str:
        """The reply as it is in the record, whatever of it was told here; what it measures follows."""
        seq = (await self._talking.conversations.turn(turn)).reply_seq
        assert seq is not None, "what was committed has a reply"
        (said,) = await conversations.after(self._talking.pool, self._here, seq - 1, limit=1)
        known = await measures.latest(self._talking.pool, self._here)
        if self._measuring is not None:
            self._measuring.cancel()
        self._measuring = asyncio.create_task(self._measured(seq), name="socket measures")
        told_of = _measures(known) | orjson.loads(told.data or "{}")
        return frames.frame(
            "response", turn, told.place, fields={"content": said.content or "", "metrics": told_of}
        )

    async def _measured(self, seq: int) -> None:
        """Tell what the reply measured, or what was measured last when that takes too long."""
        known: Measure | None = None
        try:
            for pause_s in _MEASURED_S:
                await asyncio.sleep(pause_s)
                known = await measures.latest(self._talking.pool, self._here)
                if known is not None and known.seq >= seq:
                    break
            await self._socket.send_text(frames.frame("metrics", fields=_measures(known)))
        except (errors.CCNError, WebSocketDisconnect) as failed:
            log.info("a socket was not told what a reply measured", reason=type(failed).__name__)

    async def _leave(self) -> Close:
        """When this node stops: at once if nothing is being told, else when it is or has to end."""
        leaving = self._talking.leaving
        await leaving.stop.wait()
        due, idle = asyncio.ensure_future(leaving.due()), asyncio.ensure_future(self._idle.wait())
        try:
            await asyncio.wait({due, idle}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            due.cancel()
            idle.cancel()
        return Close.GOING


def _credential(socket: WebSocket) -> str | None:
    """What was shown when the socket was opened."""
    scheme, _, shown = socket.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and shown:
        return shown.strip()
    if key := socket.headers.get("x-api-key"):
        return key
    offered = socket.scope.get("subprotocols", ())
    return next((each.removeprefix(BEARER) for each in offered if each.startswith(BEARER)), None)


def _from_here(socket: WebSocket) -> bool:
    """Whether no page asks, or one that may: to sockets, browsers let any page connect."""
    origin = socket.headers.get("origin")
    if origin is None or origin in socket.app.state.origins:
        return True
    scheme, _, host = origin.partition("://")
    return scheme in {"http", "https"} and host == socket.headers.get("host")


def _named(session_id: str) -> ConversationId:
    try:
        return ConversationId(UUID(session_id))
    except ValueError:
        raise errors.NotFound(access.NO_SUCH) from None


def _measures(known: Measure | None) -> dict[str, object]:
    names = ("ccc", "phi", "trust", "emergence", "drift", "seq")
    told = {} if known is None else asdict(known)
    return {name: told.get(name) for name in names}


def _reason(refused: errors.CCNError) -> Close:
    match refused:
        case errors.Forbidden():
            return Close.FORBIDDEN
        case errors.NotAllowed():
            return Close.UNAUTHENTICATED
        case errors.NotFound():
            return Close.NOT_FOUND
        case errors.TooManyRequests():
            return Close.TOO_FAST
        case errors.Unavailable() | errors.OutcomeUnknown():
            return Close.LATER
        case _:
            return Close.DEFECT


def _ended(task: asyncio.Future[Close]) -> tuple[Close, str]:
    """Why a session is over, from whichever of its tasks ended first."""
    try:
        why = task.result()
    except WebSocketDisconnect:
        return Close.LEFT, ""
    except errors.CCNError as refused:
        return _reason(refused), str(refused)
    except Exception:  # the root of a session: its client is told, and the others are not concerned
        log.exception("a socket met a defect")
        return Close.DEFECT, "this is a defect of the server; its log tells more"
    return why, _WORDS.get(why, "")


async def _close(socket: WebSocket, why: Close, words: str) -> None:
    if why is Close.LEFT:
        return
    try:
        await socket.close(
            why, words.encode()[:120].decode(errors="ignore")
        )  # a frame has no room for more
    except (RuntimeError, WebSocketDisconnect):
        return  # the client was quicker
