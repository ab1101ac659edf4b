"""The stand-in, by the official SDK and on the wire: events, usage, errors, and faults to order."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import anthropic
import httpx2
import pytest
import pytest_asyncio
from anthropic.types import MessageParam, TextBlock, ToolUseBlock

from ccn.claude.stand_in import server
from ccn.claude.stand_in.faults import STATUSES, FaultRule
from ccn.claude.stand_in.server import RunningStandIn

MODEL = "claude-sonnet-5-5"
HELLO: list[MessageParam] = [{"role": "user", "content": "Tell me about lighthouses."}]
HEADERS = {"x-api-key": "any", "anthropic-version": "2023-06-01"}
BODY = {"model": MODEL, "max_tokens": 500, "messages": HELLO}


@pytest_asyncio.fixture(loop_scope="session")
async def sdk(api: RunningStandIn) -> AsyncIterator[anthropic.AsyncAnthropic]:
    """The SDK as anybody would use it, but for its retries."""
    async with anthropic.AsyncAnthropic(api_key="any", base_url=api.url, max_retries=0) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="session")
async def wire(api: RunningStandIn) -> AsyncIterator[httpx2.AsyncClient]:
    """Plain HTTP."""
    async with httpx2.AsyncClient(base_url=api.url, headers=HEADERS) as opened:
        yield opened


def events_of(text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for event in text.strip().split("\n\n"):
        name, data = event.split("\n")
        yield name.removeprefix("event: "), json.loads(data.removeprefix("data: "))


async def test_a_stand_in_leaves_the_loggers_of_its_process_as_they_were() -> None:
    logger = logging.getLogger("uvicorn.error")
    before = logger.level
    logger.setLevel(logging.WARNING)
    async with server.run_stand_in():
        assert logger.level == logging.CRITICAL
    assert logger.level == logging.WARNING
    logger.setLevel(before)


async def test_the_sdk_gets_a_message(sdk: anthropic.AsyncAnthropic) -> None:
    message = await sdk.messages.create(model=MODEL, max_tokens=500, messages=HELLO)
    assert isinstance(message.content[0], TextBlock)
    assert "lighthouses" in message.content[0].text.casefold()
    assert (message.role, message.stop_reason, message.model) == ("assistant", "end_turn", MODEL)
    assert message.usage.output_tokens > 5


async def test_the_sdk_streams_the_same_words(sdk: anthropic.AsyncAnthropic) -> None:
    whole = await sdk.messages.create(model=MODEL, max_tokens=500, messages=HELLO)
    async with sdk.messages.stream(model=MODEL, max_tokens=500, messages=HELLO) as stream:
        texts = [text async for text in stream.text_stream]
        final = await stream.get_final_message()
    assert len(texts) > 5
    assert isinstance(whole.content[0], TextBlock)
    assert "".join(texts) == whole.content[0].text
    assert final.usage.output_tokens == whole.usage.output_tokens


async def test_the_synchronous_sdk_is_served_as_well(api: RunningStandIn) -> None:
    def talk() -> tuple[str, str]:
        with anthropic.Anthropic(api_key="any", base_url=api.url, max_retries=0) as sdk:
            whole = sdk.messages.create(model=MODEL, max_tokens=500, messages=HELLO)
            with sdk.messages.stream(model=MODEL, max_tokens=500, messages=HELLO) as stream:
                streamed = "".join(stream.text_stream)
        assert isinstance(whole.content[0], TextBlock)
        return whole.content[0].text, streamed

    whole, streamed = await asyncio.to_thread(talk)
    assert whole == streamed


async def test_the_events_come_in_the_order_of_the_api(wire: httpx2.AsyncClient) -> None:
    answer = await wire.post("/v1/messages", json={**BODY, "stream": True})
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["request-id"].startswith("req_")
    events = list(events_of(answer.text))
    assert all(name == data["type"] for name, data in events)
    names = [name for name, _ in events]
    deltas = [name for name in names if name == "content_block_delta"]
    assert names == [
        "message_start",
        "content_block_start",
        "ping",
        *deltas,
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    begun, told = events[0][1]["message"], events[-2][1]
    assert begun["usage"]["input_tokens"] == told["usage"]["input_tokens"] > 0
    assert begun["stop_reason"] is None
    assert told["delta"]["stop_reason"] == "end_turn"


async def test_it_speaks_at_a_pace_but_answers_an_interview_at_once() -> None:
    async with (
        server.run_stand_in(words_s=0.001) as api,
        httpx2.AsyncClient(base_url=api.url, headers=HEADERS) as wire,
    ):
        who: list[MessageParam] = [{"role": "user", "content": "Who are you?"}]
        answer = await wire.post("/v1/messages", json={**BODY, "messages": who, "stream": True})
        assert "message_stop" in answer.text
        async with wire.stream("POST", "/v1/messages", json={**BODY, "stream": True}) as slow:
            begun = await anext(slow.aiter_text())
        assert "message_start" in begun
        assert "content_block_delta" not in begun


async def test_tokens_are_counted_like_those_of_a_message(sdk: anthropic.AsyncAnthropic) -> None:
    counted = await sdk.messages.count_tokens(model=MODEL, messages=HELLO)
    message = await sdk.messages.create(model=MODEL, max_tokens=500, messages=HELLO)
    assert counted.input_tokens == message.usage.input_tokens


async def test_models_are_listed_and_described(sdk: anthropic.AsyncAnthropic) -> None:
    listed = [model.id async for model in sdk.models.list()]
    assert MODEL in listed
    assert (await sdk.models.retrieve(MODEL)).id == MODEL
    with pytest.raises(anthropic.NotFoundError):
        await sdk.models.retrieve("claude-no-such")


@pytest.mark.parametrize("status", STATUSES)
async def test_an_error_has_the_class_that_the_sdk_has_for_it(
    api: RunningStandIn, sdk: anthropic.AsyncAnthropic, status: int
) -> None:
    api.faults.add_rule(FaultRule(status=status, retry_after=7))
    with pytest.raises(anthropic.APIStatusError) as raised:
        await sdk.messages.create(model=MODEL, max_tokens=5, messages=HELLO)
    assert raised.value.status_code == status
    assert raised.value.type == STATUSES[status]
    assert raised.value.response.headers["retry-after"] == "7"
    assert raised.value.request_id


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        ({"model": "claude-no-such"}, 404, "model: claude-no-such"),
        ({"max_tokens": 0}, 400, "max_tokens"),
        ({"max_tokens": "many"}, 400, "valid int"),
        ({"messages": []}, 400, "at least one message"),
        ({"messages": [{"role": "system", "content": "x"}]}, 400, "messages.0.role"),
        ({"messages": [{"role": "user", "content": ""}]}, 400, "non-empty content"),
        ({"messages": [{"role": "user", "content": 7}]}, 400, "a string or a list"),
        ({"messages": [*HELLO, {"role": "assistant", "content": "Well"}]}, 400, "end with a user message"),
        ({"system": [{"type": "text", "text": " "}]}, 400, "non-whitespace"),
        ({"system": [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}] * 5}, 400, "4"),
    ],
)
async def test_a_prompt_that_the_api_would_refuse_is_refused(
    wire: httpx2.AsyncClient, change: dict[str, object], status: int, words: str
) -> None:
    answer = await wire.post("/v1/messages", json={**BODY, **change})
    assert answer.status_code == status
    assert answer.json()["error"]["type"] == STATUSES[status]
    assert words in answer.json()["error"]["message"]


async def test_nonsense_is_refused(api: RunningStandIn, wire: httpx2.AsyncClient) -> None:
    assert (await wire.post("/v1/messages", content=b"{")).status_code == 400
    assert (await wire.post("/v1/messages", content=b"[]")).status_code == 400
    assert (await wire.post("/v1/messages", json={"model": MODEL})).status_code == 400
    assert (await wire.get("/v1/nowhere")).status_code == 404
    assert (await wire.post("/v1/messages", content=b"x" * (32 * 1024 * 1024 + 1))).status_code == 413
    async with httpx2.AsyncClient(base_url=api.url) as nobody:
        assert (await nobody.post("/v1/messages", json=BODY)).status_code == 401
        unversioned = await nobody.post("/v1/messages", json=BODY, headers={"x-api-key": "any"})
        assert unversioned.status_code == 400


async def test_faults_are_told_over_http_and_used_up(wire: httpx2.AsyncClient) -> None:
    rule = {"match": "lighthouses", "times": 2, "status": 529}
    listed = (await wire.post("/stand-in/faults", json=rule)).json()
    assert listed[0]["status"] == 529
    statuses = [(await wire.post("/v1/messages", json=BODY)).status_code for _ in range(3)]
    other = {**BODY, "messages": [{"role": "user", "content": "Tell me about bread."}]}
    assert statuses == [529, 529, 200]
    assert (await wire.post("/v1/messages", json=other)).status_code == 200
    assert (await wire.get("/stand-in/faults")).json() == []
    await wire.post("/stand-in/faults", json=rule)
    assert (await wire.delete("/stand-in/faults")).json() == []


async def test_a_header_holds_for_its_request_alone(wire: httpx2.AsyncClient) -> None:
    slow = {"x-stand-in": json.dumps({"status": 429, "retry_after": 3})}
    answer = await wire.post("/v1/messages", json=BODY, headers=slow)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "3")
    assert (await wire.post("/v1/messages", json=BODY)).status_code == 200


@pytest.mark.parametrize(
    "rule",
    [{"statsu": 500}, {"status": 418}, {"times": 0}, {"drift": 101}, {"end": "bang"}, {"after": "x"}, []],
)
async def test_what_is_no_rule_is_refused(wire: httpx2.AsyncClient, rule: object) -> None:
    answer = await wire.post("/stand-in/faults", json=rule)
    assert answer.status_code == 400
    assert (await wire.get("/stand-in/faults")).json() == []


@pytest.mark.parametrize(
    ("end", "broken"), [("cut", anthropic.APIError), ("error", anthropic.APIStatusError)]
)
async def test_a_stream_breaks_where_it_was_told_to(
    api: RunningStandIn, sdk: anthropic.AsyncAnthropic, end: str, broken: type[Exception]
) -> None:
    api.faults.add_rule(FaultRule(after=3, end=end))  # type: ignore[arg-type]
    seen = list[str]()

    async def listen() -> None:
        async with sdk.messages.stream(model=MODEL, max_tokens=500, messages=HELLO) as stream:
            async for text in stream.text_stream:
                seen.append(text)

    with pytest.raises((broken, httpx2.TransportError)):
        await listen()
    assert len(seen) == 3


async def test_structured_output_and_a_forced_tool_get_an_object_of_the_schema(
    sdk: anthropic.AsyncAnthropic,
) -> None:
    schema: dict[str, object] = {
        "type": "object",
        "properties": {"warmth": {"anyOf": [{"type": "number"}, {"type": "null"}]}},
    }
    told = await sdk.messages.create(
        model=MODEL,
        max_tokens=500,
        messages=HELLO,
        output_config={"format": {"type": "json_schema", "schema": schema}},
    )
    assert isinstance(told.content[0], TextBlock)
    assert json.loads(told.content[0].text) == {"warmth": None}
    used = await sdk.messages.create(
        model=MODEL,
        max_tokens=500,
        messages=HELLO,
        tools=[{"name": "judge", "input_schema": {**schema, "type": "object"}}],
        tool_choice={"type": "tool", "name": "judge"},
    )
    assert isinstance(used.content[0], ToolUseBlock)
    assert (used.content[0].name, used.content[0].input, used.stop_reason) == (
        "judge",
        {"warmth": None},
        "tool_use",
    )


def _system(text: str) -> list[dict[str, object]]:
    return [{"type": "text", "text": text, "cache_control": {"type": "ephemeral"}}]


async def test_a_prefix_is_cached_for_five_minutes_from_its_last_use() -> None:
    now = 0.0
    async with (
        server.run_stand_in(now=lambda: now) as api,
        httpx2.AsyncClient(base_url=api.url, headers=HEADERS) as wire,
    ):

        async def cached(text: str) -> tuple[int, int]:
            answer = await wire.post("/v1/messages", json={**BODY, "system": _system(text)})
            usage = answer.json()["usage"]
            return usage["cache_creation_input_tokens"], usage["cache_read_input_tokens"]

        wrote, read = await cached("kind " * 2000)
        assert (wrote > 1024, read) == (True, 0)
        assert await cached("kind " * 2000) == (0, wrote)
        assert await cached("kinder " * 2000) != (0, wrote)
        now = 299.0
        assert await cached("kind " * 2000) == (0, wrote)
        now = 299.0 + 301.0
        assert await cached("kind " * 2000) == (wrote, 0)
        assert await cached("kind " * 20) == (0, 0)


@pytest.fixture
def command() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Programs that are ended with the test."""
    started: list[subprocess.Popen[str]] = []

    def start(*argv: str) -> subprocess.Popen[str]:
        program = subprocess.Popen([sys.executable, *argv], stdout=subprocess.PIPE, text=True)
        started.append(program)
        return program

    yield start
    for program in started:
        program.kill()
        program.communicate()


