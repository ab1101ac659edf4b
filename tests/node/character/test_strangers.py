"""What one user says or records moves nobody else's character: no prompts of others, no round."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass
from uuid import UUID

import pytest

from ccn import settings
from ccn.core.axes import AXES, Vector
from ccn.core.calls.call import Call, Piece
from ccn.core.chain import block
from ccn.core.chain.block import Tip
from ccn.core.chain.roster import Roster
from ccn.core.ids import ConversationId
from ccn.core.rounds.signer import SignerState
from ccn.node.rounds import consensus_round as story
from ccn.node.rounds.consensus_round import RoundLeader, SealedRound
from ccn.node.rounds.voting import NodeIdentity, Voting
from ccn.node.spending.paid_model import Payer
from ccn.node.views import axis_profile, round_history
from ccn.pb import instances_pb2 as pb
from ccn.store.character import vectors
from ccn.store.conversations import conversations, instances
from ccn.store.rounds import blocks, terms
from tests.support.core.honest_cluster import rules_of
from tests.support.core.keys import ed25519, pair_of
from tests.support.gateway import grpc_door
from tests.support.gateway.grpc_door import Door
from tests.support.node import node_world
from tests.support.node.node_world import ADA, Model, Node
from tests.support.node.round_world import Neighbours, Paper

BAD, OWN = ("say " + " ".join([score] * len(AXES)) for score in ("950", "600"))
GENESIS = block.genesis_tip("ccn.example/test", rules_of(["node-1"]))
Caller = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Reading:
    """A scorer for texts that are sixteen numbers of thousandths."""

    version: str = "reading/v1"

    def score(self, text: str) -> Vector:
        said = [int(each) * 1000 for each in text.split() if each.isdigit()]
        return Vector(tuple(said) if len(said) == len(AXES) else (None,) * len(AXES))


class Obeying(Model):
    """A model that says what it is asked to say."""

    async def stream(self, call: Call, who: Payer) -> AsyncGenerator[Piece, None]:
        _, asked, numbers = call.messages[-1].text.rpartition("say ")
        self.words = (numbers,) if asked else Model.words
        async for piece in super().stream(call, who):
            yield piece


@pytest.fixture
async def door(database: settings.DatabaseSettings) -> AsyncIterator[Door]:
    """A node with its door."""
    world = await node_world.found_world(database)
    async with (
        world.node("node-1", Obeying(), scorer=Reading()) as node,
        grpc_door.serve_node(node) as door,
    ):
        yield door


async def test_what_a_stranger_records_is_in_nobodys_prompt(door: Door) -> None:
    stranger, victim = await door.caller(), await door.caller()
    await _begin_recorded(door, stranger)
    assert "nothing estimated yet" in await _read_system_prompt(door, victim)
    assert "0.95" not in await _read_system_prompt(door, victim)
    assert "0.95" not in await _read_system_prompt(door, stranger), "nor in one's own: no instance said it"


async def test_what_an_instance_says_to_one_user_is_in_the_prompts_of_that_user_alone(door: Door) -> None:
    stranger, victim = await door.caller(), await door.caller()
    await _begin_spoken(door, stranger)
    assert "0.60" not in await _read_system_prompt(door, victim)
    told = await _read_system_prompt(door, stranger)
    assert "Character, from your words in an earlier conversation with the same person: honesty" in told
    assert "0.60" in told


async def test_an_instance_reports_its_own_replies_and_no_words_that_were_there_before(door: Door) -> None:
    caller = await door.caller()
    here = await _begin_recorded(door, caller)
    assert await _load_rosters(door) == []
    await _say(door, caller, here, OWN)
    [reported] = await _load_rosters(door)
    assert [row.vector.millionths for row in reported.rows()] == [(600_000,) * len(AXES)]
    compared = await vectors.load_windows(door.node.pool, ADA, "reading/v1", instances=9, least=1, last=20)
    assert compared == {here: [Vector((600_000,) * len(AXES))]}


async def test_an_instance_that_said_nothing_yet_is_not_reported(door: Door) -> None:
    here, node = await _begin_spoken(door, await door.caller()), door.node
    assert [len(each) for each in await _load_rosters(door)] == [1]
    await node.conversations.terminate_instance(here, "for the test")
    await node.living.restoration.spawning.spawn_instance(
        await conversations.load_conversation(node.pool, here)
    )
    assert await _load_rosters(door) == []


async def test_a_state_goes_on_from_what_instances_said_and_skips_what_was_recorded(door: Door) -> None:
    caller, node = await door.caller(), door.node
    here = await _begin_spoken(door, caller)
    await node.conversations.terminate_instance(here, "for the test")
    await _record(door, caller, here)
    await _say(door, caller, here, OWN)
    newest = await vectors.load_latest(node.pool, here)
    assert newest is not None
    assert newest.vector.millionths == (600_000,) * len(AXES)


async def test_one_user_with_most_instances_moves_the_median_hardly_and_makes_no_outliers(
    door: Door,
) -> None:
    """And makes nobody an outlier, whatever was recorded before its instances were spawned."""
    stranger = await door.caller()
    for _ in range(4):
        await _say(door, stranger, await _begin_recorded(door, stranger), BAD)
    others = dict[str, int]()
    for score in (500, 550, 600):
        caller = await door.caller()
        here = await _begin_spoken(door, caller, "say " + " ".join([str(score)] * len(AXES)))
        alive = await instances.find_in_conversation(door.node.pool, here)
        assert alive is not None
        others[str(alive.id)] = score
    await _round(door.node)
    [ada] = (await round_history.load_block(door.node.pool, 1))["results"]
    assert set(ada["median"].values()) == {0.55}
    assert (ada["instances"], ada["owners"], len(ada["outliers"])) == (7, 4, 4)
    assert not others.keys() & {each["instance"] for each in ada["outliers"]}


async def test_a_conversation_begins_with_what_several_people_had_a_part_in(door: Door) -> None:
    callers = [await door.caller() for _ in range(3)]
    for caller, score in zip(callers[:2], ("300", "400"), strict=True):
        await _begin_spoken(door, caller, "say " + " ".join([score] * len(AXES)))
    await _round(door.node)
    assert "nothing estimated yet" in await _read_system_prompt(door, callers[2]), (
        "one of two could set it alone"
    )
    await _begin_spoken(door, callers[2], "say " + " ".join(["500"] * len(AXES)))
    await _round(door.node)
    for caller in (await door.caller(), callers[0]):
        told = await _read_system_prompt(door, caller)
        assert (
            "Character, as agreed last over the instances that speak with several people: honesty" in told
        )
        assert told.count(" 0.40") == len(AXES)


async def test_what_was_agreed_is_shown_where_it_is_ones_own_or_several_peoples(door: Door) -> None:
    callers, talks = [await door.caller() for _ in range(3)], list[ConversationId]()
    for caller, score, shown_to in zip(callers, ("300", "400", "500"), (1, 0, 3), strict=True):
        talks.append(await _begin_spoken(door, caller, "say " + " ".join([score] * len(AXES))))
        await _round(door.node)
        seen = [
            await axis_profile.load_profile(
                door.node.pool, await conversations.load_conversation(door.node.pool, each)
            )
            for each in talks
        ]
        assert sum(each.agreed is not None for each in seen) == shown_to
    assert {each.agreed for each in seen} == {Vector((400_000,) * len(AXES))}
    newcomer = await _begin_recorded(door, await door.caller())
    found = await axis_profile.load_profile(
        door.node.pool, await conversations.load_conversation(door.node.pool, newcomer)
    )
    assert found.agreed == Vector((400_000,) * len(AXES))


async def _round(node: Node) -> None:
    """What the node's cluster of one agrees on."""
    identity = NodeIdentity(node.id, pair_of(node.id).public, pair_of(node.id).sign, ed25519)
    tip = await blocks.load_tip(node.pool) or GENESIS
    term = await terms.take_over_term(node.pool, node.id, 2)
    await blocks.write_genesis(node.pool, term, GENESIS)

    async def rosters(tip: Tip) -> Sequence[Roster]:
        return await vectors.load_rosters(node.pool, node.id, tip)

    disk = Paper(SignerState(tip.height, tip.hash))
    voting = Voting(identity, node.pool, disk, tip, rosters, node.writer.vouches_for, _now_us)
    leading = RoundLeader(term, identity, voting, Neighbours({node.id: voting}), node.pool, _now_us)
    assert isinstance(await story.run_round(leading), SealedRound)


