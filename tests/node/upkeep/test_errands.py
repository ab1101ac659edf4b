"""Errands of the house."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from ccn import settings
from ccn.core import ids
from ccn.core.ids import CharacterId, ConversationId, NodeId
from ccn.core.message import Role
from ccn.node.upkeep import errands
from ccn.store.connection import pool
from ccn.store.connection.pool import Pool
from ccn.store.conversations import characters, conversations, search
from ccn.store.conversations.conversations import AppendMessage
from ccn.store.upkeep import snapshots
from ccn.store.writing.writer import Writer
from tests.support.speakers import ANN
from tests.support.store import histories

House = tuple[Pool, Writer, ConversationId]

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
KEPT = settings.RetentionSettings(content_days=90, snapshot_minutes=15)


@pytest.fixture
async def house(database: settings.DatabaseSettings) -> AsyncIterator[House]:
    """A pool, a writer and a conversation in which something was said at noon."""
    writer = Writer(database, NodeId("node-1"), lambda: NOON)
    async with pool.open(database, "test") as connections, asyncio.TaskGroup() as tasks:
        tasks.create_task(writer.run())
        await characters.import_plate(connections, writer, CharacterId("ada"), "Ada", "# Ada", "test")
        here = ConversationId(ids.make_uuid7(1, secrets.token_bytes(10)))
        await writer.submit(conversations.BeginConversation(here, CharacterId("ada")))
        await writer.submit(AppendMessage(here, Role.USER, "The tide was high.", ANN))
        yield connections, writer, here
        writer.stop()


async def always() -> bool:
    return True


async def test_a_conversation_that_went_on_gets_one_snapshot_until_it_goes_on_again(house: House) -> None:
    connections, writer, here = house
    later = NOON + timedelta(minutes=20)
    assert await errands.take_snapshots(connections, writer, KEPT, later) == 1
    assert await errands.take_snapshots(connections, writer, KEPT, later + timedelta(minutes=20)) == 0
    taken = await histories.load_latest_snapshot(connections, here)
    assert taken is not None
    assert taken.state == snapshots.state_to_bytes(await snapshots.load_state_at(connections, here, later))


async def test_two_nodes_do_not_run_the_same_errand_at_once(house: House) -> None:
    connections, writer, _ = house
    async with connections.try_alone("remember") as alone:
        assert alone
        assert await errands.take_snapshots(connections, writer, KEPT, NOON + timedelta(hours=1)) == 0


async def test_content_older_than_the_retention_is_redacted_and_younger_is_not(house: House) -> None:
    connections, writer, here = house
    await errands.drop_old(connections, writer, KEPT, NOON + timedelta(days=89))
    assert [m.content for m in (await conversations.load_history(connections, here)).messages] == [
        "The tide was high."
    ]
    await errands.drop_old(connections, writer, KEPT, NOON + timedelta(days=91))
    assert [m.content for m in (await conversations.load_history(connections, here)).messages] == [None]


async def test_content_is_kept_for_ever_on_request(house: House) -> None:
    connections, writer, here = house
    for_ever = settings.RetentionSettings(content_days=0)
    await errands.drop_old(connections, writer, for_ever, NOON + timedelta(days=10_000))
    assert [m.content for m in (await conversations.load_history(connections, here)).messages] == [
        "The tide was high."
    ]


async def test_the_house_keeps_itself_until_told_to_stop(house: House) -> None:
    connections, writer, here = house
    stop = asyncio.Event()
    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        tasks.create_task(
            errands.run_errands(connections, writer, KEPT, lambda: NOON + timedelta(hours=1), always, stop)
        )
        while await connections.value("SELECT count(*) FROM message_documents") == 0:
            await asyncio.sleep(0.02)
        while await histories.load_latest_snapshot(connections, here) is None:
            await asyncio.sleep(0.02)
        stop.set()
    assert [hit.seq for hit in await search.find_messages(connections, "tides")] == [1]
