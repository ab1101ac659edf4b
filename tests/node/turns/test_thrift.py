"""What fifty turns cost, and what idling does: prompts repeat themselves, and who idles costs nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from importlib import resources
from typing import Any, cast

import orjson
import pytest
from pydantic import SecretStr

from ccn import settings
from ccn.claude import client, wire
from ccn.claude.stand_in import server
from ccn.core.calls.call import Call
from ccn.core.stream import EventKind
from ccn.node.character import scorers
from ccn.node.spending.paid_model import PaidModel
from ccn.node.views import sent_prompt
from ccn.store.connection import pool
from ccn.store.conversations import instances
from ccn.store.spending import spend
from tests.support.node import node_world
from tests.support.node.node_world import PATIENT, Model, Node
from tests.support.speakers import ANN

TURNS = 50
WREN = resources.files("ccn.plates").joinpath("wren.md").read_text()
TOPICS = ("harbours", "bread", "the winter sky", "old maps", "a quarrel with my sister", "tuning a piano")


@asynccontextmanager
async def make_paid_model(database: settings.DatabaseSettings) -> AsyncIterator[Node]:
    """A node whose model is the stand-in, scored and paid for like Claude."""
    world = await node_world.found_world(database, WREN)
    async with server.run_stand_in() as here:
        claude = settings.ClaudeSettings(base_url=here.url, api_key=SecretStr("any"))
        async with client.open_client(claude) as asks, pool.open(database, "purse") as purse:
            model = cast(
                "Model",
                PaidModel(asks, purse, claude, lambda: datetime.now(UTC), settings.LimitsSettings()),
            )
            async with world.node("node-1", model, PATIENT, scorer=scorers.load_quantised()) as node:
                yield node


def prompt_bytes(call: Call) -> bytes:
    """The prompt as it goes over the wire, without marks: where they stand is no part of what is cached."""
    asked: dict[str, Any] = wire.call_to_params(call)
    parts = [*asked["system"], *(part for said in asked["messages"] for part in said["content"])]
    return b"".join(orjson.dumps(part["text"]) for part in parts)


def count_shared(one: bytes, other: bytes) -> int:
    """How many bytes they begin with alike."""
    pairs = zip(one, other, strict=False)
    return next((at for at, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


async def test_fifty_turns_repeat_their_prompts_and_the_provider_notices(
    database: settings.DatabaseSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    async with make_paid_model(database) as node:
        talk = await node.begin_conversation()
        before, repeated, whole, shares = b"", 0, 0, list[float]()
        used = {"input": 0, "cache_read": 0, "cache_write": 0}
        for number in range(TURNS):
            content = f"Message {number}: tell me something about {TOPICS[number % len(TOPICS)]}, and why."
            turn = await node.conversations.say(talk, content, ANN)
            told = [each async for each in node.conversations.follow_turn(turn.id)]
            assert told[-1].kind is EventKind.DONE
            usage = orjson.loads(told[-1].data)["usage"]
            prompt = prompt_bytes(
                (await sent_prompt.rebuild_prompt(node.pool, node.living.prompts, talk, turn.id)).call
            )
            if before:
                same = count_shared(before, prompt)
                repeated, whole = repeated + same, whole + len(prompt)
                shares.append(same / len(before))
                used = {name: count + usage[name] for name, count in used.items()}
            before = prompt
        share, read = repeated / whole, used["cache_read"] / sum(used.values())
        with capsys.disabled():
            print(  # noqa: T201 - people want to see it
                f"\n{TURNS} turns: {share:.2%} of the prompt bytes repeat the previous turn's prefix, and "
                f"of each previous prompt at least {min(shares):.2%}; the stand-in read {read:.2%} of "
                f"{sum(used.values())} prompt tokens from its cache"
            )
        assert share >= 0.95
        assert read >= 0.90


async def test_idle_instances_spend_nothing(database: settings.DatabaseSettings) -> None:
    async with make_paid_model(database) as node:
        talks = [await node.begin_conversation() for _ in range(3)]
        turn = await node.conversations.say(talks[0], "Hello.", ANN)
        assert await node.reply(turn.id)
        await node.model.await_settlements()
        spent = [await spend.load_of_conversation(node.pool, talk) for talk in talks]
        assert all(total.calls >= 6 for total in spent), "their interviews were paid for"
        for _ in range(5):
            await _heartbeat(node)
        assert [await spend.load_of_conversation(node.pool, talk) for talk in talks] == spent


async def _heartbeat(node: Node) -> None:
    """Wait for the next one of all instances."""
    before = {each.id: each.heartbeat_at for each in await instances.list_alive(node.pool)}
    assert len(before) == 3
    async with asyncio.timeout(60):
        while any(each.heartbeat_at <= before[each.id] for each in await instances.list_alive(node.pool)):
            await asyncio.sleep(0.02)
