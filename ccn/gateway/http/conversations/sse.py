"""A turn as server-sent events: each is sent as it happens, with an id after which any node continues.

    accepted   the message is durable: `turn_id`, and `seq`, its number in the conversation
    delta      some more of the reply: `text`
    waiting    the model is asked again: `number`, `most` (tries), `pause_s`, `reason`; it has no id
    restart    the text so far is void, the reply begins again: `reason`
    done       the reply is committed: `stop`, `model`, `usage`; with `?glance=true` also `glance`, `axes`
    error      there will be no reply: `code`, `detail`; without an id, only this reader may read no further
    cancelled  there will be no reply, because somebody cancelled the turn
    resume     this stream ends here and the turn goes on: ask any node, with the last id: `reason`

Nothing follows `done`, `error` and `cancelled`. Lines that begin with a colon are pings. Each event is
encoded once, and sent without a task, a queue or a lock: a slow reader delays only itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
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
"""How long a stream is silent before a ping: proxies close a connection after half a minute of silence."""

_RETRY = b"retry: 1000\n"
"""Sent within the first event. Alone it would be an event without data, which some clients pass on."""
_PING = b": ping\n\n"
_HEADERS = {
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # else nginx collects events and sends them late
}
_EVENTS = {kind: b"\nevent: %b\ndata: " % kind.value.encode() for kind in EventKind}

Batches = AsyncGenerator[Sequence[StreamEvent]]
LoadMore = Callable[[], Awaitable[Mapping[str, object]]]
"""Loads what a reader wants to know together with the end of a reply."""

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
    "description": "Events as they happen: blocks of the lines `id`, `event` and `data`, where the data is "
    "a JSON object. A client that does not read streams gets all events as one text at the end.",
}
DOCUMENTED: dict[str, Any] = {
    "description": "The reply as it is spoken: the events `accepted`, `delta`, `waiting`, `restart`, "
    "`done`, `error`, `cancelled` and `resume`. To resume, send the last id that you have read; some "
    "events have none.",
    "content": {"text/event-stream": {"schema": EVENT, "example": EXAMPLE}},
}


class EventStream(Response):
    """Sends chunks as they come, pings while none do, and last an event that says why the stream ends."""

    media_type = "text/event-stream"
    ping = _PING

    def __init__(
        self,
        chunks: AsyncGenerator[bytes],
        shutdown: StreamShutdown,
        opened: OpenStream,
        headers: Mapping[str, str] = MappingProxyType({}),
        ping_s: float = PING_S,
    ) -> None:
        self._chunks = chunks
        self._shutdown = shutdown
        self._opened = opened
        self._ping_s = ping_s
        self.status_code, self.background = 200, None
        self.init_headers({**_HEADERS, **headers})

    def cut_event(self, reason: str) -> bytes:
        """The last event of a stream that has to end before its turn does."""
        return encode_resume(reason)

    def refusal_event(self, refusal: errors.CCNError) -> bytes:
        """The last event of a stream whose reader may read no further."""
        return encode_refusal(refusal)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the turn ends, the reader leaves, this node stops, or the reader's account ends."""
        del scope
        with self._opened, self._shutdown.count_stream():
            async with aclosing(self._chunks):
                await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                last = await self._wait_for_end(receive, send)
            await send({"type": "http.response.body", "body": last, "more_body": False})

    async def _wait_for_end(self, receive: Receive, send: Send) -> bytes:
        """Send chunks and pings until something ends the stream; return the last event."""
        sending = asyncio.create_task(self._send_chunks(send), name="stream")
        due = asyncio.create_task(self._shutdown.wait_until_due(), name="stream due")
        others = (
            due,
            asyncio.create_task(_wait_for_disconnect(receive), name="stream reader"),
            asyncio.create_task(self._send_pings(send), name="stream pings"),
        )
        ended = self._opened.ended
        try:
            await asyncio.wait((sending, ended, *others), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sending, *others):
                task.cancel()
            await asyncio.gather(sending, *others, return_exceptions=True)
        if not sending.cancelled():  # it may have ended in the same moment as another: then all was sent
            return sending.result()
        if isinstance(refusal := ended.exception() if ended.done() else None, errors.CCNError):
            return self.refusal_event(refusal)
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
    batches: Batches,
    shutdown: StreamShutdown,
    opened: OpenStream,
    *,
    first: bytes = b"",
    load_more: LoadMore | None = None,
) -> EventStream:
    """The response that streams one turn."""
    return EventStream(_encode_batches(id_prefix(turn), batches, first, load_more), shutdown, opened)


