"""Instances: one alive for each conversation, adopted once, and nothing that happens to one is silent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from ccn import errors
from ccn.core.ids import CharacterId, InstanceId, NodeId
from ccn.store.conversations import characters, conversations, instances
from ccn.store.conversations.instances import (
    AdoptInstance,
    ChangeInstance,
    HeartbeatPatience,
    Instance,
    InstanceStatus,
    SpawnInstance,
)
from ccn.store.writing.writer import Writer
from tests.support.store import histories

if TYPE_CHECKING:
    from tests.support.store.open_store import Store

    Another = Callable[..., AbstractAsyncContextManager[Writer]]

NODE_1, NODE_2 = NodeId("node-1"), NodeId("node-2")


async def test_an_instance_is_spawned_changed_and_ended_with_a_life_for_each(shared: Store) -> None:
    here = await shared.conversation()
    spawned = await shared.host(here)
    assert await instances.find_in_conversation(shared.pool, here) == spawned
    shared.clock.forward(minutes=1)
    seen = {"passed": 6, "answers": ["yes", None]}
    running = await shared.writer.submit(
        ChangeInstance(spawned, InstanceStatus.RUNNING, "interviewed", 0.25, seen)
    )
    assert await instances.load_instance(shared.pool, spawned.id) == running
    assert (running.drift, running.validation, running.version) == (0.25, seen, 2)
    assert running.heartbeat_at > spawned.heartbeat_at, "who changes is alive"
    await shared.writer.submit(ChangeInstance(running, InstanceStatus.TERMINATED, "asked to"))
    assert await instances.find_in_conversation(shared.pool, here) is None
    lives = await histories.list_lives(shared.pool, spawned.id)
    assert [(each.version, each.status, each.reason) for each in lives] == [
        (1, InstanceStatus.SPAWNING, "spawned"),
        (2, InstanceStatus.RUNNING, "interviewed"),
        (3, InstanceStatus.TERMINATED, "asked to"),
    ]
    leaves = await shared.pool.value(
        "SELECT count(*) FROM leaves WHERE kind = 'instance' AND convert_from(body, 'UTF8') LIKE $1",
        f"%{spawned.id}%",
    )
    assert leaves == 3
    for late in (ChangeInstance(running, InstanceStatus.RUNNING, "again"), AdoptInstance(running, "mine")):
        with pytest.raises(errors.Conflict):
            await shared.writer.submit(late)
    assert (await shared.host(here)).epoch == 2


async def test_of_many_that_spawn_at_once_one_lives(shared: Store, start_writer: Another) -> None:
    here = await shared.conversation()
    async with start_writer(shared.database, shared.clock, "node-2") as other:
        outcomes = await asyncio.gather(
            *[shared.host(here, writer) for writer in (shared.writer, other) for _ in range(5)],
            return_exceptions=True,
        )
    born = [each for each in outcomes if isinstance(each, Instance)]
    assert len(born) == 1
    assert all(isinstance(each, (Instance, errors.Conflict)) for each in outcomes)
    assert (await conversations.load_conversation(shared.pool, here)).epoch == 1


async def test_of_many_that_adopt_at_once_one_hosts(shared: Store, start_writer: Another) -> None:
    old = await shared.host(await shared.conversation())
    async with AsyncExitStack() as nodes:
        writers = [
            await nodes.enter_async_context(start_writer(shared.database, shared.clock, f"heir-{n}"))
            for n in range(4)
        ]
        outcomes = await asyncio.gather(
            *[writer.submit(AdoptInstance(old, "silent")) for writer in writers], return_exceptions=True
        )
    adopted = [each for each in outcomes if isinstance(each, Instance)]
    assert len(adopted) == 1
    assert all(isinstance(each, (Instance, errors.Conflict)) for each in outcomes)
    assert await instances.load_instance(shared.pool, old.id) == adopted[0]
    assert [each.epoch for each in await histories.list_lives(shared.pool, old.id)] == [1, 2]


async def test_an_instance_needs_an_open_conversation_and_a_plate(shared: Store) -> None:
    closed = await shared.conversation()
    await shared.writer.submit(
        conversations.CloseConversation(await conversations.load_conversation(shared.pool, closed))
    )
    with pytest.raises(errors.Conflict):
        await shared.host(closed)
    with pytest.raises(errors.NotFound):
        await shared.host(shared.new_id())
    here = await shared.conversation()
    with pytest.raises(errors.NotFound):
        await shared.writer.submit(SpawnInstance(InstanceId(shared.new_id()), here, "model-1", 99))
    with pytest.raises(errors.NotFound):
        await instances.load_instance(shared.pool, InstanceId(shared.new_id()))


async def test_a_heartbeat_tells_whose_host_is_silent(store: Store, start_writer: Another) -> None:
    store.clock.now = datetime.now(UTC) - timedelta(seconds=60)
    mine = await store.host(await store.conversation())
    async with start_writer(store.database, store.clock, "node-2") as other:
        theirs = await store.host(await store.conversation(), other)
        ended = await store.host(await store.conversation(), other)
        await other.submit(ChangeInstance(ended, InstanceStatus.FAILED, "died"))
    assert {each.id for each in await instances.list_alive(store.pool)} == {mine.id, theirs.id}
    assert [each.id for each in await instances.list_alive(store.pool, host=NODE_2)] == [theirs.id]

    async def abandoned(
        patience_s: float, here: list[NodeId] | None, *known: InstanceId
    ) -> set[InstanceId]:
        patience = HeartbeatPatience(patience_s, 1.0)
        return {
            each.id for each in await instances.list_abandoned(store.pool, NODE_1, known, here, patience)
        }

    assert await abandoned(90, None) == {mine.id}, "its own host does not know of it"
    assert await abandoned(90, None, mine.id) == set()
    assert await abandoned(30, None, mine.id) == {theirs.id}
    assert await abandoned(90, [NODE_1, NODE_2], mine.id) == set()
    assert await abandoned(90, [NODE_1], mine.id) == {theirs.id}, "its host is gone"
    assert await instances.keep_alive(store.pool, NODE_2, [theirs.id, mine.id, ended.id]) == {
        theirs.id: theirs.epoch
    }
    assert await abandoned(30, [NODE_1], mine.id) == set()
    await instances.release_instances(store.pool, NODE_2, [theirs.id, mine.id])
    assert await abandoned(3600, [NODE_1, NODE_2], mine.id) == {theirs.id}
    assert len(await histories.list_lives(store.pool, theirs.id)) == 1


async def test_whoever_adopts_is_heard_of_at_once(store: Store, start_writer: Another) -> None:
    store.clock.now = datetime.now(UTC)
    old = await store.host(await store.conversation())
    await instances.release_instances(store.pool, NODE_1, [old.id])
    async with start_writer(store.database, store.clock, "node-2") as other:
        await other.submit(AdoptInstance(old, "released"))
    assert await instances.list_abandoned(store.pool, NODE_1, (), None, HeartbeatPatience(30, 30)) == []


async def test_a_plate_has_versions_and_the_same_content_is_the_same_version(shared: Store) -> None:
    bo = CharacterId("bo")

    async def bring(content: str) -> int:
        plate = await characters.import_plate(shared.pool, shared.writer, bo, "Bo", content, "me")
        return plate.version

    assert [await bring(each) for each in ("one", "two", "one", "three")] == [1, 2, 1, 3]
    assert [each.content for each in await characters.list_plates(shared.pool, bo)] == [
        "one",
        "two",
        "three",
    ]
    assert (await characters.load_plate(shared.pool, bo)).version == 3
    assert (await characters.load_plate(shared.pool, bo, 2)).content == "two"
    with pytest.raises(errors.NotFound):
        await characters.load_plate(shared.pool, bo, 4)
    for content in (" ", "a\x00b"):
        with pytest.raises(errors.InputInvalid):
            await bring(content)
