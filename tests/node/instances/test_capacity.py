"""Room for one more: among what its owner may have, and on a full node; never of who is at work."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass

import pytest

from ccn import errors, settings
from ccn.core.calls.call import Call, Piece
from ccn.core.ids import ConversationId, UserId
from ccn.node.conversations import StartedConversation
from ccn.node.spending.paid_model import Payer
from ccn.store.conversations import conversations, instances
from ccn.store.conversations.instances import ChangeInstance, InstanceStatus
from tests.support.node import node_world
from tests.support.node.node_world import Model, Node, World
from tests.support.speakers import ANN

FEW = settings.LimitsSettings(conversations=6, instances=3)
SMALL = node_world.PATIENT.model_copy(update={"limit": 4, "idle_s": 3_600.0})


@dataclass
class Gate:
    """Holds replies until it is opened."""

    opened: asyncio.Event

    async def __call__(self, nth: int) -> None:
        await self.opened.wait()


@pytest.fixture
async def world(database: settings.DatabaseSettings) -> World:
    return await node_world.found_world(database)


@pytest.fixture
async def node(world: World) -> AsyncIterator[Node]:
    async with world.node("node-1", limits=FEW) as opened:
        yield opened


async def user(node: Node) -> UserId:
    named = UserId(node_world.new_id())
    await node.pool.rows("INSERT INTO users (id, name, tier) VALUES ($1, $2, 'user')", named, f"{named}")
    return named


async def start(node: Node, owner: UserId, **how: str) -> StartedConversation:
    return await node.conversations.start(node_world.ADA, owner, **how)


async def alive(node: Node, owner: UserId) -> list[ConversationId]:
    return [each.conversation for each in await instances.list_page(node.pool, owner, None, 100)]


async def open_conversations(node: Node, owner: UserId) -> list[ConversationId]:
    return [each.id for each in await conversations.list_of_owner(node.pool, owner)]


async def test_whoever_has_as_many_instances_as_they_may_puts_their_own_longest_idle_one_to_sleep(
    node: Node,
) -> None:
    ada, eve = await user(node), await user(node)
    (theirs,) = [(await start(node, eve)).conversation.id]
    first, second, third = [(await start(node, ada)).conversation.id for _ in range(3)]
    await node.reply((await node.conversations.say(first, "Still there?", ANN)).id)
    fourth = (await start(node, ada)).conversation.id
    assert await alive(node, ada) == [first, third, fourth]
    assert await alive(node, eve) == [theirs], "it had been idle for longest of all"
    assert await node.reply((await node.conversations.say(second, "Wake up", ANN)).id) == "Well, I am here."
    assert len(await alive(node, ada)) == 3


async def test_nobody_is_put_to_sleep_for_what_cannot_be_paid_for(world: World) -> None:
    class Dear(Model):
        spent = False

        def check_allowance(self, owner: UserId | None) -> None:
            if self.spent:
                raise errors.AllowanceSpent("all of it")

    async with world.node("node-1", model := Dear(), limits=FEW) as node:
        ada = await user(node)
        talks = [(await start(node, ada)).conversation.id for _ in range(3)]
        model.spent = True
        with pytest.raises(errors.AllowanceSpent):
            await start(node, ada)
        assert await alive(node, ada) == talks


async def test_an_instance_at_work_is_never_put_to_sleep_and_a_refused_start_leaves_nothing_behind(
    world: World,
) -> None:
    gate = Gate(asyncio.Event())
    async with world.node("node-1", Model(gate=gate), limits=FEW) as node:
        ada = await user(node)
        talks = [(await start(node, ada)).conversation.id for _ in range(3)]
        turns = [await node.conversations.say(each, "Take your time", ANN) for each in talks]
        for how in ({}, {"idempotency_key": "once"}):
            with pytest.raises(errors.TooManyInstances, match=r"all 3 .*CCN_LIMITS_INSTANCES"):
                await start(node, ada, **how)
        assert sorted(await open_conversations(node, ada)) == talks
        gate.opened.set()
        assert [await node.reply(turn.id) for turn in turns] == ["Well, I am here."] * 3
        assert (await start(node, ada, idempotency_key="once")).instance.status is InstanceStatus.RUNNING


async def test_nobody_has_more_open_conversations_than_they_may_whichever_way_they_begin(
    node: Node,
) -> None:
    ada, eve = await user(node), await user(node)
    keyed = await node.conversations.begin_without_instance(node_world.ADA, ada, idempotency_key="loop")
    for _ in range(5):
        last = (await start(node, ada)).conversation.id
    for refused in (start(node, ada), node.conversations.begin_without_instance(node_world.ADA, ada)):
        with pytest.raises(errors.TooManyConversations, match=r"6 open .*CCN_LIMITS_CONVERSATIONS"):
            await refused
    assert (
        await node.conversations.begin_without_instance(node_world.ADA, ada, idempotency_key="loop")
        == keyed
    )
    await start(node, eve)
    await node.conversations.end(last)
    await start(node, ada)


async def test_whoever_had_little_a_moment_ago_still_gets_no_more_than_they_may(world: World) -> None:
    many = settings.LimitsSettings(conversations=20, instances=6)
    async with world.node("node-1", limits=many) as one, world.node("node-2", limits=many) as two:
        ada = await user(one)
        for nth in range(12):
            await start(two if nth % 4 else one, ada)
        assert len(await open_conversations(one, ada)) == 12
        assert len(await alive(one, ada)) == 6


async def test_of_many_who_begin_at_once_on_two_nodes_no_more_begin_than_may(world: World) -> None:
    async with world.node("node-1", limits=FEW) as one, world.node("node-2", limits=FEW) as two:
        ada = await user(one)
        tries = [start(node, ada) for node in (one, two) for _ in range(6)]
        outcomes = await asyncio.gather(*tries, return_exceptions=True)
        failed = [each for each in outcomes if not isinstance(each, StartedConversation)]
        assert {type(each) for each in failed} <= {errors.TooManyInstances, errors.TooManyConversations}
        assert len(outcomes) - len(failed) == len(await open_conversations(one, ada)) <= 6
        assert len(await alive(one, ada)) <= 3


async def test_no_more_are_spawned_at_once_for_a_user_than_allowed_and_others_do_not_wait(
    world: World,
) -> None:
    asked, opened = list[ConversationId](), asyncio.Event()

    class Interviewing(Model):
        async def stream(self, call: Call, who: Payer) -> AsyncGenerator[Piece, None]:
            assert who.conversation is not None
            asked.append(who.conversation)
            if who.owner == ada:
                await opened.wait()
            async for piece in super().stream(call, who):
                yield piece

    limits = settings.LimitsSettings(spawns_at_once=1)
    async with world.node("node-1", Interviewing(), limits=limits) as node:
        ada, eve = await user(node), await user(node)
        mine = [asyncio.create_task(start(node, ada)) for _ in range(5)]
        while not asked:
            await asyncio.sleep(0.001)
        await start(node, eve)
        with pytest.raises(errors.TooManySpawns, match=r"1 of your .*CCN_LIMITS_SPAWNS_AT_ONCE"):
            await start(node, ada)
        assert len(await open_conversations(node, ada)) == 1
        opened.set()
        assert len({(await each).conversation.id for each in mine}) == 5


async def test_an_idle_instance_on_another_node_is_put_to_sleep_there(world: World) -> None:
    async with world.node("node-1", limits=FEW) as one, world.node("node-2", limits=FEW) as two:
        ada = await user(one)
        first, *_ = [(await start(one, ada)).conversation.id for _ in range(3)]
        last = (await start(two, ada)).conversation.id
        assert first not in await alive(two, ada)
        assert last in await alive(two, ada)
        assert one.living.hosting.find_hosted(first) is None


async def test_what_is_said_while_an_instance_falls_asleep_is_answered_by_the_next(world: World) -> None:
    async with world.node("node-1", limits=FEW) as one, world.node("node-2", limits=FEW) as two:
        ada = await user(one)
        talk = (await start(one, ada)).conversation.id
        asleep = one.living.room.put_to_sleep(talk, "for the test")
        said, slept = await asyncio.gather(
            two.conversations.say(talk, "Hello?", ANN), asleep, return_exceptions=True
        )
        assert not isinstance(said, BaseException)
        assert slept is None or isinstance(slept, errors.Conflict)
        assert await two.reply(said.id) == "Well, I am here."


async def test_an_instance_that_is_out_of_character_is_left_for_an_operator(node: Node) -> None:
    ada = await user(node)
    started = [await start(node, ada) for _ in range(3)]
    quarantined = ChangeInstance(started[0].instance, InstanceStatus.QUARANTINED, "for the test")
    node.living.hosting.host_instance(await node.writer.submit(quarantined))
    await start(node, ada)
    kept = await alive(node, ada)
    assert started[0].conversation.id in kept
    assert started[1].conversation.id not in kept


async def test_one_user_cannot_keep_another_out_of_full_nodes(world: World) -> None:
    """Thirty idle instances of one user on three nodes with twelve places, and none is left to others."""
    async with (
        world.node("node-1", chosen=SMALL) as one,
        world.node("node-2", chosen=SMALL) as two,
        world.node("node-3", chosen=SMALL) as three,
    ):
        nodes = [one, two, three]
        ada, eve = await user(one), await user(one)
        for nth in range(15):
            await start(nodes[nth % 3], ada)
        assert len(await alive(one, ada)) == 12
        for nth in range(5):
            await start(nodes[nth % 3], eve)
        assert len(await alive(one, eve)) == 5
        assert len(await alive(one, ada)) == 7
        gone = set(await open_conversations(one, ada)) - set(await alive(one, ada))
        assert (
            await two.reply((await two.conversations.say(gone.pop(), "Wake up", ANN)).id)
            == "Well, I am here."
        )
        assert len(await alive(one, eve)) == 5, "who has fewer is not put to sleep for who has more"


async def test_many_who_come_at_once_to_a_full_node_make_it_no_fuller(world: World) -> None:
    async with world.node("node-1", chosen=SMALL) as node:
        ada, eve = await user(node), await user(node)
        for _ in range(4):
            await start(node, ada)
        mine = [start(node, ada) for _ in range(6)]
        theirs = [start(node, eve) for _ in range(2)]
        outcomes = await asyncio.gather(*mine, *theirs, return_exceptions=True)
        assert {type(each) for each in outcomes} <= {StartedConversation, errors.Overloaded}
        assert len(node.living.hosting) == len(await node.conversations.list_instances()) == 4
        lives = await node.pool.rows("SELECT reason FROM instance_lives WHERE status = 'terminated'")
        assert len(lives) == sum(isinstance(each, StartedConversation) for each in outcomes)


async def test_others_are_asked_for_room_before_anybody_is_put_to_sleep(world: World) -> None:
    async with world.node("node-1", chosen=SMALL) as one, world.node("node-2", chosen=SMALL) as two:
        ada = await user(one)
        for _ in range(8):
            await start(one, ada)
        assert len(await alive(one, ada)) == len(await open_conversations(one, ada)) == 8
        assert len(two.living.hosting) == 4


async def test_a_full_cluster_refuses_who_has_as_much_as_everybody_and_leaves_nothing_behind(
    world: World,
) -> None:
    async with world.node("node-1", chosen=SMALL) as one, world.node("node-2", chosen=SMALL):
        for _ in range(8):
            await start(one, await user(one))
        late = await user(one)
        with pytest.raises(errors.Overloaded, match="no other node"):
            await start(one, late)
        assert await open_conversations(one, late) == []