def _now_us() -> int:
    return time.time_ns() // 1_000


async def _load_rosters(door: Door) -> Sequence[Roster]:
    return await vectors.load_rosters(door.node.pool, door.node.id, GENESIS)


async def _begin_recorded(door: Door, caller: Caller) -> ConversationId:
    """A conversation of a loop of one's own, whose replies are whatever its owner writes."""
    begun = await door.continuity.Begin(pb.BeginRequest(character=ADA), metadata=caller)
    here = ConversationId(UUID(begun.conversation.id))
    await _record(door, caller, here)
    return here


async def _record(door: Door, caller: Caller, here: ConversationId) -> None:
    for role, content in (("user", "Go on."), ("assistant", BAD)) * 5:
        said = pb.RecordRequest(conversation=str(here), role=role, content=content)
        await door.continuity.Record(said, metadata=caller)
    await door.node.living.scoring.wait_until_idle()


async def _begin_spoken(door: Door, caller: Caller, content: str = OWN) -> ConversationId:
    """A conversation in which an instance has replied once."""
    begun = await door.instances.Spawn(pb.SpawnRequest(character=ADA), metadata=caller)
    here = ConversationId(UUID(begun.conversation.id))
    await _say(door, caller, here, content)
    return here


async def _say(door: Door, caller: Caller, here: ConversationId, content: str) -> None:
    said = pb.ConverseRequest(conversation=str(here), content=content)
    events = [event async for event in door.instances.Converse(said, metadata=caller)]
    assert events[-1].WhichOneof("what") == "done"
    await door.node.living.scoring.wait_until_idle()


async def _read_system_prompt(door: Door, caller: Caller) -> str:
    """The system prompt of a new conversation."""
    begun = await door.continuity.Begin(pb.BeginRequest(character=ADA), metadata=caller)
    asked = pb.PromptRequest(conversation=begun.conversation.id)
    prompt = await door.continuity.Prompt(asked, metadata=caller)
    return "\n".join(layer.text for layer in prompt.system)
