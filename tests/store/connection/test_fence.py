"""A database that no longer shows what was acknowledged: nothing is numbered, read or answered any more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from ccn import errors
from ccn.core.ids import ConversationId, NodeId
from ccn.core.ledger.commitment import LeafKind
from ccn.core.message import Role
from ccn.core.rounds.signer import NumberedHash
from ccn.store.connection import pool
from ccn.store.connection.fence import Fence
from ccn.store.conversations import conversations
from ccn.store.conversations.conversations import AppendMessage
from ccn.store.writing.batch import Batch, Write
from ccn.store.writing.writer import Writer
from tests.support.speakers import ANN

if TYPE_CHECKING:
    from tests.support.store.open_store import Store

    Start = Callable[..., AbstractAsyncContextManager[Writer]]

NODE = NodeId("node-7")
LEAVES = "SELECT number, hash FROM leaves WHERE node_id = 'node-7' ORDER BY number"
LOSE_ONE = """
    DELETE FROM leaves WHERE node_id = 'node-7' AND number = 5;
    UPDATE leaf_sources SET head = 4 WHERE node_id = 'node-7'
"""
CHANGE_ONE = "UPDATE leaves SET body = body || ' ' WHERE node_id = 'node-7' AND number = 5"
LOSE_A_MESSAGE = """
    DELETE FROM messages WHERE leaf_node = 'node-7' AND leaf_number = 5;
    UPDATE conversations SET head_seq = head_seq - 1 WHERE head_seq = 4
"""


@dataclass
class Node:
    """A writer that has acknowledged five leaves, and what it wrote them into."""

    store: Store
    writer: Writer
    here: ConversationId

    async def say(self, words: str = "more") -> object:
        return await self.writer.submit(AppendMessage(self.here, Role.USER, words, ANN))

    async def goes_back(self, sql: str) -> None:
        """As a failover to a standby without the last commits does: lines break, and rows are gone."""
        async with self.store.pool.transaction() as connection:
            await connection.execute("SET LOCAL session_replication_role = replica")
            await connection.execute(sql)
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE $1",
                f"ccn/{NODE}/%",
            )

    async def leaves(self) -> list[tuple[int, bytes]]:
        return [tuple(row) for row in await self.store.pool.rows(LEAVES)]


@pytest_asyncio.fixture(loop_scope="session")
async def node(store: Store, start_writer: Start) -> AsyncIterator[Node]:
    async with start_writer(store.database, store.clock, NODE) as writer:
        here = (
            await writer.submit(conversations.BeginConversation(store.new_id(), store.plate.character))
        ).id
        made = Node(store, writer, here)
        for words in ("one", "two", "three", "four"):
            await made.say(words)
        yield made


@pytest.mark.parametrize("lost", [LOSE_ONE, CHANGE_ONE, LOSE_ONE + ";" + LOSE_A_MESSAGE])
async def test_a_writer_gives_no_number_again_that_it_acknowledged(node: Node, lost: str) -> None:
    await node.goes_back(lost)
    left = await node.leaves()
    with pytest.raises((errors.AcknowledgedLost, errors.OutcomeUnknown)):  # it may have left already
        await node.say()
    with pytest.raises(errors.AcknowledgedLost, match="leaf 5, which node-7 acknowledged"):
        await node.say()
    assert await node.leaves() == left
    assert node.writer.fence.broken.is_set()


async def test_a_head_that_went_back_on_an_open_line_is_noticed_before_anything_is_numbered(
    node: Node,
) -> None:
    async with node.store.pool.transaction() as connection:
        await connection.execute("SET LOCAL session_replication_role = replica")
        await connection.execute(LOSE_ONE)
    outcomes = await asyncio.gather(*[node.say(f"{n}") for n in range(5)], return_exceptions=True)
    assert {type(each) for each in outcomes} <= {errors.AcknowledgedLost, errors.OutcomeUnknown}
    assert len(await node.leaves()) == 4


async def test_nothing_is_read_either_once_something_was_missing(node: Node) -> None:
    async with pool.open(node.store.database, "reader", node.writer.fence) as connections:
        await connections.check_fence()
        assert await connections.value("SELECT 1") == 1
        await node.goes_back(LOSE_ONE)
        with pytest.raises(errors.AcknowledgedLost):
            await connections.check_fence()
        with pytest.raises(errors.AcknowledgedLost):
            await connections.value("SELECT 1")
    with pytest.raises(errors.AcknowledgedLost):
        async with pool.open(node.store.database, "reader", node.writer.fence):
            pass


async def test_a_database_without_the_block_that_was_signed_lets_nobody_in(shared: Store) -> None:
    asked = Fence(NODE)
    asked.signed = lambda: NumberedHash(12, b"b" * 32)
    with pytest.raises(errors.RecordLost, match="does not show block 12, which node-7 signed"):
        async with pool.open(shared.database, "reader", asked):
            pass
    assert asked.broken.is_set()


@dataclass
class Note(Write[None]):
    """A leaf of its own, and what its hash was each time it was made."""

    made: list[tuple[int, bytes]] = field(default_factory=list)

    def prepare(self, batch: Batch) -> None:
        leaf = batch.add_leaf(LeafKind.OPERATOR, {"at": len(self.made), "by": f"{id(self)}"})
        self.made.append((leaf.number, leaf.hash))


async def test_a_leaf_that_failed_is_vouched_for_no_more_when_its_number_went_to_another(
    store: Store, start_writer: Start
) -> None:
    async with start_writer(store.database, store.clock, NODE) as writer:
        failed, kept = Note(), Note()
        await store.pool.rows(
            "ALTER TABLE leaves ADD CONSTRAINT never CHECK (kind <> 'operator') NOT VALID"
        )
        with pytest.raises(errors.StoreBroken):
            await writer.submit(failed)
        await store.pool.rows("ALTER TABLE leaves DROP CONSTRAINT never")
        assert writer.vouches_for(*failed.made[0])  # it was sent, and nobody knows yet that it is not there
        await writer.submit(kept)
        assert failed.made[0][0] == kept.made[0][0] == 1
        assert not writer.vouches_for(*failed.made[0])
        assert writer.vouches_for(*kept.made[0])


async def test_what_was_begun_is_cut_off_once_something_was_missing(node: Node) -> None:
    async with pool.open(node.store.database, "reader", node.writer.fence) as connections:
        sleeping = asyncio.create_task(connections.value("SELECT pg_sleep(600)"))
        while not await node.store.pool.value(
            "SELECT count(*) FROM pg_stat_activity WHERE query ~ '^SELECT pg_sl'"
        ):
            await asyncio.sleep(0.01)
        node.writer.fence.mark_lost(errors.RecordLost("block 3 is gone"))
        async with asyncio.timeout(30):
            with pytest.raises(errors.DatabaseUnavailable):
                await sleeping
