"""Conversations for a loop of one's own, and streams that outlive the node behind them."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from ccn import continuity, errors, settings
from ccn.core.calls.call import Delta, Reply
from ccn.core.message import Role
from tests.continuity.conftest import Program
from tests.support.gateway import grpc_door
from tests.support.node import node_world

ANSWER = (
    "I am Ada. Honestly, I do not know that yet, so let us look at the numbers together before we decide; "
    "I would rather be slow than wrong, and I promise to say so when I find that I was."
)


async def test_a_loop_of_ones_own_gets_the_prompt_and_keeps_the_record(program: Program) -> None:
    talk = await program.cluster.begin("ada", title="tea")
    before = await talk.prompt()
    assert "Keeps her word." in before.system
    assert before.request()["messages"] == []

    first = await talk.record("user", "Good morning!")
    prompt = await talk.prompt()
    assert prompt.system == before.system
    asked = prompt.request()
    assert [each["role"] for each in asked["messages"]] == ["user"]
    assert asked["messages"][-1]["content"][-1]["text"].endswith("Good morning!")
    assert asked["system"][0]["cache_control"] == {"type": "ephemeral"}

    second = await talk.record("assistant", "Good morning to you.")
    await talk.record("user", "How are you?")
    again = (await talk.prompt()).request()["messages"]
    assert [each["role"] for each in again] == ["user", "assistant", "user"]
    assert (first.seq, second.seq, second.role) == (1, 2, Role.ASSISTANT)
    told = [(each.seq, each.content) for each in await talk.history()]
    assert told == [(1, "Good morning!"), (2, "Good morning to you."), (3, "How are you?")]
    assert [each.seq for each in await talk.history(before=3, limit=1)] == [2]


async def test_what_is_recorded_is_sealed_by_a_node(program: Program) -> None:
    talk = await program.cluster.begin("ada")
    await talk.record("user", "Good morning!")
    pool = program.door.node.pool
    nodes = await pool.rows("SELECT DISTINCT node_id FROM leaves WHERE kind = 'message'")
    assert [row["node_id"] for row in nodes] == ["node-1"]


async def test_the_same_key_records_once(program: Program) -> None:
    talk = await program.cluster.begin("ada", idempotency_key="b")
    assert (await program.cluster.begin("ada", idempotency_key="b")).id == talk.id
    said = [await talk.record("user", "Hello!", idempotency_key="k") for _ in range(2)]
    assert said[0] == said[1]
    with pytest.raises(errors.IdempotencyConflict):
        await talk.record("user", "Goodbye!", idempotency_key="k")
    assert len(await talk.history()) == 1


async def test_many_records_at_once_all_land(program: Program) -> None:
    talk = await program.cluster.begin("ada")
    said = await asyncio.gather(*(talk.record("user", f"word {nth}") for nth in range(20)))
    assert sorted(each.seq for each in said) == list(range(1, 21))


async def test_many_who_want_the_prompt_at_once_get_the_same(program: Program) -> None:
    talk = await program.cluster.begin("ada")
    first = await asyncio.gather(*(talk.prompt() for _ in range(8)))
    await talk.record("user", "Hello!")
    second = await asyncio.gather(*(talk.prompt() for _ in range(8)))
    assert len({prompt.system for prompt in (*first, *second)}) == 1


async def test_replies_of_ones_own_loop_are_measured(program: Program) -> None:
    talk = await program.cluster.begin("ada")
    unknown = await talk.health()
    assert (unknown.messages, unknown.state, unknown.drift, unknown.status) == (0, {}, None, None)
    for _ in range(2):
        await talk.record("user", "What do you think?")
        await talk.record("assistant", ANSWER)
    await asyncio.wait_for(program.door.node.living.scoring.wait_until_idle(), 60)
    health = await talk.health()
    assert (health.open, health.messages) == (True, 4)
    assert health.state
    assert all(0 <= score <= 1 for score in (*health.state.values(), *health.relation.values()))
    assert health.measured_at is not None


async def test_one_speaks_at_a_time_and_each_continues_what_the_other_said(program: Program) -> None:
    talk = await program.cluster.begin("ada")
    await talk.record("user", "My cat is called Tilda.")
    await talk.record("assistant", "What a name!")
    assert await talk.reply("What is she called?") == "Well, I am here."
    sent = program.door.node.model.calls[-1]
    assert [each.text for each in sent.messages][:2] == ["My cat is called Tilda.", "What a name!"]

    with pytest.raises(errors.Conflict, match="an instance speaks"):
        await talk.record("user", "Me again.")
    with pytest.raises(errors.Conflict, match="an instance speaks"):
        await talk.prompt()
    assert (await talk.health()).status == "running"
    await talk.terminate()
    await talk.record("user", "Me again.")
    assert len((await talk.prompt()).request()["messages"]) == 5


async def test_a_reply_streams_and_ends_with_all_of_it(program: Program) -> None:
    talk = await program.cluster.spawn("ada")
    pieces = [piece async for piece in talk.say("Hello!")]
    assert "".join(piece.text for piece in pieces if isinstance(piece, Delta)) == "Well, I am here."
    last = pieces[-1]
    assert isinstance(last, Reply)
    assert (last.text, last.stop, last.usage.output) == ("Well, I am here.", "end_turn", 5)
    again = await program.cluster.conversation(talk.id)
    assert await again.reply("And?") == "Well, I am here."
    program.door.node.model.fails = errors.ModelUnavailable("nobody answers")
    with pytest.raises(errors.ModelUnavailable, match="nobody answers"):
        await talk.reply("Are you well?")


async def test_a_stream_goes_on_at_another_node_when_its_door_closes(
    database: settings.DatabaseSettings,
) -> None:
    gate = asyncio.Event()
    model = node_world.Model(gate=lambda nth: gate.wait() if nth > 1 else asyncio.sleep(0))
    world = await node_world.found_world(database)
    async with (
        world.node("node-1", model) as first,
        world.node("node-2") as second,
        grpc_door.serve_node(second) as lasting,
        AsyncExitStack() as closing,
    ):
        dying = await closing.enter_async_context(grpc_door.serve_node(first))
        key = await grpc_door.api_key(first.pool)
        async with continuity.connect(f"{dying.target},{lasting.target}", key) as cluster:
            talk = await cluster.spawn("ada")
            seen = list[str]()
            async for piece in talk.say("Hello!"):
                if isinstance(piece, Delta):
                    seen.append(piece.text)
                if len(seen) == 2 and not gate.is_set():
                    await closing.aclose()
                    gate.set()
            assert "".join(seen) == "Well, I am here."
            assert len(await talk.history()) == 2
