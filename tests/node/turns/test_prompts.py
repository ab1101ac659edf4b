"""From an instance and a turn to the call that is sent."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from ccn import errors, settings
from ccn.core.prompts import plate
from ccn.node.turns.prompts import Prompts
from ccn.store.conversations.instances import Instance
from tests.support.node import node_world
from tests.support.node.node_world import ADA, Node
from tests.support.speakers import ANN


@dataclass
class Talk:
    """An instance that has answered once, and the prompts of a node that knows nothing of it yet."""

    node: Node
    instance: Instance
    prompts: Prompts

    def fresh_prompts(self) -> Prompts:
        return Prompts(self.node.pool, self.node.writer, settings.ClaudeSettings())


@pytest.fixture
async def talk(database: settings.DatabaseSettings) -> AsyncIterator[Talk]:
    world = await node_world.found_world(database)
    async with world.node("node-1") as node:
        begun = await node.conversations.start(ADA)
        turn = await node.conversations.say(begun.conversation.id, "How are you?", ANN)
        await node.reply(turn.id)
        prompts = Prompts(node.pool, node.writer, settings.ClaudeSettings())
        yield Talk(node, begun.instance, prompts)


async def test_every_node_builds_the_same_prompt_of_the_same_message(talk: Talk) -> None:
    call = await talk.prompts.build_call(talk.instance, 1)
    assert call == await talk.fresh_prompts().build_call(talk.instance, 1)
    assert call == await talk.prompts.build_call(talk.instance, 1), "also when it knows the anchor already"
    assert call.messages[-1].text.endswith("How are you?")
    assert "Keeps her word." in "".join(block.text for block in call.system)


async def test_a_prompt_that_was_read_ahead_is_the_one_that_is_built(talk: Talk) -> None:
    material = await talk.prompts.read_material(talk.instance, 1)
    assert talk.prompts.build_if_unmoved(talk.instance, material) == await talk.prompts.build_call(
        talk.instance, 1
    )


async def test_questions_share_all_but_their_last_words_and_are_no_messages(talk: Talk) -> None:
    opening = await talk.prompts.load_opening(talk.instance)
    asks = ["Who are you?", "What do you promise?"]
    first, second = talk.prompts.build_questions(talk.instance.model, opening, asks)
    assert first.system == second.system
    assert first.messages[:-1] == second.messages[:-1]
    assert [call.messages[-1].text.endswith(text) for call, text in zip((first, second), asks, strict=True)]
    assert first.messages[-1].text.removesuffix(asks[0]) == second.messages[-1].text.removesuffix(asks[1])
    assert await talk.node.read_messages(talk.instance.conversation) == [
        ("user", "How are you?"),
        ("assistant", "Well, I am here."),
    ]


async def test_a_message_that_no_prompt_has_room_for_is_refused(talk: Talk) -> None:
    await talk.prompts.check_fits(talk.instance, "Hello.")
    with pytest.raises(errors.MessageTooLong, match="there is room for"):
        await talk.prompts.check_fits(talk.instance, "lighthouse " * 200_000)


async def test_a_plate_is_parsed_once_and_a_version_that_is_not_there_is_not_found(talk: Talk) -> None:
    assert await talk.prompts.load_plate(ADA, 1) is await talk.prompts.load_plate(ADA, 1)
    with pytest.raises(errors.NotFound):
        await talk.prompts.load_plate(ADA, 2)


def test_the_model_of_the_plate_is_chosen_before_that_of_the_settings(talk: Talk) -> None:
    named = plate.parse_plate('+++\nmodel = "claude-special"\n+++\n# Ada\nKeeps her word.')
    assert talk.prompts.choose_model(named) == "claude-special"
    plain = plate.parse_plate("# Ada\nKeeps her word.")
    assert talk.prompts.choose_model(plain) == settings.ClaudeSettings().model