async def test_the_command_says_where_it_listens_and_stops_when_told(
    command: Callable[..., subprocess.Popen[str]],
) -> None:
    program = command(
        "-m", "ccn.claude.stand_in", "--port", "0", "--json", "--drift", "50", "--words-s", "99"
    )
    assert program.stdout is not None
    url = json.loads(await asyncio.to_thread(program.stdout.readline))["url"]
    async with httpx2.AsyncClient(base_url=url, headers=HEADERS) as wire:
        assert (await wire.post("/v1/messages", json=BODY)).status_code == 200
    program.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(program.wait, 60) == 0


async def test_the_command_ends_with_the_process_that_started_it(
    command: Callable[..., subprocess.Popen[str]],
) -> None:
    script = (
        "import subprocess, sys, time\n"
        "subprocess.Popen([sys.executable, '-m', 'ccn.claude.stand_in', '--json'])\n"
        "time.sleep(600)\n"
    )
    parent = command("-c", script)
    assert parent.stdout is not None
    url = json.loads(await asyncio.to_thread(parent.stdout.readline))["url"]
    assert await _answers(url)
    parent.kill()
    async with asyncio.timeout(60):
        while await _answers(url):
            await asyncio.sleep(0.1)


async def _answers(url: str) -> bool:
    async with httpx2.AsyncClient(base_url=url) as wire:
        try:
            await wire.get("/stand-in/faults")
        except httpx2.TransportError:
            return False
        return True
