"""A small local server that speaks the Messages API, for work offline, demos and tests: no key, no cost.

    python -m ccn.claude.stand_in --port 0 --json

prints where it listens. `POST /v1/messages` answers as JSON or as the API's events, `count_tokens` and
`/v1/models` answer too; what it says is in `replies`, what it can be told to do wrong in `faults`. It ends
with the process that started it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import orjson
import uvicorn

from ccn import settings
from ccn.claude import checking, events, faults, judging, recollection, replies
from ccn.claude.checking import Refused
from ccn.claude.events import Told
from ccn.claude.faults import STATUSES, Faults, Rule
from ccn.claude.prefixes import Prefixes, tokens

Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

_PARENT_S = 0.5
_JSON = (b"content-type", b"application/json")
_STREAM = ((b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache"))


class StandIn:
    """The application (ASGI); its faults and its prompt cache are all it remembers."""

    def __init__(self, rule: Rule = faults.NONE, now: Callable[[], float] = time.monotonic) -> None:
        self.faults = Faults(rule)
        self._prefixes = Prefixes(now)
        self._models = {name: events.model(name) for name in settings.PRICES}

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request."""
        exchange = _Exchange(scope, receive, send)
        try:
            await self._route(exchange)
        except Refused as refused:
            wait = refused.retry_after
            more = [] if wait is None else [(b"retry-after", f"{wait:g}".encode())]
            await exchange.answer(refused.status, events.error(refused.name, refused.words), more)

    async def _route(self, exchange: _Exchange) -> None:
        match exchange.method, exchange.path:
            case method, "/stand-in/faults":
                await self._control(method, exchange)
                return
            case _:
                checking.authorised(exchange.headers)
        match exchange.method, exchange.path:
            case "POST", "/v1/messages":
                await self._messages(exchange)
            case "POST", "/v1/messages/count_tokens":
                asked = checking.request(await exchange.body(), self._models, counting=True)
                await exchange.answer(200, {"input_tokens": Prefixes(time.monotonic).count(asked).total})
            case "GET", "/v1/models":
                data = list(self._models.values())
                ends = {"first_id": data[0]["id"], "last_id": data[-1]["id"]}
                await exchange.answer(200, {"data": data, "has_more": False, **ends})
            case "GET", path if path.removeprefix("/v1/models/") in self._models:
                await exchange.answer(200, self._models[path.removeprefix("/v1/models/")])
            case _, path:
                raise Refused(404, f"Not found: {path}")

    async def _control(self, method: str, exchange: _Exchange) -> None:
        match method:
            case "POST":
                self.faults.add(_rule(await exchange.body()))
            case "DELETE":
                self.faults.clear()
        await exchange.answer(200, self.faults.listed())

    async def _messages(self, exchange: _Exchange) -> None:
        request = checking.request(await exchange.body(), self._models)
        prompt = recollection.read(request)
        whole = "\n".join((prompt.system, *(text for _, text in prompt.said)))
        header = exchange.headers.get(b"x-stand-in")
        rule = _rule(header) if header else self.faults.take(whole)
        await asyncio.sleep(rule.wait_s)
        if rule.status is not None:
            raise Refused(rule.status, f"told to answer {STATUSES[rule.status]}", rule.retry_after)
        told = self._told(request, prompt, rule, whole)
        if request.get("stream"):
            await exchange.stream(told, rule)
        else:
            await asyncio.sleep(rule.pause_s * len(told.parts))
            await exchange.answer(200, told.message())

    def _told(self, request: dict[str, Any], prompt: recollection.Prompt, rule: Rule, whole: str) -> Told:
        schema, tool = _wanted(request)
        if schema is not None:
            said = orjson.dumps(judging.fill(schema, prompt.asked)).decode()
            parts = [said[at : at + 20] for at in range(0, len(said), 20)]
        else:
            drifted = faults.drifts(rule, request, whole)
            parts = replies.pieces(replies.reply(prompt, drifted=drifted, stranger=rule.stranger), prompt)
        parts, stop = _cut(parts, request["max_tokens"])
        return Told(
            f"msg_{uuid4().hex[:24]}",
            request["model"],
            parts,
            "tool_use" if tool and stop == "end_turn" else stop,
            self._prefixes.count(request),
            max(1, tokens("".join(parts))),
            tool,
        )


@dataclass(frozen=True, slots=True)
class Running:
    """A stand-in that listens."""

    url: str
    stand_in: StandIn

    @property
    def faults(self) -> Faults:
        """What it is told to do wrong."""
        return self.stand_in.faults


