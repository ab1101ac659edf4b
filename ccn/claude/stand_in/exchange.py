"""One request to the stand-in and its answer: JSON, or a stream that a rule may slow down or break."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any
from uuid import uuid4

import orjson

from ccn.claude.stand_in import checking, events
from ccn.claude.stand_in.checking import RequestRefused
from ccn.claude.stand_in.events import StandInReply
from ccn.claude.stand_in.faults import FaultRule

Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

_JSON = (b"content-type", b"application/json")
_STREAM = ((b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache"))


class HttpExchange:
    """One request and its answer."""

    def __init__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"].rstrip("/")
        self.headers: Mapping[bytes, bytes] = dict(scope["headers"])
        self._receive = receive
        self._send = send

    async def read_body(self) -> bytes:
        """Read all of it, if it is not too long."""
        parts, size = list[bytes](), 0
        while True:
            event = await self._receive()
            parts.append(event.get("body", b""))
            size += len(parts[-1])
            if size > checking.BODY_LIMIT:
                raise RequestRefused(413, f"the request exceeds {checking.BODY_LIMIT} bytes")
            if not event.get("more_body"):
                return b"".join(parts)

    async def send_json(
        self, status: int, body: object, more: list[tuple[bytes, bytes]] | None = None
    ) -> None:
        """Send a JSON answer."""
        await self._send_head(status, [_JSON, *(more or [])])
        await self._send({"type": "http.response.body", "body": orjson.dumps(body)})

    async def send_stream(self, reply: StandInReply, rule: FaultRule, words_s: float = 0.0) -> None:
        """Send the events of a reply at a pace, with what the rule does to them."""
        await self._send_head(200, [*_STREAM])
        await self._send_part(reply.begin_events())
        for number, delta in enumerate(reply.delta_events()):
            if rule.end and number == rule.after:
                break
            if pause_s := rule.pause_s + (len(reply.parts[number].split()) / words_s if words_s else 0.0):
                await asyncio.sleep(pause_s)
            await self._send_part(delta)
        match rule.end:
            case "":
                await self._send({"type": "http.response.body", "body": reply.end_events()})
            case "cut":
                return  # without the end of its answer the server closes the connection
            case "stall":
                while (await self._receive())["type"] != "http.disconnect":
                    continue
            case "error":
                words = events.error_body("overloaded_error", "Overloaded")
                last = b"event: error\ndata: %s\n\n" % orjson.dumps(words)
                await self._send({"type": "http.response.body", "body": last})

    async def _send_head(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        request_id = (b"request-id", f"req_{uuid4().hex[:24]}".encode())
        await self._send(
            {"type": "http.response.start", "status": status, "headers": [*headers, request_id]}
        )

    async def _send_part(self, data: bytes) -> None:
        await self._send({"type": "http.response.body", "body": data, "more_body": True})