async def _encode_batches(
    prefix: bytes, batches: Batches, first: bytes, load_more: LoadMore | None
) -> AsyncGenerator[bytes]:
    """Yield events that are there at once as one chunk: each chunk costs a call of the system."""
    async with aclosing(batches):
        waiting = _RETRY
        if first:
            yield waiting + first
            waiting = b""
        async for batch in batches:
            for event in batch:
                if event.kind is EventKind.DONE and load_more is not None:
                    if waiting:
                        yield waiting
                    waiting = encode_event(prefix, await _extend_done(event, load_more))
                else:
                    waiting += encode_event(prefix, event)
            yield waiting
            waiting = b""


async def _extend_done(done: StreamEvent, load_more: LoadMore) -> StreamEvent:
    """Add to the end of a reply what was asked for with it; the end alone if that cannot be loaded now."""
    try:
        more = await load_more()
    except errors.CCNError:
        return done
    return replace(done, data=orjson.dumps(orjson.loads(done.data or "{}") | dict(more)).decode())


def id_prefix(turn: TurnId) -> bytes:
    """The line `id`, up to where the events of a turn differ."""
    return b"id: %b:" % str(turn).encode()


def encode_event(prefix: bytes, event: StreamEvent) -> bytes:
    """Encode one event of a turn."""
    if event.kind is EventKind.WAITING:  # it has no position to resume after: the last id stays
        return b"event: waiting\ndata: %b\n\n" % encode_data(event)
    position, line = event.position, _EVENTS[event.kind]
    return b"%b%d-%d%b%b\n\n" % (prefix, position.epoch, position.number, line, encode_data(event))


def encode_data(event: StreamEvent) -> bytes:
    """Encode what an event says as one JSON object on one line."""
    match event.kind:
        case EventKind.DELTA:
            return orjson.dumps({"text": event.data})
        case EventKind.RESTART:
            return orjson.dumps({"reason": event.data})
        case EventKind.DONE:
            return event.data.encode() or b"{}"  # it is such an object already
        case EventKind.ERROR:
            return orjson.dumps(parse_failure(event.data))
        case EventKind.WAITING | EventKind.BEGUN:
            return event.data.encode()
        case EventKind.CANCELLED:
            return b"{}"


def encode_accepted(turn: Turn) -> bytes:
    """Encode the first event of a stream that is read from its beginning."""
    data = orjson.dumps({"turn_id": str(turn.id), "seq": turn.user_seq})
    return b"%b0-0\nevent: accepted\ndata: %b\n\n" % (id_prefix(turn.id), data)


def encode_resume(reason: str) -> bytes:
    """Encode the last event of a stream that ends before its turn; without an id, so the last one stays."""
    return b"event: resume\ndata: %b\n\n" % orjson.dumps({"reason": reason})


def encode_refusal(refusal: errors.CCNError) -> bytes:
    """Encode the last event of a stream whose reader may read no further; the turn goes on."""
    data = {"code": error_codes.code_from_name(type(refusal).__name__), "detail": str(refusal)}
    return b"event: error\ndata: %b\n\n" % orjson.dumps(data)


def parse_failure(data: str) -> Mapping[str, str]:
    """Parse why a turn got no reply, into a code like those of problems and a detail."""
    try:
        failure = orjson.loads(data)
    except orjson.JSONDecodeError:
        failure = {"error": data}  # once the events of a turn are deleted, only the kind of error is left
    return {
        "code": error_codes.code_from_name(str(failure.get("error") or "unknown")),
        "detail": failure.get("reason", ""),
    }


def parse_position(turn: TurnId, last_event_id: str | None) -> StreamPosition:
    """Parse the position in this turn after which a reader resumes; its start if they name none."""
    if not last_event_id:
        return stream.START
    turn_id, position = stream.parse_event_id(last_event_id)
    if turn_id != turn:
        raise errors.InputInvalid("the event id is of another turn")
    return position


def is_read_whole(turn: Turn, position: StreamPosition) -> bool:
    """Whether a reader at this position has read every event that the turn will ever have."""
    end = StreamPosition(turn.epoch, max(1, turn.event_head))
    return states.is_ended(turn.status) and position >= end


async def _send_body(send: Send, body: bytes) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": True})


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue
