"""An open store: pool, writer, and a clock that tests move by hand."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from ccn import settings
from ccn.core import ids
from ccn.core.ids import CharacterId, ConversationId, InstanceId, NodeId, TurnId, UserId
from ccn.core.message import Message, Role
from ccn.store.connection import pool
from ccn.store.connection.pool import Pool
from ccn.store.conversations import characters, conversations, instances, turns
from ccn.store.conversations.characters import PlateVersion
from ccn.store.conversations.instances import Instance
from ccn.store.conversations.turns import Turn
from ccn.store.writing.writer import Writer
from tests.support.speakers import ANN

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

    database: settings.DatabaseSettings
    pool: Pool
    writer: Writer
    plate: PlateVersion
    clock: Clock = field(default_factory=Clock)

    def new_id(self) -> ConversationId:
        at_ms = int(self.clock.now.timestamp() * 1000)
        return ConversationId(ids.make_uuid7(at_ms, secrets.token_bytes(10)))

    async def conversation(self, owner: UserId | None = None, title: str = "") -> ConversationId:
        begin = conversations.BeginConversation(self.new_id(), ADA, owner, plate_version=1, title=title)
        return (await self.writer.submit(begin)).id

    async def user(self) -> UserId:
        user = UserId(self.new_id())
        await self.pool.rows("INSERT INTO users (id, name, tier) VALUES ($1, $2, 'user')", user, f"{user}")
        return user

    async def say(self, conversation: ConversationId, *words: str, epoch: int = 0) -> list[Message]:
        appends = [conversations.AppendMessage(conversation, Role.USER, each, ANN, epoch) for each in words]
        return [await self.writer.submit(each) for each in appends]

    async def host(self, conversation: ConversationId, writer: Writer | None = None) -> Instance:
        spawn = instances.SpawnInstance(InstanceId(self.new_id()), conversation, "model-1", 1)
        return await (writer or self.writer).submit(spawn)

    async def turn(self, instance: Instance, content: str = "hello", *, started: bool = True) -> Turn:
        """An accepted turn under the instance's epoch, running if it was started."""
        accept = turns.AcceptTurn(
            TurnId(self.new_id()), instance.conversation, content, ANN, instance.epoch
        )
        accepted = await self.writer.submit(accept)
        if started:
            await self.writer.submit(turns.StartTurn(accepted, instance.epoch))
        return await turns.load_turn(self.pool, accepted.id)


@asynccontextmanager
async def writing(
    database: settings.DatabaseSettings, clock: Callable[[], datetime], node: str = "node-1"
) -> AsyncIterator[Writer]:
    """A writer whose task ends with the block, everything settled."""
    writer = Writer(database, NodeId(node), clock)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(writer.run(), name="writer")
        try:
            yield writer
        finally:
            writer.stop()


@asynccontextmanager
async def keeping(database: settings.DatabaseSettings) -> AsyncIterator[Store]:
    """A store with one character, `ada`, whose plate is at version 1."""
    clock = Clock()
    async with pool.open(database, "test") as connections, writing(database, clock) as writer:
        words = "# Ada\nKeeps her word."
        plate = await characters.import_plate(connections, writer, ADA, "Ada", words, "test")
        yield Store(database, connections, writer, plate, clock)
