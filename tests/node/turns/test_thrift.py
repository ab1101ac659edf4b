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
from ccn.core.stream import Kind
from ccn.node.character import scorers
from ccn.node.spending.paid_model import Paying
from ccn.node.views import sent_prompt
from ccn.store.connection import pool
from ccn.store.conversations import instances
from ccn.store.spending import spend
from tests import living
from tests.living import PATIENT, Model, Node
from tests.speaking import ANN

TURNS = 50
WREN = resources.files("ccn.plates").joinpath("wren.md").read_text()
TOPICS = ("harbours", "bread", "the winter sky", "old maps", "a quarrel with my sister", "tuning a piano")


@asynccontextmanager
async def paying(database: settings.Database) -> AsyncIterator[Node]:
    """A node whose model is the stand-in, scored and paid for like Claude."""
    world = await living.founded(database, WREN)
    async with server.running() as here:
        claude = settings.Claude(base_url=here.url, api_key=SecretStr("any"))
        async with client.opened(claude) as asks, pool.open(database, "purse") as purse:
            model = cast("Model", Paying(asks, purse, claude, lambda: datetime.now(UTC), settings.Limits()))
            async with world.node("node-1", model, PATIENT, scorer=scorers.measure()) as node:
                yield node


def sent(call: Call) -> bytes:
    """The prompt as it goes over the wire, without marks: where they stand is no part of what is cached."""
    asked: dict[str, Any] = wire.asked(call)
    parts = [*asked["system"], *(part for said in asked["messages"] for part in said["content"])]
    return b"".join(orjson.dumps(part["text"]) for part in parts)


def shared(one: bytes, other: bytes) -> int:
    """How many bytes they begin with alike."""
    pairs = zip(one, other, strict=False)
    return next((at for at, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


async def test_fifty_turns_repeat_their_prompts_and_the_provider_notices(
    database: settings.Database, capsys: pytest.CaptureFixture[str]
) -> None:
    async with paying(database) as node:
        talk = await node.begun()
        before, repeated, whole, shares = b"", 0, 0, list[float]()
        used = {"input": 0, "cache_read": 0, "cache_write": 0}
        for number in range(TURNS):
            content = f"Message {number}: tell me something about {TOPICS[number % len(TOPICS)]}, and why."
            turn = await node.doors.say(talk, content, ANN)
            told = [each async for each in node.doors.follow(turn.id)]
            assert told[-1].kind is Kind.DONE
            usage = orjson.loads(told[-1].data)["usage"]
            prompt = sent((await sent_prompt.recount(node.pool, node.living.prompting, talk, turn.id)).call)
            if before:
                same = shared(before, prompt)
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


async def test_idle_instances_spend_nothing(database: settings.Database) -> None:
    async with paying(database) as node:
        talks = [await node.begun() for _ in range(3)]
        turn = await node.doors.say(talks[0], "Hello.", ANN)
        assert await node.reply(turn.id)
        await node.model.settled()
        spent = [await spend.of_conversation(node.pool, talk) for talk in talks]
        assert all(total.calls >= 6 for total in spent), "their interviews were paid for"
        for _ in range(5):
            await _heartbeat(node)
        assert [await spend.of_conversation(node.pool, talk) for talk in talks] == spent


async def _heartbeat(node: Node) -> None:
    """Wait for the next one of all instances."""
    before = {each.id: each.heartbeat_at for each in await instances.alive(node.pool)}
    assert len(before) == 3
    async with asyncio.timeout(60):
        while any(each.heartbeat_at <= before[each.id] for each in await instances.alive(node.pool)):
            await asyncio.sleep(0.02)
