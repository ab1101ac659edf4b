"""An open store on a fresh database: pool, writer, and a clock that tests move by hand."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from ccn import settings
from ccn.core import ids
from ccn.core.ids import CharacterId, ConversationId, NodeId
from ccn.store import characters, conversations, pool
from ccn.store.characters import Plate
from ccn.store.pool import Pool
from ccn.store.writer import Writer

ADA = CharacterId("ada")


@dataclass
class Clock:
    """Stands still until moved."""

    now: datetime = datetime(2026, 1, 5, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **by: float) -> datetime:
        self.now += timedelta(**by)
        return self.now


@dataclass
class Store:
    """What the tests of the store hold in hand."""

    database: settings.Database
    pool: Pool
    writer: Writer
    plate: Plate
    clock: Clock = field(default_factory=Clock)

    def new_id(self) -> ConversationId:
        at_ms = int(self.clock.now.timestamp() * 1000)
        return ConversationId(ids.uuid7(at_ms, secrets.token_bytes(10)))

    async def conversation(self) -> ConversationId:
        begun = await self.writer.submit(conversations.Begin(self.new_id(), ADA, plate_version=1))
        return begun.id


@asynccontextmanager
async def writing(
    database: settings.Database, clock: Callable[[], datetime], node: str = "node-1"
) -> AsyncIterator[Writer]:
    """A writer whose task ends with the block, everything settled."""
    writer = Writer(database, NodeId(node), clock)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(writer.run(), name="writer")
        try:
            yield writer
        finally:
            writer.stop()


@pytest.fixture
def start_writer() -> Callable[..., object]:
    """For tests that need a second node's writer."""
    return writing


@pytest.fixture
async def store(database: settings.Database) -> AsyncIterator[Store]:
    """A store with one character, `ada`, whose plate is at version 1."""
    clock = Clock()
    async with pool.open(database, "test") as connections, writing(database, clock) as writer:
        plate = await characters.import_plate(
            connections, writer, ADA, "Ada", "# Ada\nKeeps her word.", "test"
        )
        yield Store(database, connections, writer, plate, clock)
