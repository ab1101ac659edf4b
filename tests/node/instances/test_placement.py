"""Which node hosts a conversation: this one, another one with room, or none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import pytest

from ccn import errors, settings
from ccn.core.ids import ConversationId
from ccn.node.instances.forwarding import Body
from ccn.store.conversations import conversations, instances
from tests.support.node import node_world
from tests.support.node.node_world import ADA, PATIENT, Node, World
from tests.support.speakers import ANN

ONE_INSTANCE = PATIENT.model_copy(update={"limit": 1, "idle_s": 3_600.0})


@pytest.fixture
async def world(database: settings.DatabaseSettings) -> World:
    return await node_world.found_world(database)


@pytest.fixture
async def node(world: World) -> AsyncIterator[Node]:
    async with world.node("node-1", chosen=ONE_INSTANCE) as opened:
        yield opened


async def call(node: Node, method: str, body: Body) -> object:
    """Call a method as another node does that forwards to this one."""
    return [value async for value in node.forwarding.methods[method](body)][-1]


async def begin_unspoken(node: Node) -> ConversationId:
    return (await node.conversations.begin_without_instance(ADA)).id


async def test_a_full_node_begins_a_conversation_on_a_node_with_room(world: World, node: Node) -> None:
    async with world.node("node-2", chosen=ONE_INSTANCE) as other:
        first = await node.conversations.start(ADA)
        second = await node.conversations.start(ADA)
        assert (first.instance.host, second.instance.host) == (node.id, other.id)
        assert other.living.hosting.find_hosted(second.conversation.id) is not None
        turn = await node.conversations.say(second.conversation.id, "Hello", ANN)
        assert await node.reply(turn.id) == "Well, I am here.", "this node answers for the other one"


async def test_a_full_cluster_begins_nothing(node: Node) -> None:
    begun = await node.conversations.start(ADA)
    with pytest.raises(errors.Overloaded, match=r"hosts 1 instances, and no other node takes a new one"):
        await node.conversations.start(ADA)
    alive = await instances.list_alive(node.pool)
    assert [instance.id for instance in alive] == [begun.instance.id]


async def test_all_who_ask_at_once_for_the_instance_of_a_conversation_get_the_same(node: Node) -> None:
    body = {"conversation": str(await begin_unspoken(node))}
    spawned = await asyncio.gather(*[call(node, "spawn", body) for _ in range(3)])
    assert len(set(spawned)) == 1, "the one place of this node is taken for all three"
    (instance,) = await instances.list_alive(node.pool)
    assert UUID(str(spawned[0])) == instance.id


async def test_several_messages_at_once_share_the_last_place_of_a_node(node: Node) -> None:
    conversation = await begin_unspoken(node)
    said = [node.conversations.say(conversation, f"Hello {number}", ANN) for number in range(3)]
    turns = await asyncio.gather(*said)
    assert len({turn.id for turn in turns}) == 3
    assert len(await instances.list_alive(node.pool)) == 1


async def test_a_closed_conversation_gets_no_instance(node: Node) -> None:
    conversation = await begin_unspoken(node)
    await node.conversations.end(conversation)
    with pytest.raises(errors.Conflict, match="closed"):
        await node.conversations.say(conversation, "Are you there?", ANN)
    assert await instances.list_alive(node.pool) == []


async def test_a_node_ends_no_instance_that_it_does_not_host(world: World, node: Node) -> None:
    begun = await node.conversations.start(ADA)
    body = {"conversation": str(begun.conversation.id), "reason": "asked by another node"}
    async with world.node("node-2") as other:
        with pytest.raises(errors.StaleHost, match="does not host"):
            await call(other, "end", body)
    assert await call(node, "end", body) is True
    assert await instances.find_in_conversation(node.pool, begun.conversation.id) is None
    stored = await conversations.load_conversation(node.pool, begun.conversation.id)
    assert stored.open, "only its instance ended"
