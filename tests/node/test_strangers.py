"""What one user says or records is nowhere in the prompts of others, nor in what instances report."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from uuid import UUID

import pytest

from ccn import settings
from ccn.core.character import AXES, Vector
from ccn.core.ids import ConversationId
from ccn.pb import instances_pb2 as pb
from ccn.store import conversations, vectors
from tests import calling, living
from tests.calling import Door
from tests.living import ADA, Model

BAD = " ".join(["950"] * len(AXES))
OWN = " ".join(["600"] * len(AXES))
Caller = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Reading:
    """A scorer for texts that are sixteen numbers of thousandths."""

    version: str = "reading/v1"

    def score(self, text: str) -> Vector:
        said = [int(each) * 1000 for each in text.split() if each.isdigit()]
        return Vector(tuple(said) if len(said) == len(AXES) else (None,) * len(AXES))


@pytest.fixture
async def door(database: settings.Database) -> AsyncIterator[Door]:
    """A node whose instances all say the same sixteen numbers, and its door."""
    world = await living.founded(database)
    async with (
        world.node("node-1", Model(words=(OWN,)), scorer=Reading()) as node,
        calling.served(node) as door,
    ):
        yield door


async def test_what_a_stranger_records_is_in_nobodys_prompt(door: Door) -> None:
    stranger, victim = await door.caller(), await door.caller()
    await _recorded(door, stranger)
    assert "nothing estimated yet" in await _beginning(door, victim)
    assert "0.95" not in await _beginning(door, victim)
    assert "0.95" not in await _beginning(door, stranger), "nor in one's own: no instance said it"


async def test_what_an_instance_says_to_one_user_is_in_the_prompts_of_that_user_alone(door: Door) -> None:
    stranger, victim = await door.caller(), await door.caller()
    await _spoken(door, stranger)
    assert "0.60" not in await _beginning(door, victim)
    told = await _beginning(door, stranger)
    assert "Character, from your words in an earlier conversation with the same person: honesty" in told
    assert "0.60" in told


async def test_an_instance_reports_its_own_replies_and_no_words_that_were_there_before(door: Door) -> None:
    caller = await door.caller()
    here = await _recorded(door, caller)
    assert await vectors.rosters(door.node.pool, door.node.id) == []
    await _say(door, caller, here)
    [reported] = await vectors.rosters(door.node.pool, door.node.id)
    assert [row.vector.millionths for row in reported.rows()] == [(600_000,) * len(AXES)]
    compared = await vectors.windows(door.node.pool, ADA, "reading/v1", instances=9, least=1, last=20)
    assert compared == {here: [Vector((600_000,) * len(AXES))]}


async def test_an_instance_that_said_nothing_yet_is_not_reported(door: Door) -> None:
    here, node = await _spoken(door, await door.caller()), door.node
    assert [len(each) for each in await vectors.rosters(node.pool, node.id)] == [1]
    await node.doors.terminate(here, "for the test")
    await node.living.restoring.spawning.spawn(await conversations.get(node.pool, here))
    assert await vectors.rosters(node.pool, node.id) == []


async def test_a_state_goes_on_from_what_instances_said_and_skips_what_was_recorded(door: Door) -> None:
    caller, node = await door.caller(), door.node
    here = await _spoken(door, caller)
    await node.doors.terminate(here, "for the test")
    await _record(door, caller, here)
    await _say(door, caller, here)
    newest = await vectors.latest(node.pool, here)
    assert newest is not None
    assert newest.vector.millionths == (600_000,) * len(AXES)


async def _recorded(door: Door, caller: Caller) -> ConversationId:
    """A conversation of a loop of one's own, whose replies are whatever its owner writes."""
    begun = await door.continuity.Begin(pb.BeginRequest(character=ADA), metadata=caller)
    here = ConversationId(UUID(begun.conversation.id))
    await _record(door, caller, here)
    return here


async def _record(door: Door, caller: Caller, here: ConversationId) -> None:
    for role, content in (("user", "Go on."), ("assistant", BAD)) * 5:
        said = pb.RecordRequest(conversation=str(here), role=role, content=content)
        await door.continuity.Record(said, metadata=caller)
    await door.node.living.scoring.settled()


async def _spoken(door: Door, caller: Caller) -> ConversationId:
    """A conversation in which an instance has replied once."""
    begun = await door.instances.Spawn(pb.SpawnRequest(character=ADA), metadata=caller)
    here = ConversationId(UUID(begun.conversation.id))
    await _say(door, caller, here)
    return here


async def _say(door: Door, caller: Caller, here: ConversationId) -> None:
    said = pb.ConverseRequest(conversation=str(here), content="Go on.")
    events = [event async for event in door.instances.Converse(said, metadata=caller)]
    assert events[-1].WhichOneof("what") == "done"
    await door.node.living.scoring.settled()


async def _beginning(door: Door, caller: Caller) -> str:
    """The system prompt of a new conversation."""
    begun = await door.continuity.Begin(pb.BeginRequest(character=ADA), metadata=caller)
    asked = pb.PromptRequest(conversation=begun.conversation.id)
    prompt = await door.continuity.Prompt(asked, metadata=caller)
    return "\n".join(layer.text for layer in prompt.system)
