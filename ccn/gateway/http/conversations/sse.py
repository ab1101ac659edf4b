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
from ccn.core.stream import Kind, Place, Told
from ccn.gateway.http.conversations.context import STOPPING, Leaving
from ccn.gateway.open_streams import Open
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
_EVENTS = {kind: b"\nevent: %b\ndata: " % kind.value.encode() for kind in Kind}

More = Callable[[], Awaitable[Mapping[str, object]]]
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


class Stream(Response):
    """Sends chunks as they come, a ping when none do, and an end that tells why."""

    media_type = "text/event-stream"
    ping = _PING

    def __init__(
        self,
        chunks: AsyncGenerator[bytes],
        leaving: Leaving,
        opened: Open,
        headers: Mapping[str, str] = MappingProxyType({}),
        ping_s: float = PING_S,
    ) -> None:
        self._chunks, self._leaving, self._opened, self._ping_s = chunks, leaving, opened, ping_s
        self.status_code, self.background = 200, None
        self.init_headers({**_HEADERS, **headers})

    def cut(self, reason: str) -> bytes:
        """What is said when the stream has to end before it is over."""
        return resume(reason)

    def refuse(self, why: errors.CCNError) -> bytes:
        """What is said when the reader may hear no more."""
        return refused(why)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Tell until the turn ends, the reader leaves, or this node or the reader's account has to."""
        del scope
        with self._opened, self._leaving.stream():
            async with aclosing(self._chunks):
                await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                last = await self._until(receive, send)
            await send({"type": "http.response.body", "body": last, "more_body": False})

    async def _until(self, receive: Receive, send: Send) -> bytes:
        """What is to be said last."""
        telling = asyncio.create_task(self._tell(send), name="stream")
        due = asyncio.create_task(self._leaving.due(), name="stream due")
        others = (
            due,
            asyncio.create_task(_gone(receive), name="stream reader"),
            asyncio.create_task(self._pings(send), name="stream pings"),
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
            return self.refuse(why)
        return b"" if due.cancelled() else self.cut(STOPPING)

    async def _tell(self, send: Send) -> bytes:
        try:
            async for chunk in self._chunks:
                await _body(send, chunk)
        except (errors.Unavailable, errors.OutcomeUnknown) as broken:
            return self.cut(str(broken))
        return b""

    async def _pings(self, send: Send) -> None:
        while True:
            await asyncio.sleep(self._ping_s)
            await _body(send, self.ping)


def events(
    turn: TurnId,
    told: AsyncGenerator[Told],
    leaving: Leaving,
    opened: Open,
    *,
    first: bytes = b"",
    more: More | None = None,
) -> Stream:
    """The response that tells one turn."""
    return Stream(_encoded(prefix(turn), told, first, more), leaving, opened)


async def _encoded(
    of_turn: bytes, pieces: AsyncGenerator[Told], first: bytes, more: More | None
) -> AsyncGenerator[bytes]:
    async with aclosing(pieces):
        retry = _RETRY
        if first:
            yield retry + first
            retry = b""
        async for told in pieces:
            if told.kind is Kind.DONE and more is not None:
                told = await _with(told, more)  # noqa: PLW2901 - the same piece, and more
            yield retry + encoded(of_turn, told)
            retry = b""


async def _with(done: Told, more: More) -> Told:
    """The end of a reply and more; just the end if that cannot be had now."""
    try:
        found = await more()
    except errors.CCNError:
        return done
    return replace(done, data=orjson.dumps(orjson.loads(done.data or "{}") | dict(found)).decode())


def prefix(turn: TurnId) -> bytes:
    """What the ids of a turn's events begin with."""
    return b"id: %b:" % str(turn).encode()


def encoded(of_turn: bytes, told: Told) -> bytes:
    """A piece as an event."""
    if told.kind is Kind.WAITING:  # no place to go on from: the last id stays
        return b"event: waiting\ndata: %b\n\n" % data(told)
    place = told.place
    return b"%b%d-%d%b%b\n\n" % (of_turn, place.epoch, place.number, _EVENTS[told.kind], data(told))


def data(told: Told) -> bytes:
    """What a piece says, as one JSON object on one line."""
    match told.kind:
        case Kind.DELTA:
            return orjson.dumps({"text": told.data})
        case Kind.RESTART:
            return orjson.dumps({"reason": told.data})
        case Kind.DONE:
            return told.data.encode() or b"{}"  # it is such an object already
        case Kind.ERROR:
            return orjson.dumps(failure(told.data))
        case Kind.WAITING | Kind.BEGUN:
            return told.data.encode()
        case Kind.CANCELLED:
            return b"{}"


def accepted(turn: Turn) -> bytes:
    """The first event of a stream that begins at the beginning."""
    told = orjson.dumps({"turn_id": str(turn.id), "seq": turn.user_seq})
    return b"%b0-0\nevent: accepted\ndata: %b\n\n" % (prefix(turn.id), told)


def resume(reason: str) -> bytes:
    """The last event of a stream that ends before its turn; it has no id, so the last id stays."""
    return b"event: resume\ndata: %b\n\n" % orjson.dumps({"reason": reason})


def refused(why: errors.CCNError) -> bytes:
    """The last event of a stream that its reader may read no further; the turn goes on."""
    told = {"code": error_codes.code(type(why).__name__), "detail": str(why)}
    return b"event: error\ndata: %b\n\n" % orjson.dumps(told)


def failure(told: str) -> Mapping[str, str]:
    """Why a turn got no reply, with a code like those of problems."""
    try:
        known = orjson.loads(told)
    except orjson.JSONDecodeError:
        known = {"error": told}  # of a turn whose stream is kept no longer, the kind is what is left
    return {
        "code": error_codes.code(str(known.get("error") or "unknown")),
        "detail": known.get("reason", ""),
    }


def after(turn: TurnId, last_event_id: str | None) -> Place:
    """The place in this turn that a reader names."""
    if not last_event_id:
        return stream.START
    named, place = stream.resumed(last_event_id)
    if named != turn:
        raise errors.InputInvalid("the event id is of another turn")
    return place


def told_whole(turn: Turn, place: Place) -> bool:
    """Whether a reader at this place has had all there will ever be."""
    return states.ended(turn.status) and place >= Place(turn.epoch, max(1, turn.event_head))


async def _body(send: Send, body: bytes) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": True})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue
