"""What a call used up, at every moment of it: never less than it may have cost."""

from __future__ import annotations

import json

import anthropic
import httpx2
import pytest

from ccn.claude.failure import StreamBroken
from ccn.claude.meter import UsageMeter
from ccn.claude.wire import StreamedReply
from ccn.core.calls import price, tokens
from ccn.core.calls.call import Call, CallBlock, CallMessage, TokenUsage
from ccn.core.message import Role

CALL = Call("claude-test", (CallBlock("Be kind. " * 50),), (CallMessage(Role.USER, "Hello."),), 100)
PROMPT = TokenUsage(input=7, output=tokens.estimate_tokens(""), cache_read=100, cache_write=20)


def begin(answer: StreamedReply) -> None:
    usage = {
        "input_tokens": 7,
        "output_tokens": 1,
        "cache_read_input_tokens": 100,
        "cache_creation_input_tokens": 20,
    }
    answer.take_event("message_start", json.dumps({"message": {"model": "claude-test", "usage": usage}}))


def say(answer: StreamedReply, text: str) -> None:
    answer.take_event("content_block_delta", json.dumps({"delta": {"text": text}}))


def end(answer: StreamedReply, output: int) -> None:
    ended = {"delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": output}}
    answer.take_event("message_delta", json.dumps(ended))


def turned_away() -> anthropic.APIStatusError:
    request = httpx2.Request("POST", "http://127.0.0.1/v1/messages")
    return anthropic.InternalServerError("busy", response=httpx2.Response(529, request=request), body=None)


def test_before_the_first_try_nothing_was_used() -> None:
    assert UsageMeter().usage == TokenUsage()


def test_a_call_is_measured_at_every_moment() -> None:
    meter, answer = UsageMeter(), StreamedReply("claude-test")
    words = "many words " * 20
    with meter.measure_try(answer, CALL):
        assert meter.usage == TokenUsage(input=price.estimate_prompt(CALL))
        begin(answer)
        assert meter.usage == PROMPT
        say(answer, words)
        assert meter.usage == TokenUsage(7, tokens.estimate_tokens(words), 100, 20)
        end(answer, 40)
        assert meter.usage == TokenUsage(7, 40, 100, 20)
    assert meter.usage == TokenUsage(7, 40, 100, 20)


def test_a_reply_that_breaks_is_counted_by_what_came_of_it() -> None:
    meter, answer = UsageMeter(), StreamedReply("claude-test")
    words = "many words " * 20
    begin(answer)
    say(answer, words)
    with pytest.raises(StreamBroken), meter.measure_try(answer, CALL):
        answer.finish_reply()
    assert meter.usage == TokenUsage(7, tokens.estimate_tokens(words), 100, 20)


def test_a_try_that_was_turned_away_costs_nothing_and_the_tries_before_it_stay() -> None:
    meter, answer = UsageMeter(), StreamedReply("claude-test")
    with meter.measure_try(answer, CALL):
        begin(answer)
        end(answer, 3)
    before = meter.usage
    for _ in range(2):
        with pytest.raises(anthropic.APIStatusError), meter.measure_try(StreamedReply("claude-test"), CALL):
            raise turned_away()
    assert meter.usage == before == TokenUsage(7, 3, 100, 20)


def test_a_try_that_was_never_answered_is_estimated_and_each_of_them_adds_up() -> None:
    meter = UsageMeter()
    for tried in (1, 2, 3):
        with pytest.raises(TimeoutError), meter.measure_try(StreamedReply("claude-test"), CALL):
            raise TimeoutError
        assert meter.usage == TokenUsage(input=tried * price.estimate_prompt(CALL))


async def test_every_try_is_permitted_with_what_was_used_before_it() -> None:
    told = list[TokenUsage]()

    async def permit(used: TokenUsage) -> None:
        told.append(used)
        if used.output:
            raise ZeroDivisionError

    meter, answer = UsageMeter(permit), StreamedReply("claude-test")
    await meter.allow_try()
    with meter.measure_try(answer, CALL):
        begin(answer)
    with pytest.raises(ZeroDivisionError):
        await meter.allow_try()
    assert told == [TokenUsage(), PROMPT]


async def test_without_anybody_to_permit_it_every_try_is_allowed() -> None:
    await UsageMeter().allow_try()
