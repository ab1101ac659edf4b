"""Calls and events between our values and the API's: stable bytes out, nothing but sense in."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from ccn import errors
from ccn.claude import wire
from ccn.claude.failure import FailureKind, StreamBroken
from ccn.core.calls.call import Call, CallBlock, CallMessage, Delta, TokenUsage
from ccn.core.message import Role

CALL = Call(
    "claude-sonnet-5-5",
    (CallBlock("plate", mark=True), CallBlock("state")),
    (
        CallMessage(Role.USER, "one"),
        CallMessage(Role.ASSISTANT, "two", mark=True),
        CallMessage(Role.USER, "three"),
    ),
    100,
)


def answer(*events: tuple[str, dict[str, Any]]) -> wire.StreamedReply:
    taken = wire.StreamedReply("asked-for")
    for event, data in events:
        taken.take_event(event, orjson.dumps({"type": event, **data}).decode())
    return taken


BEGUN = (
    "message_start",
    {"message": {"model": "answered", "usage": {"input_tokens": 5, "output_tokens": 1}}},
)
ENDED = ("message_delta", {"delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 9}})
OVER: tuple[str, dict[str, Any]] = ("message_stop", {})


def text(words: str) -> tuple[str, dict[str, Any]]:
    return "content_block_delta", {"index": 0, "delta": {"type": "text_delta", "text": words}}


def test_marks_become_those_of_the_cache_and_nothing_else_is_added() -> None:
    assert wire.call_to_params(CALL) == {
        "model": "claude-sonnet-5-5",
        "max_tokens": 100,
        "system": [
            {"type": "text", "text": "plate", "cache_control": {"type": "ephemeral"}},
            {"type": "text", "text": "state"},
        ],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "one"}]},
            {
                "role": "assistant",
                "content": [{"type": "text", "text": "two", "cache_control": {"type": "ephemeral"}}],
            },
            {"role": "user", "content": [{"type": "text", "text": "three"}]},
        ],
    }
    assert orjson.dumps(wire.call_to_params(CALL)) == orjson.dumps(wire.call_to_params(CALL))


def test_the_bytes_that_are_sent_are_the_call_and_that_it_streams() -> None:
    sent = orjson.loads(
        wire.call_to_body(replace(CALL, temperature=0.5), {"output_config": {"format": "x"}})
    )
    more = {"temperature": 0.5, "output_config": {"format": "x"}, "stream": True}
    assert sent == {**wire.call_to_params(CALL), **more}
    assert wire.call_to_body(CALL, {}) == wire.call_to_body(CALL, {})


def test_what_no_json_can_hold_is_refused_as_input() -> None:
    with pytest.raises(errors.InputInvalid, match="cannot be sent"):
        wire.call_to_body(replace(CALL, messages=(CallMessage(Role.USER, "\ud800"),)), {})


def test_a_call_without_a_system_prompt_sends_none() -> None:
    assert "system" not in wire.call_to_params(Call("m", (), CALL.messages, 1))


def test_events_become_a_reply() -> None:
    taken = answer(BEGUN, text("Well, "), text("yes."), ENDED, OVER)
    reply = taken.finish_reply()
    assert (reply.text, reply.stop, reply.model) == ("Well, yes.", "end_turn", "answered")
    assert reply.usage == TokenUsage(input=5, output=9)


def test_thoughts_and_unknown_events_are_not_said() -> None:
    taken = answer(BEGUN)
    for event, data in (
        ("content_block_delta", {"delta": {"type": "thinking_delta", "thinking": "hmm"}}),
        ("content_block_delta", {"delta": {"type": "signature_delta", "signature": "x"}}),
        ("ping", {}),
        ("something_new", {"delta": {"text": "no"}}),
    ):
        assert taken.take_event(event, orjson.dumps(data).decode()) is None
    assert taken.take_event(*_sent(text("yes"))) == Delta("yes")
    assert taken.text == "yes"


@pytest.mark.parametrize("events", [(), (BEGUN,), (BEGUN, text("Well")), (BEGUN, text("Well"), ENDED)])
def test_a_reply_without_its_end_is_a_broken_stream(events: tuple[tuple[str, dict[str, Any]], ...]) -> None:
    with pytest.raises(StreamBroken) as broken:
        answer(*events).finish_reply()
    assert broken.value.kind is FailureKind.NETWORK


@pytest.mark.parametrize(
    ("event", "data"),
    [
        ("content_block_delta", "{"),
        ("content_block_delta", "[]"),
        ("content_block_delta", '{"delta": null}'),
        ("message_start", '{"message": {}}'),
        ("message_delta", "7"),
        ("error", "<html>"),
    ],
)
def test_an_event_that_makes_no_sense_breaks_the_stream_and_nothing_else(event: str, data: str) -> None:
    with pytest.raises(StreamBroken) as broken:
        wire.StreamedReply("m").take_event(event, data)
    assert broken.value.kind is FailureKind.SERVER


def _sent(event: tuple[str, dict[str, Any]]) -> tuple[str, str]:
    return event[0], orjson.dumps(event[1]).decode()
