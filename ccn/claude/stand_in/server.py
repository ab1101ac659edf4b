"""A small local server that speaks the Messages API, for work offline, demos and tests: no key, no cost.

    python -m ccn.claude.stand_in --port 0 --json

prints where it listens. `POST /v1/messages` answers as JSON or as the API's events; `count_tokens` and
`/v1/models` answer too. `replies` decides what it says, and `faults` what it can be told to do wrong. It
ends with the process that started it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import orjson
import uvicorn
import uvloop

from ccn import settings
from ccn.claude.stand_in import (
    checking,
    events,
    faults,
    prompt_cache,
    prompt_reading,
    replies,
    structured,
)
from ccn.claude.stand_in.checking import RequestRefused
from ccn.claude.stand_in.events import StandInReply
from ccn.claude.stand_in.exchange import HttpExchange, Receive, Send
from ccn.claude.stand_in.faults import STATUSES, FaultRule, FaultRules
from ccn.claude.stand_in.prompt_cache import PrefixCache

_PARENT_S = 0.5


class StandIn:
    """The application (ASGI); its faults and its prompt cache are all it remembers."""

    def __init__(
        self, rule: FaultRule = faults.NONE, now: Callable[[], float] = time.monotonic, words_s: float = 0.0
    ) -> None:
        self.faults = FaultRules(rule)
        self._words_s = words_s
        self._prefixes = PrefixCache(now)
        self._models = {name: events.model_entry(name) for name in settings.PRICES}

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request."""
        exchange = HttpExchange(scope, receive, send)
        try:
            await self._route_request(exchange)
        except RequestRefused as refused:
            wait = refused.retry_after
            more = [] if wait is None else [(b"retry-after", f"{wait:g}".encode())]
            await exchange.send_json(refused.status, events.error_body(refused.name, refused.words), more)

    async def _route_request(self, exchange: HttpExchange) -> None:
        if exchange.path == "/stand-in/faults":
            await self._control_faults(exchange)
            return
        checking.check_headers(exchange.headers)
        match exchange.method, exchange.path:
            case "POST", "/v1/messages":
                await self._answer_message(exchange)
            case "POST", "/v1/messages/count_tokens":
                request = checking.read_request(await exchange.read_body(), self._models, counting=True)
                await exchange.send_json(200, {"input_tokens": prompt_cache.total_tokens(request)})
            case "GET", "/v1/models":
                data = list(self._models.values())
                ends = {"first_id": data[0]["id"], "last_id": data[-1]["id"]}
                await exchange.send_json(200, {"data": data, "has_more": False, **ends})
            case "GET", path if path.removeprefix("/v1/models/") in self._models:
                await exchange.send_json(200, self._models[path.removeprefix("/v1/models/")])
            case _, path:
                raise RequestRefused(404, f"Not found: {path}")

    async def _control_faults(self, exchange: HttpExchange) -> None:
        match exchange.method:
            case "POST":
                self.faults.add_rule(_rule_from_bytes(await exchange.read_body()))
            case "DELETE":
                self.faults.clear()
        await exchange.send_json(200, self.faults.list_rules())

    async def _answer_message(self, exchange: HttpExchange) -> None:
        request = checking.read_request(await exchange.read_body(), self._models)
        prompt, whole = prompt_reading.read_prompt(request), prompt_reading.whole_text(request)
        header = exchange.headers.get(b"x-stand-in")
        rule = _rule_from_bytes(header) if header else self.faults.take_rule(whole)
        await asyncio.sleep(rule.wait_s)
        if rule.status is not None:
            raise RequestRefused(rule.status, f"told to answer {STATUSES[rule.status]}", rule.retry_after)
        reply = self._compose_reply(request, prompt, rule, whole)
        if request.get("stream"):
            # Nobody watches an interview, so its answers come at once.
            words_s = 0.0 if replies.is_known_question(prompt) else self._words_s
            await exchange.send_stream(reply, rule, words_s)
        else:
            await asyncio.sleep(rule.pause_s * len(reply.parts))
            await exchange.send_json(200, reply.to_message())

    def _compose_reply(
        self, request: dict[str, Any], prompt: prompt_reading.ReadPrompt, rule: FaultRule, whole: str
    ) -> StandInReply:
        schema, tool = _wanted_schema(request)
        if schema is not None:
            text = orjson.dumps(structured.fill_schema(schema, prompt.asked)).decode()
            parts = [text[at : at + 20] for at in range(0, len(text), 20)]
        else:
            drifted = faults.reply_drifts(rule, request, whole)
            parts = replies.split_reply(
                replies.write_reply(prompt, drifted=drifted, stranger=rule.stranger), prompt
            )
        parts, stop = _cut_parts(parts, request["max_tokens"])
        return StandInReply(
            f"msg_{uuid4().hex[:24]}",
            request["model"],
            parts,
            "tool_use" if tool and stop == "end_turn" else stop,
            self._prefixes.count_tokens(request),
            max(1, prompt_cache.estimate_tokens("".join(parts))),
            tool,
        )