@asynccontextmanager
async def running(
    port: int = 0,
    host: str = "127.0.0.1",
    rule: Rule = faults.NONE,
    now: Callable[[], float] = time.monotonic,
) -> AsyncIterator[Running]:
    """A stand-in in this process, until the block ends."""
    stand_in = StandIn(rule, now)
    with contextlib.closing(socket.create_server((host, port))) as listening:
        server = _Server(
            uvicorn.Config(
                stand_in,
                loop="none",
                http="httptools",
                lifespan="off",
                log_config=None,
                log_level="critical",  # a stream that was told to break is no error
                access_log=False,
                timeout_graceful_shutdown=1,
            )
        )
        serving = asyncio.create_task(server.serve(sockets=[listening]), name="stand-in")
        try:
            yield Running(f"http://{host}:{listening.getsockname()[1]}", stand_in)
        finally:
            server.should_exit = True
            await serving


class _Exchange:
    """One request and its answer."""

    def __init__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"].rstrip("/")
        self.headers: Mapping[bytes, bytes] = dict(scope["headers"])
        self._receive, self._send = receive, send

    async def body(self) -> bytes:
        """All of it, if it is not too long."""
        parts, size = list[bytes](), 0
        while True:
            event = await self._receive()
            parts.append(event.get("body", b""))
            size += len(parts[-1])
            if size > checking.BODY_LIMIT:
                raise Refused(413, f"the request exceeds {checking.BODY_LIMIT} bytes")
            if not event.get("more_body"):
                return b"".join(parts)

    async def answer(
        self, status: int, body: object, more: list[tuple[bytes, bytes]] | None = None
    ) -> None:
        """A JSON answer."""
        await self._start(status, [_JSON, *(more or [])])
        await self._send({"type": "http.response.body", "body": orjson.dumps(body)})

    async def stream(self, told: Told, rule: Rule) -> None:
        """The events of a reply, with whatever the rule does to them."""
        await self._start(200, [*_STREAM])
        await self._write(told.begin())
        for number, delta in enumerate(told.deltas()):
            if rule.end and number == rule.after:
                break
            if rule.pause_s:
                await asyncio.sleep(rule.pause_s)
            await self._write(delta)
        match rule.end:
            case "":
                await self._send({"type": "http.response.body", "body": told.end()})
            case "cut":
                return  # an answer that is not complete makes the server hang up
            case "stall":
                while (await self._receive())["type"] != "http.disconnect":
                    continue
            case "error":
                words = events.error("overloaded_error", "Overloaded")
                last = b"event: error\ndata: %s\n\n" % orjson.dumps(words)
                await self._send({"type": "http.response.body", "body": last})

    async def _start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        named = (b"request-id", f"req_{uuid4().hex[:24]}".encode())
        await self._send({"type": "http.response.start", "status": status, "headers": [*headers, named]})

    async def _write(self, data: bytes) -> None:
        await self._send({"type": "http.response.body", "body": data, "more_body": True})


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals belong to whoever runs this."""
        yield


def _rule(told: bytes) -> Rule:
    try:
        return faults.read(orjson.loads(told))
    except (orjson.JSONDecodeError, faults.Invalid) as wrong:
        raise Refused(400, f"stand-in: {wrong}") from wrong


def _wanted(request: Mapping[str, Any]) -> tuple[Mapping[str, Any] | None, str | None]:
    """The schema of the object that is wanted, and the tool whose input it is."""
    form = (request.get("output_config") or {}).get("format")
    if form:
        return form["schema"], None
    choice, tools = request.get("tool_choice") or {}, request.get("tools") or []
    forced = [t for t in tools if choice.get("type") == "any" or choice.get("name", "") == t.get("name")]
    return (forced[0].get("input_schema", {}), forced[0]["name"]) if forced else (None, None)


def _cut(parts: list[str], most: int) -> tuple[list[str], str]:
    kept, used = list[str](), 0
    for part in parts:
        used += len(part.encode())
        if -(-used // 4) > most:
            return kept or [part[:4]], "max_tokens"
        kept.append(part)
    return kept, "end_turn"


def main() -> None:
    """Run as a command."""
    parser = argparse.ArgumentParser(prog="python -m ccn.claude.stand_in", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--json", action="store_true", help="say where it listens as a JSON object")
    parser.add_argument("--delay-ms", type=float, default=0.0, help="before each delta")
    parser.add_argument("--drift", type=int, default=0, help="percent of replies out of character")
    asyncio.run(_until_told(parser.parse_args()))


async def _until_told(asked: argparse.Namespace) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    rule = Rule(pause_s=asked.delay_ms / 1000, drift=asked.drift)
    async with running(asked.port, asked.host, rule) as here:
        line = orjson.dumps({"url": here.url}).decode() if asked.json else f"listening at {here.url}"
        print(line, flush=True)  # noqa: T201 - the one line that a command says
        parent = os.getppid()
        while not stop.is_set() and os.getppid() == parent:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), _PARENT_S)


if __name__ == "__main__":
    main()
