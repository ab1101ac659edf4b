"""People who talk through the writers of several nodes, and note what they were told to be durable.

Separate because both proofs with a pair of databases have them. Who gets no answer says the same again
under the same key, as clients do, so a message that is there twice would show.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

from ccn import errors, settings
from ccn.core import ids
from ccn.core.ids import CharacterId, ConversationId, NodeId, UserId
from ccn.core.message import Role
from ccn.store.connection import migrate, pool
from ccn.store.connection.fence import Fence
from ccn.store.conversations.conversations import AppendMessage, BeginConversation
from ccn.store.writing.writer import Writer

NODES = tuple(NodeId(f"node-{number}") for number in (1, 2, 3))
TALKING = 4
"""Conversations of each node."""
_PERSON = UserId(UUID(int=7))
_PAUSE_S = 0.002


@dataclass(slots=True)
class SpokenWords:
    """What was acknowledged: the place of each message. `last_at` is when the newest answer came."""

    places: dict[str, tuple[ConversationId, int]] = field(default_factory=dict)
    unknown: int = 0
    refused: int = 0
    last_at: float = 0.0

    async def wait_for_answer(self, since: float) -> float:
        """Wait for an answer that came after `since`, and return how long that took."""
        while self.last_at <= since:  # noqa: ASYNC110 - somebody answers at every moment
            await asyncio.sleep(0.0005)
        return self.last_at - since


@dataclass(slots=True)
class TalkingNode:
    """A writer, what its database must show, and the task that runs it."""

    writer: Writer
    running: asyncio.Task[None]
    talking: list[asyncio.Task[None]]

    @property
    def fence(self) -> Fence:
        """What it remembers."""
        return self.writer.fence


async def prepare_database(url: str) -> None:
    """Make the schema and somebody to talk to."""
    await migrate.apply_pending(url)
    async with pool.open(settings.DatabaseSettings.from_url(url), "prove") as connections:
        await connections.rows("INSERT INTO characters (id, name) VALUES ('ada', 'Ada')")


@asynccontextmanager
async def talking_nodes(url: str, words: SpokenWords) -> AsyncIterator[list[TalkingNode]]:
    """Let people talk through three nodes until the block ends."""
    database = settings.DatabaseSettings.from_url(url).model_copy(update={"statement_timeout_s": 30.0})
    nodes = [_begin_node(database, node, words) for node in NODES]
    try:
        yield nodes
    finally:
        for node in nodes:
            for task in node.talking:
                task.cancel()
            await asyncio.gather(*node.talking, return_exceptions=True)
            node.writer.stop()
            await asyncio.gather(node.running, return_exceptions=True)


def _begin_node(database: settings.DatabaseSettings, node: NodeId, words: SpokenWords) -> TalkingNode:
    writer = Writer(database, node, lambda: datetime.now(UTC), Fence(node))
    running = asyncio.create_task(writer.run(), name=f"{node} writes")
    talking = [asyncio.create_task(_talk(writer, words), name=f"{node} talks") for _ in range(TALKING)]
    return TalkingNode(writer, running, talking)


async def _talk(writer: Writer, words: SpokenWords) -> None:
    here = ConversationId(ids.make_uuid7(time.time_ns() // 1_000_000, secrets.token_bytes(10)))
    begin = BeginConversation(here, CharacterId("ada"))
    while not writer.fence.broken.is_set():
        try:
            await writer.submit(begin)
            break
        except (errors.Unavailable, errors.OutcomeUnknown):
            await asyncio.sleep(_PAUSE_S)
        except errors.Conflict:
            break  # an earlier try was there after all
    while not writer.fence.broken.is_set():
        await _say(writer, here, secrets.token_hex(8), words)


async def _say(writer: Writer, here: ConversationId, content: str, words: SpokenWords) -> None:
    """Say it until it is acknowledged, or until the node has stopped for good."""
    said = AppendMessage(here, Role.USER, content, _PERSON, idempotency_key=content)
    while not writer.fence.broken.is_set():
        try:
            message = await writer.submit(said)
        except errors.OutcomeUnknown:
            words.unknown += 1
        except errors.Unavailable:
            words.refused += 1
        else:
            words.places[content] = (here, message.seq)
            words.last_at = time.monotonic()
            return
        await asyncio.sleep(_PAUSE_S)


async def count_wrong(url: str, words: SpokenWords) -> tuple[int, int]:
    """How many acknowledged messages are not where they were said to be, and how many are there twice."""
    with suppress(errors.NotFound):
        async with pool.open(settings.DatabaseSettings.from_url(url), "prove") as connections:
            rows = await connections.rows("SELECT conversation_id, seq, content FROM messages")
    found: dict[str, list[tuple[UUID, int]]] = {}
    for row in rows:
        found.setdefault(row["content"], []).append((row["conversation_id"], row["seq"]))
    lost = sum(place not in found.get(content, ()) for content, place in words.places.items())
    return lost, sum(len(places) > 1 for places in found.values())