@dataclass(frozen=True, slots=True)
class RunningStandIn:
    """A stand-in that listens."""

    url: str
    stand_in: StandIn

    @property
    def faults(self) -> FaultRules:
        """What it is told to do wrong."""
        return self.stand_in.faults


@asynccontextmanager
async def run_stand_in(
    port: int = 0,
    host: str = "127.0.0.1",
    rule: FaultRule = faults.NONE,
    now: Callable[[], float] = time.monotonic,
    words_s: float = 0.0,
) -> AsyncIterator[RunningStandIn]:
    """Run a stand-in in this process until the block ends. It streams `words_s` words a second."""
    stand_in = StandIn(rule, now, words_s)
    with contextlib.closing(socket.create_server((host, port))) as listening, _keep_log_levels():
        # asyncio only does this for sockets that name their protocol; without it each answer waits 40 ms.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        server = _StandInServer(
            uvicorn.Config(
                stand_in,
                loop="none",
                http="httptools",
                lifespan="off",
                log_config=None,
                log_level="critical",  # a stream that was told to break is no error
                access_log=False,
                timeout_keep_alive=75,  # longer than clients keep a connection, so none is found closed
                timeout_graceful_shutdown=1,
            )
        )
        serving = asyncio.create_task(server.serve(sockets=[listening]), name="stand-in")
        try:
            yield RunningStandIn(f"http://{host}:{listening.getsockname()[1]}", stand_in)
        finally:
            server.should_exit = True
            await serving


@contextlib.contextmanager
def _keep_log_levels() -> Iterator[None]:
    """Keep the levels that uvicorn sets for its loggers, since other servers may run in this process."""
    loggers = [logging.getLogger(f"uvicorn.{name}") for name in ("error", "access", "asgi")]
    levels = [logger.level for logger in loggers]
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


class _StandInServer(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals belong to whoever runs this."""
        yield


def _rule_from_bytes(data: bytes) -> FaultRule:
    try:
        return faults.rule_from_json(orjson.loads(data))
    except (orjson.JSONDecodeError, faults.RuleInvalid) as wrong:
        raise RequestRefused(400, f"stand-in: {wrong}") from wrong


def _wanted_schema(request: Mapping[str, Any]) -> tuple[Mapping[str, Any] | None, str | None]:
    """Find the schema of the object that is wanted, and the tool whose input it is."""
    form = (request.get("output_config") or {}).get("format")
    if form:
        return form["schema"], None
    choice, tools = request.get("tool_choice") or {}, request.get("tools") or []
    forced = [t for t in tools if choice.get("type") == "any" or choice.get("name", "") == t.get("name")]
    return (forced[0].get("input_schema", {}), forced[0]["name"]) if forced else (None, None)


def _cut_parts(parts: list[str], most: int) -> tuple[list[str], str]:
    whole, size = list[str](), 0
    for part in parts:
        size += len(part.encode())
        if -(-size // 4) > most:
            return whole or [part[:4]], "max_tokens"
        whole.append(part)
    return whole, "end_turn"


def main() -> None:
    """Run as a command."""
    parser = argparse.ArgumentParser(prog="python -m ccn.claude.stand_in", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--json", action="store_true", help="say where it listens as a JSON object")
    parser.add_argument("--delay-ms", type=float, default=0.0, help="before each delta")
    parser.add_argument("--words-s", type=float, default=0.0, help="words a second; 0 as fast as it can")
    parser.add_argument("--drift", type=int, default=0, help="percent of replies out of character")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run_until_stopped(parser.parse_args()))


async def _run_until_stopped(options: argparse.Namespace) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    rule = FaultRule(pause_s=options.delay_ms / 1000, drift=options.drift)
    async with run_stand_in(options.port, options.host, rule, words_s=options.words_s) as running:
        line = (
            orjson.dumps({"url": running.url}).decode() if options.json else f"listening at {running.url}"
        )
        print(line, flush=True)  # noqa: T201 - the one line that a command says
        parent = os.getppid()
        while not stop.is_set() and os.getppid() == parent:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PARENT_S):
                    await stop.wait()
