"""Replicas of a pair of which now one leads and now the other: whichever follows is found and read.

Both hosts are named as the database and as its replicas, and readers log in as the role that nodes have.
The primary is stopped in order: what comes back then has nothing to take back, so nothing is written on its
disk that tells of the new timeline for minutes.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from pydantic import SecretStr

from ccn import errors, settings
from ccn.core.ids import ConversationId, NodeId
from ccn.core.message import Role
from ccn.embedded import scratch
from ccn.embedded.postgres.pair import pair as pairs
from ccn.embedded.postgres.pair.members import EmbeddedPair
from ccn.embedded.supervision import Backoff
from ccn.store.connection import migrate, pool, roles
from ccn.store.connection.fence import Fence
from ccn.store.connection.pool import Pool
from ccn.store.conversations import conversations
from ccn.store.conversations.conversations import AppendMessage
from ccn.store.replicas import reads, replica_set
from ccn.store.replicas.reads import ReplicaReads
from ccn.store.writing.writer import Writer
from tests.cli.conftest import ADA, new_id
from tests.support import databases
from tests.support.speakers import ANN
from tests.support.store.replica_pair import PATIENT_S

NODE = NodeId("node-1")
SOON = Backoff(first_s=0.01)
SWITCH_S = 60.0


@dataclass
class ReadingNode:
    """A node that writes, and reads from a replica where one will do."""

    both: EmbeddedPair
    writer: Writer
    reads: ReplicaReads
    here: ConversationId
    said: int = 0
    """The number of the newest message that is durable."""
    answered: list[int] = field(default_factory=list)
    """The port of the server that answered each read."""

    async def say(self) -> None:
        """Say something that is durable when this returns."""
        message = await self.writer.submit(AppendMessage(self.here, Role.USER, "a word", ANN))
        self.said = message.seq

    async def check_history(self) -> None:
        """Nothing is missing that was said before; while nobody leads there is no answer at all."""
        promised = self.said

        async def work(connections: Pool) -> tuple[int, int]:
            page = await conversations.load_history(connections, self.here)
            newest = max((each.seq for each in page.messages), default=0)
            return await connections.value("SELECT inet_server_port()"), newest

        with suppress(errors.Unavailable):
            port, newest = await self.reads.read(work)
            assert newest >= promised
            self.answered.append(port)

    async def read_until_from(self, port: int) -> None:
        """Talk and read until this server answers."""
        async with asyncio.timeout(SWITCH_S):
            while not self.answered or self.answered[-1] != port:
                await self.say()
                await self.check_history()


@asynccontextmanager
async def reading_node(both: EmbeddedPair) -> AsyncIterator[ReadingNode]:
    await migrate.apply_pending(both.url)
    await roles.grant_roles(both.url, {roles.NODE: both.node_password})
    await databases.execute(both.url, f"INSERT INTO characters (id, name) VALUES ('{ADA}', 'Ada')")
    url = both.url_of(roles.NODE, both.node_password)
    database = settings.DatabaseSettings.from_url(url).model_copy(
        update={"replica_url": SecretStr(url), "replica_wait_s": PATIENT_S}
    )
    fence, stop = Fence(NODE), asyncio.Event()
    writer = Writer(database, NODE, lambda: datetime.now(UTC), fence)
    async with AsyncExitStack() as stack:
        primary = await stack.enter_async_context(pool.open(database, "test", fence=fence))
        replicas = await stack.enter_async_context(replica_set.open_replicas(database, primary, "test"))
        opened = await stack.enter_async_context(
            reads.open_reads(primary, replicas, "test", pool_size=4, patience_s=30.0)
        )
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(writer.run())
            tasks.create_task(replicas.watch(stop))
            here = ConversationId(new_id())
            await writer.submit(conversations.BeginConversation(here, ADA))
            yield ReadingNode(both, writer, opened, here)
            writer.stop()
            stop.set()


async def test_after_a_failover_the_new_standby_is_read_and_nobody_reads_less_than_was_said() -> None:
    with scratch.scratch_folder("test-replicas", databases.place()) as folder:
        Path(folder).chmod(0o755)
        async with (
            pairs.run_pair(folder, ephemeral=True, fsync=False, backoff=SOON) as both,
            reading_node(both) as node,
        ):
            await node.read_until_from(both.standby.server.port)
            former, reading = both.primary, asyncio.create_task(_read_on(node))
            os.kill(former.pid, signal.SIGINT)
            while both.primary is former:
                await asyncio.sleep(0.01)
            await node.read_until_from(former.server.port)
            reading.cancel()
            with suppress(asyncio.CancelledError):
                await reading  # what it missed is raised here
            assert [bool(each.unfit) for each in node.reads.replicas.list_standings()] == [
                member is both.primary for member in both.members.values()
            ]


async def _read_on(node: ReadingNode) -> None:
    while True:
        await node.check_history()
        await asyncio.sleep(0)
