"""A turn as server-sent events: every piece as soon as it is told, and an id from which any node goes on.

    accepted   the message is durable: `turn_id`, and `seq`, its place in the conversation
    delta      some more of the reply: `text`
    waiting    the model is asked again: `number`, `most` (tries), `pause_s`, `reason`; it has no id
    restart    the text so far is void, the reply begins anew: `reason`
    done       the reply is committed: `stop`, `model`, `usage`; with `?glance=true` also `glance`, `axes`
    error      there will be no reply: `code`, `detail`; without an id, only this reader hears no more of it
    cancelled  there will be no reply, because somebody asked for none
    resume     this stream ends here and the turn does not: ask any node, with the last id: `reason`

Nothing follows `done`, `error` and `cancelled`. Lines that begin with a colon are pings. Each piece is
encoded once and sent as it is, without a task, a queue or a lock: a slow reader delays only itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import orjson
from fastapi.responses import Response
from starlette.types import Receive, Scope, Send

from ccn import errors
from ccn.core import error_codes, stream
from ccn.core import turn as states
from ccn.core.ids import TurnId
from ccn.core.stream import EventKind, StreamEvent, StreamPosition
from ccn.gateway.http.conversations.context import STOPPING, StreamShutdown
from ccn.gateway.open_streams import OpenStream
from ccn.store.conversations.turns import Turn

PING_S = 15.0
"""How long a stream is silent before it says that it is still there: proxies wait half a minute."""

_RETRY = b"retry: 1000\n"
"""In the first event: alone it would be one without data, which some clients hand to their callers."""
_PING = b": ping\n\n"
_HEADERS = {
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # nginx would collect the pieces
}
_EVENTS = {kind: b"\nevent: %b\ndata: " % kind.value.encode() for kind in EventKind}

LoadMore = Callable[[], Awaitable[Mapping[str, object]]]
"""What a reader wants to be told together with the end of a reply."""

EXAMPLE = (
    "id: 0197b2a4-5c1e-7d3a-9f00-2b6c1d4e8f01:0-0\n"
    "event: accepted\n"
    'data: {"turn_id":"0197b2a4-5c1e-7d3a-9f00-2b6c1d4e8f01","seq":7}\n\n'
    "id: 0197b2a4-5c1e-7d3a-9f00-2b6c1d4e8f01:1-1\n"
    "event: delta\n"
    'data: {"text":"The lamp "}\n\n'
    "id: 0197b2a4-5c1e-7d3a-9f00-2b6c1d4e8f01:1-2\n"
    "event: done\n"
    'data: {"stop":"end_turn","model":"claude-sonnet-5-5",'
    '"usage":{"input":40,"output":3,"cache_read":2100,"cache_write":0}}\n\n'
)
EVENT: dict[str, Any] = {
    # Without a type: some tools take it for the whole stream, which is text, and some for one event.
    "title": "Server-sent events",
    "description": "To be read as they come: blocks of lines `id`, `event` and "
    "`data`, the data being a JSON object. A client that knows no such streams gets all of it as one text "
    "at the end.",
}
DOCUMENTED: dict[str, Any] = {
    "description": "The reply as it is spoken: events `accepted`, `delta`, `waiting`, `restart`, `done`, "
    "`error`, `cancelled` and `resume`. Resume after the last id that was seen; not every event has one.",
    "content": {"text/event-stream": {"schema": EVENT, "example": EXAMPLE}},
}


class EventStream(Response):
    """Sends chunks as they come, a ping when none do, and an end that tells why."""

    media_type = "text/event-stream"
    ping = _PING

    def __init__(
        self,
        chunks: AsyncGenerator[bytes],
        leaving: StreamShutdown,
        opened: OpenStream,
        headers: Mapping[str, str] = MappingProxyType({}),
        ping_s: float = PING_S,
    ) -> None:
        self._chunks, self._leaving, self._opened, self._ping_s = chunks, leaving, opened, ping_s
        self.status_code, self.background = 200, None
        self.init_headers({**_HEADERS, **headers})

    def cut_event(self, reason: str) -> bytes:
        """What is said when the stream has to end before it is over."""
        return encode_resume(reason)

    def refusal_event(self, why: errors.CCNError) -> bytes:
        """What is said when the reader may hear no more."""
        return encode_refusal(why)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Tell until the turn ends, the reader leaves, or this node or the reader's account has to."""
        del scope
        with self._opened, self._leaving.count_stream():
            async with aclosing(self._chunks):
                await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                last = await self._wait_for_end(receive, send)
            await send({"type": "http.response.body", "body": last, "more_body": False})

    async def _wait_for_end(self, receive: Receive, send: Send) -> bytes:
        """What is to be said last."""
        telling = asyncio.create_task(self._send_chunks(send), name="stream")
        due = asyncio.create_task(self._leaving.wait_until_due(), name="stream due")
        others = (
            due,
            asyncio.create_task(_wait_for_disconnect(receive), name="stream reader"),
            asyncio.create_task(self._send_pings(send), name="stream pings"),
        )
        ended = self._opened.ended
        try:
            await asyncio.wait((telling, ended, *others), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (telling, *others):
                task.cancel()
            await asyncio.gather(telling, *others, return_exceptions=True)
        if not telling.cancelled():
            return telling.result()
        if isinstance(why := ended.exception() if ended.done() else None, errors.CCNError):
            return self.refusal_event(why)
        return b"" if due.cancelled() else self.cut_event(STOPPING)

    async def _send_chunks(self, send: Send) -> bytes:
        try:
            async for chunk in self._chunks:
                await _send_body(send, chunk)
        except (errors.Unavailable, errors.OutcomeUnknown) as broken:
            return self.cut_event(str(broken))
        return b""

    async def _send_pings(self, send: Send) -> None:
        while True:
            await asyncio.sleep(self._ping_s)
            await _send_body(send, self.ping)


def stream_turn(
    turn: TurnId,
    told: AsyncGenerator[StreamEvent],
    leaving: StreamShutdown,
    opened: OpenStream,
    *,
    first: bytes = b"",
    more: LoadMore | None = None,
) -> EventStream:
    """The response that tells one turn."""
    return EventStream(_encode_events(id_prefix(turn), told, first, more), leaving, opened)


async def _encode_events(
    of_turn: bytes, pieces: AsyncGenerator[StreamEvent], first: bytes, more: LoadMore | None
) -> AsyncGenerator[bytes]:
    async with aclosing(pieces):
        retry = _RETRY
        if first:
            yield retry + first
            retry = b""
        async for told in pieces:
            if told.kind is EventKind.DONE and more is not None:
                told = await _extend_done(told, more)  # noqa: PLW2901 - the same piece, and more
            yield retry + encode_event(of_turn, told)
            retry = b""


async def _extend_done(done: StreamEvent, more: LoadMore) -> StreamEvent:
    """The end of a reply and more; just the end if that cannot be had now."""
    try:
        found = await more()
    except errors.CCNError:
        return done
    return replace(done, data=orjson.dumps(orjson.loads(done.data or "{}") | dict(found)).decode())


def id_prefix(turn: TurnId) -> bytes:
    """What the ids of a turn's events begin with."""
    return b"id: %b:" % str(turn).encode()


def encode_event(of_turn: bytes, told: StreamEvent) -> bytes:
    """A piece as an event."""
    if told.kind is EventKind.WAITING:  # no place to go on from: the last id stays
        return b"event: waiting\ndata: %b\n\n" % encode_data(told)
    place = told.position
    return b"%b%d-%d%b%b\n\n" % (of_turn, place.epoch, place.number, _EVENTS[told.kind], encode_data(told))


def encode_data(told: StreamEvent) -> bytes:
    """What a piece says, as one JSON object on one line."""
    match told.kind:
        case EventKind.DELTA:
            return orjson.dumps({"text": told.data})
        case EventKind.RESTART:
            return orjson.dumps({"reason": told.data})
        case EventKind.DONE:
            return told.data.encode() or b"{}"  # it is such an object already
        case EventKind.ERROR:
            return orjson.dumps(parse_failure(told.data))
        case EventKind.WAITING | EventKind.BEGUN:
            return told.data.encode()
        case EventKind.CANCELLED:
            return b"{}"


def encode_accepted(turn: Turn) -> bytes:
    """The first event of a stream that begins at the beginning."""
    told = orjson.dumps({"turn_id": str(turn.id), "seq": turn.user_seq})
    return b"%b0-0\nevent: accepted\ndata: %b\n\n" % (id_prefix(turn.id), told)


def encode_resume(reason: str) -> bytes:
    """The last event of a stream that ends before its turn; it has no id, so the last id stays."""
    return b"event: resume\ndata: %b\n\n" % orjson.dumps({"reason": reason})


def encode_refusal(why: errors.CCNError) -> bytes:
    """The last event of a stream that its reader may read no further; the turn goes on."""
    told = {"code": error_codes.code_from_name(type(why).__name__), "detail": str(why)}
    return b"event: error\ndata: %b\n\n" % orjson.dumps(told)


def parse_failure(told: str) -> Mapping[str, str]:
    """Why a turn got no reply, with a code like those of problems."""
    try:
        known = orjson.loads(told)
    except orjson.JSONDecodeError:
        known = {"error": told}  # of a turn whose stream is kept no longer, the kind is what is left
    return {
        "code": error_codes.code_from_name(str(known.get("error") or "unknown")),
        "detail": known.get("reason", ""),
    }


def parse_place(turn: TurnId, last_event_id: str | None) -> StreamPosition:
    """The place in this turn that a reader names."""
    if not last_event_id:
        return stream.START
    named, place = stream.parse_event_id(last_event_id)
    if named != turn:
        raise errors.InputInvalid("the event id is of another turn")
    return place


def is_told_whole(turn: Turn, place: StreamPosition) -> bool:
    """Whether a reader at this place has had all there will ever be."""
    return states.is_ended(turn.status) and place >= StreamPosition(turn.epoch, max(1, turn.event_head))


async def _send_body(send: Send, body: bytes) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": True})


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue
