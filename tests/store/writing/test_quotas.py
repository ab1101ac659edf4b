"""What users may have at once, as the database sees it: no race and no other way leads past it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

import asyncpg
import pytest

from ccn import errors
from ccn.core.ids import ConversationId, InstanceId, UserId
from ccn.core.prompts.anchor import Anchor
from ccn.store.conversations import instances
from ccn.store.conversations.anchors import KeepAnchor
from ccn.store.conversations.births import Birth
from ccn.store.conversations.conversations import BeginConversation, CloseConversation
from ccn.store.conversations.instances import ChangeInstance, InstanceStatus, SpawnInstance
from ccn.store.writing import quotas
from ccn.store.writing.quotas import Quota
from tests.support.store.open_store import ADA

if TYPE_CHECKING:
    from ccn.store.writing.writer import Writer
    from tests.support.store.open_store import Store

TWO = Quota(conversations=2, instances=2)


def birth(store: Store, owner: UserId, quota: Quota | None = TWO) -> Birth:
    here = ConversationId(store.new_id())
    return Birth(
        BeginConversation(here, ADA, owner, 1, quota=quota),
        SpawnInstance(InstanceId(store.new_id()), here, "model-1", 1, "spawned", owner, quota),
        KeepAnchor(here, Anchor(1), epoch=1),
    )


async def test_two_nodes_that_begin_at_once_never_begin_more_than_there_may_be(
    shared: Store, start_writer: Callable[..., object]
) -> None:
    async with start_writer(shared.database, shared.clock, "node-2") as other:  # type: ignore[attr-defined]
        for _ in range(5):
            owners = [await shared.user() for _ in range(3)]
            writers: list[Writer] = [shared.writer, other]
            tries = [
                writer.submit(birth(shared, owner))
                for owner in owners
                for writer in writers
                for _ in range(3)
            ]
            outcomes = await asyncio.gather(*tries, return_exceptions=True)
            refused = {type(each) for each in outcomes if isinstance(each, BaseException)}
            assert refused == {errors.TooManyConversations}
            for owner in owners:
                assert await quotas.count_used(shared.pool, owner) == TWO


async def test_of_an_instance_for_which_there_is_no_room_no_conversation_stays(shared: Store) -> None:
    owner, most = await shared.user(), Quota(conversations=9, instances=1)
    await shared.writer.submit(birth(shared, owner, most))
    others = [shared.writer.submit(birth(shared, await shared.user(), most)) for _ in range(3)]
    refused, *fine = await asyncio.gather(
        shared.writer.submit(birth(shared, owner, most)), *others, return_exceptions=True
    )
    assert isinstance(refused, errors.TooManyInstances)
    assert [each for each in fine if isinstance(each, BaseException)] == []
    assert await quotas.count_used(shared.pool, owner) == Quota(conversations=1, instances=1)


async def test_what_ends_makes_room_and_a_limit_that_was_lowered_ends_nothing(shared: Store) -> None:
    owner = await shared.user()
    begun = [await shared.writer.submit(birth(shared, owner)) for _ in range(2)]
    lower = Quota(conversations=1, instances=1)
    for conversation, instance in begun:
        with pytest.raises(errors.TooManyConversations, match=r"^1 conversations of one user"):
            await shared.writer.submit(birth(shared, owner, lower))
        await shared.writer.submit(ChangeInstance(instance, InstanceStatus.TERMINATED, "for the test"))
        await shared.writer.submit(CloseConversation(conversation))
    await shared.writer.submit(birth(shared, owner, lower))


async def test_no_statement_gets_past_the_limits_of_an_owner(
    shared: Store, direct: asyncpg.Connection[asyncpg.Record]
) -> None:
    owner = await shared.user()
    for _ in range(2):
        last, instance = await shared.writer.submit(birth(shared, owner))
    for sql, state in ((_BEGIN, "CCN08"), (_SPAWN, "CCN09")):
        attempt = direct.transaction()
        await attempt.start()
        if sql is _SPAWN:
            await direct.execute("DROP INDEX instance_registry_one_alive")
        with pytest.raises(asyncpg.PostgresError) as refused:
            await direct.execute(sql, last.id)
        assert refused.value.sqlstate == state
        await attempt.rollback()
    assert (await instances.load_instance(shared.pool, instance.id)).owner == owner


async def test_an_instance_that_is_adopted_still_counts_for_its_owner(shared: Store) -> None:
    owner = await shared.user()
    _, instance = await shared.writer.submit(birth(shared, owner))
    adopted = await shared.writer.submit(instances.AdoptInstance(instance, "for the test"))
    assert adopted.owner == (await instances.load_instance(shared.pool, instance.id)).owner == owner
    assert (await quotas.count_used(shared.pool, owner)).instances == 1


_BEGIN = """
    INSERT INTO conversations (id, character_id, owner_id, created_at, changed_at)
    SELECT gen_random_uuid(), character_id, owner_id, now(), now() FROM conversations WHERE id = $1
"""
_SPAWN = """
    INSERT INTO instance_registry
        (id, conversation_id, character_id, host, epoch, status, model, plate_version, heartbeat_at,
         spawned_at)
    SELECT gen_random_uuid(), id, character_id, 'node-1', 9, 'spawning', 'model-1', 1, now(), now()
    FROM conversations WHERE id = $1
"""
