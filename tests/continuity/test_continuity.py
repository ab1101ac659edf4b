"""The Python API: conversations for a loop of one's own, and streams that outlive the node behind them."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc  # type: ignore[import-untyped]
import pytest

from ccn import continuity, errors, settings
from ccn.continuity import Cluster, failure, local
from ccn.core.calls.call import Delta, Reply
from ccn.core.message import Role
from ccn.node.character import scorers
from tests import calling, living
from tests.calling import Door
from tests.living import World

ROOT = Path(__file__).parents[2]
ANSWER = (
    "I am Ada. Honestly, I do not know that yet, so let us look at the numbers together before we decide; "
    "I would rather be slow than wrong, and I promise to say so when I find that I was."
)


@dataclass
class Here:
    """A node with a door, and somebody connected to it."""

    world: World
    door: Door
    key: str
    cluster: Cluster


@asynccontextmanager
async def connected(
    database: settings.DatabaseSettings, model: living.Model | None = None
) -> AsyncIterator[Here]:
    world = await living.found_world(database)
    async with AsyncExitStack() as open_:
        scorer = scorers.load_quantised("tier-1/v1")
        node = await open_.enter_async_context(world.node("node-1", model, scorer=scorer))
        door = await open_.enter_async_context(calling.serve_node(node))
        key = await calling.api_key(node.pool)
        cluster = await open_.enter_async_context(continuity.connect(door.target, key))
        yield Here(world, door, key, cluster)


async def test_a_loop_of_ones_own_gets_the_prompt_and_keeps_the_record(
    database: settings.DatabaseSettings,
) -> None:
    async with connected(database) as here:
        talk = await here.cluster.begin("ada", title="tea")
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


async def test_what_is_recorded_is_sealed_by_a_node(database: settings.DatabaseSettings) -> None:
    async with connected(database) as here:
        talk = await here.cluster.begin("ada")
        await talk.record("user", "Good morning!")
        pool = here.door.node.pool
        nodes = await pool.rows("SELECT DISTINCT node_id FROM leaves WHERE kind = 'message'")
        assert [row["node_id"] for row in nodes] == ["node-1"]


async def test_the_same_key_records_once(database: settings.DatabaseSettings) -> None:
    async with connected(database) as here:
        talk = await here.cluster.begin("ada", idempotency_key="b")
        assert (await here.cluster.begin("ada", idempotency_key="b")).id == talk.id
        said = [await talk.record("user", "Hello!", idempotency_key="k") for _ in range(2)]
        assert said[0] == said[1]
        with pytest.raises(errors.IdempotencyConflict):
            await talk.record("user", "Goodbye!", idempotency_key="k")
        assert len(await talk.history()) == 1


async def test_many_records_at_once_all_land(database: settings.DatabaseSettings) -> None:
    async with connected(database) as here:
        talk = await here.cluster.begin("ada")
        said = await asyncio.gather(*(talk.record("user", f"word {nth}") for nth in range(20)))
        assert sorted(each.seq for each in said) == list(range(1, 21))


async def test_many_who_want_the_prompt_at_once_get_the_same(database: settings.DatabaseSettings) -> None:
    async with connected(database) as here:
        talk = await here.cluster.begin("ada")
        first = await asyncio.gather(*(talk.prompt() for _ in range(8)))
        await talk.record("user", "Hello!")
        second = await asyncio.gather(*(talk.prompt() for _ in range(8)))
        assert len({prompt.system for prompt in (*first, *second)}) == 1


async def test_replies_of_ones_own_loop_are_measured(database: settings.DatabaseSettings) -> None:
    async with connected(database) as here:
        talk = await here.cluster.begin("ada")
        unknown = await talk.health()
        assert (unknown.messages, unknown.state, unknown.drift, unknown.status) == (0, {}, None, None)
        for _ in range(2):
            await talk.record("user", "What do you think?")
            await talk.record("assistant", ANSWER)
        await asyncio.wait_for(here.door.node.living.scoring.wait_until_idle(), 60)
        health = await talk.health()
        assert (health.open, health.messages) == (True, 4)
        assert health.state
        assert all(0 <= score <= 1 for score in (*health.state.values(), *health.relation.values()))
        assert health.measured_at is not None


async def test_one_speaks_at_a_time_and_each_continues_what_the_other_said(
    database: settings.DatabaseSettings,
) -> None:
    async with connected(database) as here:
        talk = await here.cluster.begin("ada")
        await talk.record("user", "My cat is called Tilda.")
        await talk.record("assistant", "What a name!")
        assert await talk.reply("What is she called?") == "Well, I am here."
        sent = here.door.node.model.calls[-1]
        assert [each.text for each in sent.messages][:2] == ["My cat is called Tilda.", "What a name!"]

        with pytest.raises(errors.Conflict, match="an instance speaks"):
            await talk.record("user", "Me again.")
        with pytest.raises(errors.Conflict, match="an instance speaks"):
            await talk.prompt()
        assert (await talk.health()).status == "running"
        await talk.terminate()
        await talk.record("user", "Me again.")
        assert len((await talk.prompt()).request()["messages"]) == 5


async def test_a_reply_streams_and_ends_with_all_of_it(database: settings.DatabaseSettings) -> None:
    async with connected(database) as here:
        talk = await here.cluster.spawn("ada")
        pieces = [piece async for piece in talk.say("Hello!")]
        assert "".join(piece.text for piece in pieces if isinstance(piece, Delta)) == "Well, I am here."
        last = pieces[-1]
        assert isinstance(last, Reply)
        assert (last.text, last.stop, last.usage.output) == ("Well, I am here.", "end_turn", 5)
        again = await here.cluster.conversation(talk.id)
        assert await again.reply("And?") == "Well, I am here."
        here.door.node.model.fails = errors.ModelUnavailable("nobody answers")
        with pytest.raises(errors.ModelUnavailable, match="nobody answers"):
            await talk.reply("Are you well?")


async def test_a_stream_goes_on_at_another_node_when_its_door_closes(
    database: settings.DatabaseSettings,
) -> None:
    gate = asyncio.Event()
    model = living.Model(gate=lambda nth: gate.wait() if nth > 1 else asyncio.sleep(0))
    world = await living.found_world(database)
    async with (
        world.node("node-1", model) as first,
        world.node("node-2") as second,
        calling.serve_node(second) as lasting,
        AsyncExitStack() as closing,
    ):
        dying = await closing.enter_async_context(calling.serve_node(first))
        key = await calling.api_key(first.pool)
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


async def test_a_cluster_that_is_not_there_is_said_in_time() -> None:
    async with continuity.connect("127.0.0.1:1", "ccn_x", patience_s=0.3) as cluster:
        with pytest.raises(errors.Unavailable, match=r"127\.0\.0\.1:1"):
            await cluster.begin("ada")


async def test_a_key_that_does_not_count_is_told_at_once(database: settings.DatabaseSettings) -> None:
    async with connected(database) as here, continuity.connect(here.door.target, "ccn_x") as strange:
        with pytest.raises(errors.CredentialInvalid):
            await strange.begin("ada")
        talk = await here.cluster.begin("ada")
        async with continuity.connect(
            here.door.target, await calling.api_key(here.door.node.pool)
        ) as other:
            with pytest.raises(errors.NotFound):
                await other.conversation(talk.id)


def test_the_local_cluster_is_found_by_its_file(tmp_path: Path) -> None:
    with pytest.raises(errors.NoCluster, match=f"no cluster runs on {tmp_path}"):
        local.find_cluster(tmp_path)
    told = {"nodes": [{"grpc": "a:1"}, {"grpc": "b:2"}], "admin": {"user": "admin", "api_key": "ccn_k"}}
    (tmp_path / "cluster.json").write_text(json.dumps(told))
    assert local.find_cluster(tmp_path) == local.FoundCluster(("a:1", "b:2"), "ccn_k")
    (tmp_path / "cluster.json").write_text("{}")
    with pytest.raises(errors.NoCluster, match="lacks 'nodes'"):
        local.find_cluster(tmp_path)
    (tmp_path / "cluster.json").write_text("{")
    with pytest.raises(errors.NoCluster, match="cannot be read"):
        local.find_cluster(tmp_path)


def test_every_status_means_something() -> None:
    assert set(failure.MEANING) == set(grpc.StatusCode) - {grpc.StatusCode.OK}


@pytest.mark.parametrize("example", ["own_loop", "grpc_client"])
async def test_the_examples_run(database: settings.DatabaseSettings, example: str) -> None:
    async with connected(database) as here:
        given = ["--target", here.door.target, "--api-key", here.key, "--character", "ada"]
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(ROOT / "scripts" / "examples" / f"{example}.py"),
            *given,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=ROOT,
        )
        out, err = await asyncio.wait_for(process.communicate(), 100)
        assert process.returncode == 0, err.decode()
        said = out.decode()
        assert ("4 assistant: I was asked" if example == "own_loop" else "Well, I am here.") in said
