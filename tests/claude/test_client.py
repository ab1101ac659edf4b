"""The client against the stand-in: what is streamed, what is tried again, what a dropped call leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from ccn import errors, settings
from ccn.claude import client
from ccn.claude.client import ModelClient
from ccn.claude.meter import UsageMeter
from ccn.claude.retries import RetryDelays
from ccn.claude.stand_in.faults import FaultRule
from ccn.claude.stand_in.server import RunningStandIn
from ccn.core.calls.call import Call, CallBlock, CallRestart, CallRetry, Delta, Piece, Reply
from tests.support.replies import read_reply

if TYPE_CHECKING:
    from tests.claude.conftest import Asking

SettingsFor = Callable[..., settings.ClaudeSettings]


async def pieces_of(model: ModelClient, call: Call, meter: UsageMeter | None = None) -> list[Piece]:
    return [piece async for piece in model.stream(call, meter)]


def words(pieces: list[Piece]) -> str:
    return "".join(piece.text for piece in pieces if isinstance(piece, Delta))


async def test_a_reply_comes_in_deltas_and_ends_with_all_of_it(model: ModelClient, asking: Asking) -> None:
    *deltas, reply = await pieces_of(model, asking("Tell me about lighthouses."))
    assert isinstance(reply, Reply)
    assert len(deltas) > 5
    assert words(deltas) == reply.text
    assert (reply.stop, reply.model) == ("end_turn", "claude-sonnet-5-5")
    assert reply.usage.input > 0
    assert reply.usage.output > 0


async def test_asking_and_streaming_get_the_same_reply(model: ModelClient, asking: Asking) -> None:
    call = asking("Tell me about lighthouses.")
    assert await read_reply(model.stream(call)) == (await pieces_of(model, call))[-1]


async def test_a_reply_that_reaches_its_limit_says_so(model: ModelClient, asking: Asking) -> None:
    reply = await read_reply(model.stream(asking("Tell me about lighthouses.", max_tokens=5)))
    assert reply.stop == "max_tokens"
    assert reply.usage.output <= 5


async def test_the_tokens_of_a_prompt_can_be_counted_without_a_reply(
    model: ModelClient, asking: Asking
) -> None:
    short, longer = await model.count_tokens(asking("a")), await model.count_tokens(asking("a" * 4000))
    assert longer - short >= 900


async def test_a_marked_prompt_is_written_to_the_cache_once_and_then_read(
    model: ModelClient, asking: Asking
) -> None:
    first = asking("One.", plate="# Mira\n" + "She is kind. " * 500)
    wrote = (await read_reply(model.stream(first))).usage
    read = (await read_reply(model.stream(replace(first, messages=asking("Two.").messages)))).usage
    assert wrote.cache_write > 1024
    assert (read.cache_read, read.cache_write) == (wrote.cache_write, 0)


async def test_a_structured_reply_is_an_object_of_the_schema(model: ModelClient, asking: Asking) -> None:
    schema = {
        "type": "object",
        "properties": {"warmth": {"type": ["number", "null"]}, "why": {"type": "string"}},
        "required": ["warmth", "why"],
        "additionalProperties": False,
    }
    told = await model.ask_structured(
        asking("I am so glad you told me about the sea; it is lovely."), schema
    )
    assert told["warmth"] > 0.5
    assert isinstance(told["why"], str)


async def test_a_structured_reply_that_was_cut_off_is_refused(model: ModelClient, asking: Asking) -> None:
    schema = {"type": "object", "properties": {"why": {"type": "string", "minLength": 100}}}
    with pytest.raises(errors.ModelRefused, match="max_tokens"):
        await model.ask_structured(asking("Why?", max_tokens=5), schema)


@pytest.mark.parametrize("end", ["cut", "error"])
async def test_a_stream_that_breaks_begins_anew_and_says_so(
    api: RunningStandIn, model: ModelClient, asking: Asking, end: str
) -> None:
    api.faults.add_rule(FaultRule(times=2, after=3, end=end))  # type: ignore[arg-type]
    pieces = await pieces_of(model, asking("Tell me about lighthouses."))
    restarts = [number for number, piece in enumerate(pieces) if isinstance(piece, CallRestart)]
    assert len(restarts) == 2
    assert words(pieces[: restarts[0]]) == words(pieces[restarts[0] : restarts[1]])
    reply = pieces[-1]
    assert isinstance(reply, Reply)
    assert words(pieces[restarts[1] :]) == reply.text


async def test_a_stream_that_breaks_before_its_first_word_is_just_late(
    api: RunningStandIn, model: ModelClient, asking: Asking
) -> None:
    api.faults.add_rule(FaultRule(times=2, after=0, end="cut"))
    pieces = await pieces_of(model, asking("Tell me about lighthouses."))
    assert not [piece for piece in pieces if isinstance(piece, CallRestart)]


async def test_every_further_try_is_told_before_it_is_made(
    api: RunningStandIn, model: ModelClient, asking: Asking
) -> None:
    api.faults.add_rule(FaultRule(times=2, status=529))
    api.faults.add_rule(FaultRule(times=1, after=2, end="cut"))
    pieces = await pieces_of(model, asking("Tell me about lighthouses."))
    assert [(each.number, each.most, each.reason) for each in pieces if isinstance(each, CallRetry)] == [
        (2, 5, "network"),
        (3, 5, "server"),
        (4, 5, "server"),
    ]
    assert model.trouble is None
    api.faults.add_rule(FaultRule(times=100, status=401))
    with pytest.raises(errors.ModelRefused):
        await pieces_of(model, asking("Hello there."))
    assert model.trouble is None, "nobody waits for what was given up"


@pytest.mark.parametrize(
    ("rule", "tries"),
    [
        (FaultRule(status=500), 4),
        (FaultRule(status=529), 4),
        (FaultRule(status=429), 6),
        (FaultRule(end="cut"), 5),
        (FaultRule(status=400), 1),
        (FaultRule(status=401), 1),
    ],
)
async def test_each_failure_is_tried_as_often_as_its_kind_deserves(
    api: RunningStandIn, model: ModelClient, asking: Asking, rule: FaultRule, tries: int
) -> None:
    api.faults.add_rule(replace(rule, times=tries - 1))
    if tries > 1:
        assert (await read_reply(model.stream(asking("Hello there.")))).text
    api.faults.add_rule(replace(rule, times=100))
    with pytest.raises((errors.ModelUnavailable, errors.ModelRefused)):
        await read_reply(model.stream(asking("Hello there.")))
    assert api.faults.list_rules()[0]["times"] == 100 - tries


async def test_failures_of_one_kind_do_not_use_up_the_patience_of_another(
    api: RunningStandIn, model: ModelClient, asking: Asking
) -> None:
    for status in (500, 529, 429, 429, 500, 429):
        api.faults.add_rule(FaultRule(times=1, status=status))
    assert (await read_reply(model.stream(asking("Hello there.")))).text


async def test_a_wait_that_the_api_asks_for_is_honoured(
    api: RunningStandIn, settings_for: SettingsFor, asking: Asking
) -> None:
    api.faults.add_rule(FaultRule(times=1, status=429, retry_after=0.05))
    async with client.open_client(settings_for(api.url), RetryDelays(limited_s=(60.0,))) as model:
        assert (await asyncio.wait_for(read_reply(model.stream(asking("Hello there."))), 60)).text


async def test_a_wait_longer_than_ours_is_not_waited_for(
    api: RunningStandIn, settings_for: SettingsFor, asking: Asking
) -> None:
    api.faults.add_rule(FaultRule(times=1, status=429, retry_after=901))
    async with client.open_client(settings_for(api.url)) as model:
        with pytest.raises(errors.ModelUnavailable, match="rate_limit"):
            await asyncio.wait_for(read_reply(model.stream(asking("Hello there."))), 60)


async def test_the_pauses_are_those_of_the_contract() -> None:
    delays = RetryDelays()
    assert list(delays.network_s) == [2, 4, 8, 16]
    assert list(delays.limited_s) == [60, 120, 240, 480, 900]
    assert len(delays.server_s) == 3


@pytest.mark.parametrize("rule", [FaultRule(wait_s=30), FaultRule(after=2, end="stall")])
async def test_a_silent_api_is_given_up_when_its_time_is_over(
    api: RunningStandIn, settings_for: SettingsFor, asking: Asking, rule: FaultRule
) -> None:
    api.faults.add_rule(replace(rule, times=1))
    nothing = RetryDelays((), (), ())
    async with client.open_client(settings_for(api.url, timeout_s=0.1), nothing) as model:
        with pytest.raises(errors.ModelUnavailable):
            await asyncio.wait_for(read_reply(model.stream(asking("Hello there."))), 60)


async def test_a_stream_that_drips_is_given_up_when_its_whole_time_is_over(
    api: RunningStandIn, settings_for: SettingsFor, asking: Asking
) -> None:
    api.faults.add_rule(FaultRule(times=1, pause_s=0.02))
    hurried = settings_for(api.url, reply_limit_s=0.1)
    async with client.open_client(hurried, RetryDelays((), (), ())) as model:
        with pytest.raises(errors.ModelUnavailable, match="no whole reply within"):
            await read_reply(model.stream(asking("Tell me about lighthouses.")))


async def test_nobody_there_is_unavailable(settings_for: SettingsFor, asking: Asking) -> None:
    async with client.open_client(
        settings_for("http://127.0.0.1:1"), RetryDelays((0.001,), (), ())
    ) as model:
        with pytest.raises(errors.ModelUnavailable):
            await read_reply(model.stream(asking("Hello there.")))


@pytest.mark.parametrize(
    ("others", "named"),
    [({"api_key": "invalid"}, "CCN_CLAUDE_API_KEY"), ({}, "CCN_CLAUDE_MODEL")],
)
async def test_a_refusal_names_the_setting_to_mend(
    api: RunningStandIn, settings_for: SettingsFor, asking: Asking, others: dict[str, object], named: str
) -> None:
    async with client.open_client(settings_for(api.url, **others)) as model:
        with pytest.raises(errors.ModelRefused, match=named):
            await read_reply(model.stream(asking("Hello there.", model="claude-no-such")))


async def test_a_call_that_is_cancelled_hangs_up_and_knows_what_was_used(
    api: RunningStandIn, model: ModelClient, asking: Asking
) -> None:
    api.faults.add_rule(FaultRule(after=3, end="stall"))
    meter, seen = UsageMeter(), asyncio.Event()

    async def listen() -> None:
        async for _ in model.stream(asking("Tell me about lighthouses."), meter):
            seen.set()

    listening = asyncio.create_task(listen())
    await seen.wait()
    listening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await listening
    assert meter.usage.input > 0
    assert meter.usage.output > 0


async def test_a_reader_who_leaves_ends_the_call(
    api: RunningStandIn, model: ModelClient, asking: Asking
) -> None:
    api.faults.add_rule(FaultRule(after=3, end="stall"))
    meter = UsageMeter()
    async with aclosing(model.stream(asking("Tell me about lighthouses."), meter)) as pieces:
        await anext(pieces)
    assert meter.usage.output > 0


async def test_a_meter_adds_up_the_tries_and_counts_no_refusal(
    api: RunningStandIn, model: ModelClient, asking: Asking
) -> None:
    call, once, twice = asking("Tell me about lighthouses."), UsageMeter(), UsageMeter()
    await read_reply(model.stream(call, once))
    api.faults.add_rule(FaultRule(times=1, status=529))
    api.faults.add_rule(FaultRule(times=1, after=3, end="cut"))
    reply = await read_reply(model.stream(call, twice))
    assert once.usage == reply.usage
    assert twice.usage.input == 2 * once.usage.input
    assert once.usage.output < twice.usage.output < 2 * once.usage.output


async def test_a_meter_estimates_a_request_that_was_never_answered(
    api: RunningStandIn, settings_for: SettingsFor, asking: Asking
) -> None:
    api.faults.add_rule(FaultRule(times=1, wait_s=30))
    meter = UsageMeter()
    async with client.open_client(settings_for(api.url, timeout_s=0.1), RetryDelays((), (), ())) as model:
        with pytest.raises(errors.ModelUnavailable):
            await read_reply(model.stream(asking("Hello there."), meter))
    assert meter.usage.input > 0


async def test_sampling_is_only_mentioned_when_it_is_chosen(model: ModelClient, asking: Asking) -> None:
    call = asking("Hello there.", temperature=0.5)
    assert (await read_reply(model.stream(call))).text == (
        await read_reply(model.stream(replace(call, temperature=None)))
    ).text


async def test_too_many_marks_are_refused_as_the_api_does(model: ModelClient, asking: Asking) -> None:
    call = replace(
        asking("Hello there."), system=tuple(CallBlock(f"Part {n}", mark=True) for n in range(5))
    )
    with pytest.raises(errors.ModelRefused, match="cache_control"):
        await read_reply(model.stream(call))


async def test_an_instance_that_drifts_is_brought_back_by_the_words_that_end_it(
    api: RunningStandIn, model: ModelClient, asking: Asking
) -> None:
    api.faults.add_rule(FaultRule(match="lighthouses", drift=100, until="you have drifted"))
    question = "Tell me about lighthouses."
    reminded = "<ccn:state>\nReminder: you have drifted from the plate.\n</ccn:state>\n" + question
    drifted, back = (
        await read_reply(model.stream(asking(question))),
        await read_reply(model.stream(asking(reminded))),
    )
    api.faults.clear()
    assert back.text == (await read_reply(model.stream(asking(question)))).text != drifted.text
