"""Instances whose node dies, freezes or leaves: adopted once, and what was promised is kept."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import pytest

from ccn import settings
from ccn.core.calls.call import Call, Piece
from ccn.core.ids import ConversationId, InstanceId, NodeId
from ccn.core.stream import EventKind, StreamEvent
from ccn.core.turn import TurnStatus
from ccn.node.instances.hosting import DatabaseHostStore
from ccn.node.spending.paid_model import Payer
from ccn.store.connection.pool import Pool
from ccn.store.conversations import instances
from ccn.store.operators import drains
from tests.support.node import node_world
from tests.support.node.node_world import PATIENT, QUICK, Model, Node, World, text
from tests.support.speakers import ANN
from tests.support.store import histories


@pytest.fixture
async def world(database: settings.DatabaseSettings) -> World:
    return await node_world.found_world(database)


@pytest.fixture
async def two(world: World) -> AsyncIterator[tuple[Node, Node]]:
    async with world.node("node-1", chosen=QUICK) as one, world.node("node-2", chosen=QUICK) as other:
        yield one, other


@pytest.fixture
async def calm(world: World) -> AsyncIterator[tuple[Node, Node]]:
    """Two of which neither is taken for dead, however busy this machine is."""
    async with world.node("node-1", chosen=PATIENT) as one, world.node("node-2", chosen=PATIENT) as other:
        yield one, other


async def _all(node: Node, turn: object) -> list[StreamEvent]:
    return [each async for each in node.conversations.follow_turn(turn.id)]  # type: ignore[attr-defined]


async def test_a_turn_is_said_and_followed_from_any_node(calm: tuple[Node, Node]) -> None:
    host, other = calm
    talk = await host.begin_conversation()
    turn = await other.conversations.say(talk, "Hello from elsewhere", ANN)
    assert await _all(other, turn) == await _all(host, turn)
    assert not other.model.calls, "only the host asks the model"
    assert await other.reply((await host.conversations.say(talk, "And back", ANN)).id) == "Well, I am here."


async def test_what_a_word_to_the_host_misses_the_host_finds(calm: tuple[Node, Node], world: World) -> None:
    host, other = calm
    talk = await host.begin_conversation()
    world.gone.add(host.id)
    turn = await other.conversations.say(talk, "Nobody tells you", ANN)
    assert await other.reply(turn.id) == "Well, I am here."
    assert (await instances.find_in_conversation(other.pool, talk)).host == host.id  # type: ignore[union-attr]


@pytest.mark.parametrize("kept", [0, 2, 3])
async def test_a_host_that_dies_in_the_middle_is_replaced_and_the_reply_completes_once(
    two: tuple[Node, Node], kept: int
) -> None:
    host, other = two
    talk, never = await host.begin_conversation(), asyncio.Event()
    host.model.gate = lambda nth: never.wait() if nth == kept else asyncio.sleep(0.02)
    turn = await host.conversations.say(talk, "Hello", ANN)
    following = asyncio.create_task(_all(other, turn))
    await host.wait_until(
        turn.id, lambda each: each.status is TurnStatus.RUNNING and each.event_head == kept
    )
    waiting = await other.conversations.say(talk, "Are you there?", ANN)
    await host.die()
    told = await following
    assert [each.kind for each in told] == [
        *[EventKind.DELTA] * kept,
        EventKind.RESTART,
        *[EventKind.DELTA] * 4,
        EventKind.DONE,
    ]
    assert text(told) == "Well, I am here."
    assert await other.reply(waiting.id) == "Well, I am here."
    assert [role for role, _ in await other.read_messages(talk)].count("assistant") == 2
    assert [each.reason for each in await _lives(other, talk)][-1] == "node-1 is silent"


async def _lives(node: Node, talk: object) -> list[histories.InstanceLife]:
    found = await instances.find_in_conversation(node.pool, talk)  # type: ignore[arg-type]
    assert found is not None
    return await histories.list_lives(node.pool, found.id)


async def test_a_frozen_host_that_wakes_up_says_nothing_any_more(two: tuple[Node, Node]) -> None:
    host, other = two
    talk, thaws = await host.begin_conversation(), asyncio.Event()
    host.model.gate = lambda nth: thaws.wait() if nth == 2 else asyncio.sleep(0)
    turn = await host.conversations.say(talk, "Hello", ANN)
    await host.wait_until(turn.id, lambda each: each.event_head == 2)
    reader = asyncio.create_task(_all(host, turn))
    await host.freeze()
    assert await other.reply(turn.id) == "Well, I am here."
    assert host.living.hosting.find_hosted(talk) is not None, "it does not know yet"
    thaws.set()
    told = await reader
    assert text(told) == "Well, I am here."
    assert host.living.hosting.find_hosted(talk) is None
    assert [content for _, content in await other.read_messages(talk)] == ["Hello", "Well, I am here."]


async def test_a_node_that_stops_lets_turns_end_and_leaves_the_rest_at_once(world: World) -> None:
    async with world.node("node-2", chosen=PATIENT) as other:
        async with world.node("node-1", chosen=PATIENT, grace_s=30.0) as host:
            talk, idle = await host.begin_conversation(), await host.begin_conversation()
            host.model.gate = lambda _: asyncio.sleep(0.1)
            turn = await host.conversations.say(talk, "Hello", ANN)
            await host.wait_until(turn.id, lambda each: each.status is TurnStatus.RUNNING)
        assert (await other.conversations.load_turn(turn.id)).status is TurnStatus.COMMITTED, (
            "it was let end"
        )
        async with asyncio.timeout(60):
            while {talk, idle} - {
                each.conversation for each in await instances.list_alive(other.pool, host=other.id)
            }:
                await asyncio.sleep(0.01)


async def test_nobody_adopts_what_a_stopping_node_still_says(world: World) -> None:
    async with world.node("node-2") as other:
        async with world.node("node-1") as host:
            talk = await host.begin_conversation()
            host.model.gate = lambda _: asyncio.sleep(0.4)
            turn = await host.conversations.say(talk, "Hello", ANN)
            following = asyncio.create_task(_all(other, turn))
            await host.wait_until(turn.id, lambda each: each.status is TurnStatus.RUNNING)
        told = await asyncio.wait_for(following, 20)
        assert [each.kind for each in told] == [*[EventKind.DELTA] * 4, EventKind.DONE]
        assert not other.model.calls, "it took longer than a silent host is waited for"


async def test_a_turn_that_does_not_end_in_time_goes_on_elsewhere(world: World) -> None:
    async with world.node("node-2", chosen=PATIENT) as other:
        async with world.node("node-1", chosen=PATIENT) as host:
            talk = await host.begin_conversation()
            host.model.gate = lambda nth: asyncio.sleep(30 if nth == 2 else 0)
            turn = await host.conversations.say(talk, "Hello", ANN)
            following = asyncio.create_task(_all(other, turn))
            await host.wait_until(turn.id, lambda each: each.event_head == 2)
        told = await asyncio.wait_for(following, 60)
        assert [each.kind for each in told].count(EventKind.RESTART) == 1
        assert text(told) == "Well, I am here."


async def test_a_node_that_starts_again_goes_on_with_what_it_hosted(world: World) -> None:
    async with world.node("node-1") as first:
        talk = await first.begin_conversation()
        first.model.gate = lambda _: asyncio.sleep(30)
        turn = await first.conversations.say(talk, "Hello", ANN)
        await first.wait_until(turn.id, lambda each: each.status is TurnStatus.RUNNING)
        await first.die()
    async with world.node("node-1") as again:
        assert await again.reply(turn.id) == "Well, I am here."
        assert [each.reason for each in await _lives(again, talk)][-1] == "its node started again"
        assert len(again.model.calls) == 1, "it is not interviewed again"


async def test_the_instances_of_a_dead_node_are_spread_over_the_living(world: World) -> None:
    async with AsyncExitStack() as nodes:
        host, *others = [
            await nodes.enter_async_context(world.node(f"node-{n}", chosen=QUICK)) for n in range(1, 4)
        ]
        talks = [await host.begin_conversation() for _ in range(24)]
        epochs = {each.id: each.epoch for each in await host.conversations.list_instances()}
        await host.die()
        async with asyncio.timeout(60):
            while any(each.host == host.id for each in await others[0].conversations.list_instances()):
                await asyncio.sleep(0.02)
        found = await others[0].conversations.list_instances()
        assert {each.id: each.epoch for each in found} == {
            each: epoch + 1 for each, epoch in epochs.items()
        }
        assert min(Counter(each.host for each in found).values()) >= 4
        assert len(talks) == len(found)


async def test_a_draining_node_gives_away_what_it_hosts_and_takes_nothing(calm: tuple[Node, Node]) -> None:
    host, other = calm
    talk = await host.begin_conversation()
    await drains.begin_drain(host.pool, host.id, "test", [host.id, other.id])
    await _is_taken(talk, host, other)
    assert await host.reply((await host.conversations.say(talk, "Hello", ANN)).id) == "Well, I am here."
    new = await host.conversations.start(node_world.ADA)
    assert new.instance.host == other.id


class SlowHeartbeat(DatabaseHostStore):
    """Sends each heartbeat only after something was given away, which may be never."""

    def __init__(self, pool: Pool) -> None:
        super().__init__(pool)
        self.given_away = asyncio.Event()
        self.on_its_way = asyncio.Event()

    async def keep_alive(self, node: NodeId, mine: Collection[InstanceId]) -> Mapping[InstanceId, int]:
        self.on_its_way.set()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.given_away.wait(), 0.5)
        return await super().keep_alive(node, mine)

    async def release_instances(self, node: NodeId, mine: Collection[InstanceId]) -> None:
        await super().release_instances(node, mine)
        self.given_away.set()


async def test_a_heartbeat_on_its_way_claims_nothing_that_was_given_away(world: World) -> None:
    slow = list[SlowHeartbeat]()

    def open_store(pool: Pool) -> SlowHeartbeat:
        slow.append(SlowHeartbeat(pool))
        return slow[0]

    async with (
        world.node("node-1", chosen=PATIENT, host_store=open_store) as host,
        world.node("node-2", chosen=PATIENT) as other,
    ):
        talk = await host.begin_conversation()
        slow[0].on_its_way.clear()
        await asyncio.wait_for(slow[0].on_its_way.wait(), 30)
        await drains.begin_drain(host.pool, host.id, "test", [host.id, other.id])
        await _is_taken(talk, host, other)


async def _is_taken(talk: ConversationId, host: Node, other: Node) -> None:
    """Long before anybody would be taken for dead."""
    async with asyncio.timeout(30):
        while (await instances.find_in_conversation(other.pool, talk)).host == host.id:  # type: ignore[union-attr]
            await asyncio.sleep(0.01)


async def test_cancelling_and_ending_reach_the_host(calm: tuple[Node, Node]) -> None:
    host, other = calm
    talk, never = await host.begin_conversation(), asyncio.Event()
    host.model.gate = lambda _: never.wait()
    turn = await other.conversations.say(talk, "Hello", ANN)
    assert (await other.conversations.cancel_turn(turn.id)).status is TurnStatus.CANCELLED
    await other.conversations.end(talk)
    assert await other.conversations.list_instances() == []


@dataclass
class _Slow(Model):
    """Answers its first question when it is let."""

    let: asyncio.Event = field(default_factory=asyncio.Event)

    async def stream(self, call: Call, who: Payer) -> AsyncGenerator[Piece, None]:
        if not self.calls:
            self.calls.append(call)
            await self.let.wait()
        async for piece in super().stream(call, who):
            yield piece


async def test_a_host_that_dies_during_the_interview_leaves_no_instance_behind(world: World) -> None:
    async with world.node("node-2", chosen=QUICK) as other:
        async with world.node("node-1", _Slow(), QUICK) as host:
            spawning = asyncio.create_task(host.begin_conversation())
            async with asyncio.timeout(60):
                while not (born := await instances.list_alive(other.pool)):
                    await asyncio.sleep(0.001)
            await host.die()
            spawning.cancel()
            await asyncio.gather(spawning, return_exceptions=True)
        async with asyncio.timeout(60):
            while await instances.list_alive(other.pool):
                await asyncio.sleep(0.01)
        assert (
            await instances.load_instance(other.pool, born[0].id)
        ).status is instances.InstanceStatus.FAILED
        turn = await other.conversations.say(born[0].conversation, "Anybody?", ANN)
        assert await other.reply(turn.id) == "Well, I am here."


@pytest.mark.parametrize("key", [None, "the same"])
async def test_an_instance_that_others_took_for_dead_is_spawned_again(
    world: World, key: str | None
) -> None:
    slow = _Slow()
    async with (
        world.node("node-1", slow, chosen=PATIENT) as host,
        world.node("node-2", chosen=PATIENT) as other,
    ):
        starting = asyncio.create_task(host.conversations.start(node_world.ADA, idempotency_key=key))
        async with asyncio.timeout(20):
            while not (born := await instances.list_alive(other.pool)):
                await asyncio.sleep(0.001)
        assert await other.living.adoption.adopt_instance(born[0]) is None
        slow.let.set()
        started = await asyncio.wait_for(starting, 20)
        assert started.conversation.id == born[0].conversation
        assert (started.instance.status, started.instance.host) == (
            instances.InstanceStatus.RUNNING,
            "node-1",
        )
        assert (
            await instances.load_instance(other.pool, born[0].id)
        ).status is instances.InstanceStatus.FAILED
        turn = await other.conversations.say(started.conversation.id, "Anybody?", ANN)
        assert await other.reply(turn.id) == "Well, I am here."
