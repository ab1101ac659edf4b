"""Bringing instances to life: interviewed, registered with a life for each step, within a limit."""

from __future__ import annotations

import asyncio
import re

import pytest

from ccn import errors, metrics, settings
from ccn.core.ids import CharacterId
from ccn.core.prompts import prompt
from ccn.core.prompts.interview import QUESTIONS
from ccn.store.conversations import instances
from ccn.store.conversations.instances import InstanceStatus
from tests.support.node import node_world
from tests.support.node.node_world import Model, Node, World
from tests.support.speakers import ANN
from tests.support.store import histories

STRANGER = "Rain, rain."


@pytest.fixture
async def world(database: settings.DatabaseSettings) -> World:
    return await node_world.found_world(database)


async def _lives(node: Node, instance: instances.Instance) -> list[tuple[InstanceStatus, str]]:
    return [(each.status, each.reason) for each in await histories.list_lives(node.pool, instance.id)]


async def test_an_instance_is_asked_six_questions_and_then_runs(world: World) -> None:
    async with world.node("node-1") as node:
        started = await node.conversations.start(node_world.ADA)
        assert [call.messages[-1].text for call in node.model.calls] == [each.asks for each in QUESTIONS]
        assert started.instance.status is InstanceStatus.RUNNING
        assert await _lives(node, started.instance) == [
            (InstanceStatus.SPAWNING, "spawned: begun"),
            (InstanceStatus.RUNNING, "passed the interview, try 1: 6 of 6"),
        ]
        kept = (await instances.load_instance(node.pool, started.instance.id)).validation
        assert kept is not None
        assert (kept["passed"], kept["tries"]) == (True, 1)
        assert await node.read_messages(started.conversation.id) == [], "questions are no messages"


async def test_a_new_conversation_its_instance_and_its_anchor_come_in_one_transaction(world: World) -> None:
    async with world.node("node-1") as node:
        started = await node.conversations.start(node_world.ADA, title="A")
        here = started.conversation
        rows = await node.pool.rows(
            """
            SELECT c.xmin = a.xmin AS same, c.plate_version, a.host_epoch, a.version
            FROM conversation_versions c JOIN prompt_anchors a USING (conversation_id)
            WHERE conversation_id = $1
            """,
            here.id,
        )
        assert [tuple(row) for row in rows] == [(True, 1, started.instance.epoch, 1)]
        assert (here.title, here.plate_version) == ("A", 1)


async def test_a_stranger_is_asked_three_times_and_never_let_in(world: World) -> None:
    async with world.node("node-1", Model(interview=STRANGER)) as node:
        with pytest.raises(errors.SpawnFailed, match="not the character after 3 tries") as failed:
            await node.conversations.start(node_world.ADA, idempotency_key="k")
        assert "Who are you?" in str(failed.value)
        assert STRANGER not in str(failed.value)
        assert len(node.model.calls) == 3 * len(QUESTIONS)
        assert await node.conversations.list_instances() == []
        rows = await node.pool.rows("SELECT id FROM instance_registry")
        life = [each.reason for each in await histories.list_lives(node.pool, rows[0]["id"])]
        assert life == ["spawned: begun", *(f"failed the interview, try {n}: 0 of 6" for n in (1, 2, 3))]
        node.model.interview = node_world.PASSES
        again = await node.conversations.start(node_world.ADA, idempotency_key="k")
        assert again.instance.epoch == 2


async def test_a_model_that_does_not_answer_fails_the_spawn_with_its_own_error(world: World) -> None:
    async with world.node("node-1", Model(unheard=errors.ModelUnavailable("nobody there"))) as node:
        with pytest.raises(errors.ModelUnavailable):
            await node.conversations.start(node_world.ADA)
        row = (await node.pool.rows("SELECT id FROM instance_registry"))[0]
        found = await instances.load_instance(node.pool, row["id"])
        assert (found.status, (await _lives(node, found))[-1][1]) == (
            InstanceStatus.FAILED,
            "not interviewed: ModelUnavailable",
        )


async def test_many_who_ask_at_once_get_one_instance(world: World) -> None:
    async with world.node("node-1") as one, world.node("node-2") as other:
        talk = await one.begin_conversation()
        await one.conversations.terminate_instance(talk, "asked to")
        turns = await asyncio.gather(
            *(
                node.conversations.say(talk, f"{node.id} {n}", ANN)
                for node in (one, other)
                for n in range(2)
            )
        )
        for turn in turns:
            assert await other.reply(turn.id) == "Well, I am here."
        rows = await one.pool.rows("SELECT id FROM instance_registry WHERE conversation_id = $1", talk)
        assert len(rows) == 2


async def test_a_continued_conversation_has_its_history_and_a_new_one_remembers(world: World) -> None:
    async with world.node("node-1") as node:
        talk = await node.begin_conversation()
        await node.reply((await node.conversations.say(talk, "My name is Zoe", ANN)).id)
        await node.conversations.terminate_instance(talk, "for the test")
        await node.reply((await node.conversations.say(talk, "And now?", ANN)).id)
        last = node.model.calls[-1]
        assert [each.text for each in last.messages] == ["My name is Zoe", "Well, I am here.", "And now?"]
        assert node_world.PLATE.splitlines()[1] in prompt.call_to_text(last)
        lives = [reason for _, reason in await _lives(node, (await node.conversations.list_instances())[0])]
        assert lives[0] == "spawned: continued"


async def test_a_full_node_hands_on_and_a_full_cluster_says_so(world: World) -> None:
    small = node_world.PATIENT.model_copy(update={"limit": 1, "idle_s": 60.0})
    async with world.node("node-1", chosen=small) as one, world.node("node-2", chosen=small) as other:
        assert [(await one.conversations.start(node_world.ADA)).instance.host for _ in range(2)] == [
            one.id,
            other.id,
        ]
        with pytest.raises(errors.Overloaded, match="no other node"):
            await one.conversations.start(node_world.ADA)


async def test_whoever_is_idle_for_long_makes_room(world: World) -> None:
    small = node_world.PATIENT.model_copy(update={"limit": 1, "idle_s": 0.01})
    async with world.node("node-1", chosen=small) as node:
        first = await node.begin_conversation()
        await asyncio.sleep(0.02)
        second = await node.begin_conversation()
        assert [each.conversation for each in await node.conversations.list_instances()] == [second]
        await asyncio.sleep(0.02)
        assert (
            await node.reply((await node.conversations.say(first, "Still there?", ANN)).id)
            == "Well, I am here."
        )


async def test_the_series_tell_how_many_live_here_and_how_long_spawning_took(world: World) -> None:
    async with world.node("node-1") as node:
        await node.begin_conversation()
        page = metrics.series.render_page("")[0].decode()
        assert "ccn_active_instances 1.0" in page
        assert re.search(r'ccn_instance_spawn_seconds_count\{outcome="running"\} [1-9]', page)
        assert "ccn_total_conversations" in page


async def test_a_character_that_does_not_exist_is_said_so(world: World) -> None:
    async with world.node("node-1") as node:
        with pytest.raises(errors.NotFound):
            await node.conversations.start(CharacterId("nobody"))
