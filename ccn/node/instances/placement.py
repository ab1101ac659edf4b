"""Finding the node for a conversation: where its instance lives, or where one can be spawned.

    lives here ──> here     lives elsewhere ──> there     lives nowhere ──> spawned here, or where room is

Separate from what the doors ask for, because every request begins with it; capacity.py makes room.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, TypeVar
from uuid import UUID

import structlog

from ccn import errors
from ccn.core import rendezvous
from ccn.core.ids import CharacterId, ConversationId, InstanceId, NodeId, UserId
from ccn.core.turn import TurnStatus
from ccn.node.instances.adoption import Adoption
from ccn.node.instances.capacity import Room
from ccn.node.instances.forwarding import Body, Forwarding, Method
from ccn.node.instances.hosting import Hosting
from ccn.node.instances.spawning import Spawning
from ccn.node.spending.concurrency import ConcurrencyLimit
from ccn.node.turns.reply_attempt import ReplyAttempt
from ccn.node.turns.turn_stream import LiveStream
from ccn.store.connection.pool import Pool
from ccn.store.conversations import conversations, instances, turns
from ccn.store.conversations.conversations import BeginConversation, StoredConversation
from ccn.store.conversations.instances import ChangeInstance, Instance
from ccn.store.writing.writer import Writer

if TYPE_CHECKING:
    from ccn import settings

A = TypeVar("A")

log = structlog.get_logger(__name__)

PATIENCE_S = 30.0
"""How long a request waits for another node."""
TRIES = 3
"""How often an instance is spawned that others take for dead before it is ready, or take the room of."""
_LINE = 4
"""How many wait for each instance of a user that is being spawned."""
_AT_ONCE = (
    "of your instances are on their way at this node, which is all that may be "
    "(CCN_LIMITS_SPAWNS_AT_ONCE), and others wait: ask again in a moment"
)
_BUSY = (errors.Overloaded, errors.ShuttingDown, errors.PeerUnavailable, errors.PeerRefused)


class Placement:
    """Who hosts what, and who could."""

    def __init__(
        self,
        pool: Pool,
        writer: Writer,
        *,
        hosting: Hosting,
        spawning: Spawning,
        adoption: Adoption,
        forwarding: Forwarding,
        room: Room,
        chosen: settings.InstancesSettings,
        spawns_at_once: int,
    ) -> None:
        self._pool = pool
        self._writer = writer
        self._hosting = hosting
        self._spawning = spawning
        self._adoption = adoption
        self._forwarding = forwarding
        self._room = room
        self._chosen = chosen
        self._spawn_slots = ConcurrencyLimit(
            spawns_at_once, _LINE * spawns_at_once, errors.TooManySpawns, _AT_ONCE
        )
        self._spawns_under_way: dict[ConversationId, asyncio.Task[Instance]] = {}

    @property
    def methods(self) -> Mapping[str, Method]:
        """Return the methods that other nodes may call."""
        return {"begin": self._on_begin, "spawn": self._on_spawn, "end": self._on_end}

    async def find_instance(self, conversation: ConversationId) -> Instance:
        """Find who speaks in a conversation, here or elsewhere; spawn somebody if nobody does."""
        hosted = self._hosting.find_hosted(conversation)
        if hosted is not None:
            return hosted.instance
        if conversation in self._spawns_under_way:
            return await asyncio.shield(self._spawns_under_way[conversation])
        found = await instances.find_in_conversation(self._pool, conversation)
        if found is None:
            return await self.spawn_first(await conversations.load_conversation(self._pool, conversation))
        if (
            found.host == self._hosting.node
            and not self._room.closed
            and found.id not in self._hosting.hosted_ids
        ):
            return await self._adoption.adopt_instance(found) or found
        return found

    async def call_host(self, conversation: ConversationId, method: str, body: Body) -> None:
        """Have the host of a conversation do something; do nothing if there is no instance."""
        if await instances.find_in_conversation(self._pool, conversation) is None:
            return
        found = await self.find_instance(conversation)
        if self._hosting.find_hosted(conversation) is not None:
            async with aclosing(self._forwarding.methods[method](body)) as values:
                async for _ in values:
                    continue
        elif found.host == self._hosting.node:
            raise errors.StaleHost("the instance is on its way to another node")
        else:
            await self._forwarding.ask_host(found.host, found.id, method, body, PATIENCE_S)

    async def rescue_turns(self, conversation: ConversationId) -> None:
        """Give turns that were accepted while their instance ended another instance, or an end."""
        try:
            await self.find_instance(conversation)
        except (errors.SpawnFailed, errors.Conflict, errors.ModelRefused, errors.InputInvalid) as refused:
            for turn in await turns.list_unfinished(self._pool, conversation):
                live = LiveStream(turn.id, turn.epoch, turn.event_head)
                speech = ReplyAttempt(self._pool, self._writer, turn, live, self._chosen.chunk_ms / 1000)
                await speech.end_without_reply(TurnStatus.FAILED, type(refused).__name__, "")

    async def begin_conversation(self, begin: BeginConversation) -> tuple[StoredConversation, Instance]:
        """Begin a conversation with an instance wherever there is room, or begin neither."""

        async def begin_there(node: NodeId, pressing: bool) -> tuple[StoredConversation, Instance]:
            body = {"conversation": str(begin.id), "character": begin.character, "title": begin.title}
            found = await self._ask_node(
                node, begin.id, "begin", body | _owner_field(begin.owner), pressing
            )
            return await conversations.load_conversation(self._pool, begin.id), found

        async def begin_somewhere() -> tuple[StoredConversation, Instance]:
            return await self._try_nodes(
                begin.id, begin.owner, lambda: self._begin_here(begin), begin_there
            )

        try:
            return await self._make_room_for(begin.owner, begin_somewhere, begins=True)
        except errors.Conflict:  # begun twice at once under one key, or taken for dead before it was ready
            here = await conversations.load_conversation(self._pool, begin.id)
            return here, await self.find_instance(here.id)

    async def check_quota(self, owner: UserId | None) -> None:
        """Refuse a conversation without an instance to who has as many as they may."""
        await self._room.check_quota(owner)

    async def spawn_first(self, here: StoredConversation) -> Instance:
        """Spawn the conversation's first instance, or its next one.

        If several nodes try at once, one succeeds and the others return its instance. If others take the
        new instance for dead before it is ready, another one is spawned.
        """
        for left in reversed(range(TRIES)):
            try:
                return await self._spawn_somewhere(here)
            except (errors.Conflict, errors.Overloaded) as lost:
                if (found := await instances.find_in_conversation(self._pool, here.id)) is not None:
                    return found
                if not left or not here.open or isinstance(lost, errors.Overloaded):
                    raise
                log.info("spawning again", conversation=str(here.id), reason=str(lost))
                here = await conversations.load_conversation(self._pool, here.id)
        raise AssertionError("the last try returns or raises")

    async def _spawn_somewhere(self, here: StoredConversation) -> Instance:
        """Spawn an instance here if there is room, otherwise on another node with room."""
        if not here.open:
            raise errors.Conflict("the conversation is closed")

        async def spawn_there(node: NodeId, pressing: bool) -> Instance:
            return await self._ask_node(node, here.id, "spawn", {"conversation": str(here.id)}, pressing)

        async def spawn_where_room() -> Instance:
            return await self._try_nodes(here.id, here.owner, lambda: self._spawn_here(here), spawn_there)

        return await self._make_room_for(here.owner, spawn_where_room)

    async def _make_room_for(
        self, owner: UserId | None, spawned: Callable[[], Awaitable[A]], *, begins: bool = False
    ) -> A:
        """Make room among the owner's own first; again if somebody else took it."""
        self._spawning.model.check_allowance(owner)  # before room is made for what cannot be paid for
        for left in reversed(range(TRIES)):
            await self._room.make_room_for_owner(owner, begins=begins, again=left < TRIES - 1)
            try:
                return await spawned()
            except (errors.TooManyInstances, errors.TooManyConversations):
                if not left:
                    raise
        raise AssertionError("the last try returns or raises")

    async def _try_nodes(
        self,
        conversation: ConversationId,
        owner: UserId | None,
        here: Callable[[], Awaitable[A]],
        there: Callable[[NodeId, bool], Awaitable[A]],
    ) -> A:
        """Try nodes that have room; if there is none, try those that can make room."""
        refused = ""
        for pressing in (False, True):
            refused = await self._room.make_room_here(owner, self._spawns_under_way, pressing=pressing)
            # The room may have gone to this very conversation, for somebody who asked at the same time.
            if not refused or conversation in self._spawns_under_way:
                return await here()
            for node in rendezvous.rank_nodes(conversation, self._adoption.other_nodes):
                try:
                    return await there(node, pressing)
                except _BUSY as busy:
                    log.info("no room for an instance", node=node, reason=str(busy))
        raise errors.Overloaded(f"{refused}, and no other node takes a new one")

    async def _ask_node(
        self, node: NodeId, conversation: ConversationId, method: str, body: Body, pressing: bool
    ) -> Instance:
        asked = {**body, "pressing": pressing}
        told = await self._forwarding.ask_host(node, InstanceId(conversation), method, asked, PATIENCE_S)
        return await instances.load_instance(self._pool, InstanceId(UUID(told)))

    async def _begin_here(self, begin: BeginConversation) -> tuple[StoredConversation, Instance]:
        """Begin a conversation with an instance here. It goes on if the caller leaves."""
        task = asyncio.ensure_future(
            self._spawn_in_slot(begin.owner, lambda: self._spawning.begin_conversation(begin))
        )
        speaker = asyncio.ensure_future(_await_instance(task))
        self._spawns_under_way[begin.id] = speaker
        speaker.add_done_callback(lambda done: self._forget_spawn(begin.id, done))
        return (await asyncio.shield(task))[0], await asyncio.shield(speaker)

    async def _spawn_here(self, here: StoredConversation) -> Instance:
        """Spawn once for all callers. It goes on if the first of them leaves."""
        if here.id not in self._spawns_under_way:
            task = asyncio.ensure_future(
                self._spawn_in_slot(here.owner, lambda: self._spawning.spawn_instance(here))
            )
            self._spawns_under_way[here.id] = task
            task.add_done_callback(lambda done: self._forget_spawn(here.id, done))
        return await asyncio.shield(self._spawns_under_way[here.id])

    async def _spawn_in_slot(self, owner: UserId | None, spawned: Callable[[], Awaitable[A]]) -> A:
        async with self._spawn_slots.take_slot(owner):
            return await spawned()

    def _forget_spawn(self, conversation: ConversationId, done: asyncio.Task[Instance]) -> None:
        if self._spawns_under_way.get(conversation) is done:  # not one that began after it
            del self._spawns_under_way[conversation]
        if not done.cancelled():
            done.exception()  # told to whoever waits for it; perhaps nobody does any more

    async def _terminate_here(self, conversation: ConversationId, reason: str) -> None:
        hosted = self._hosting.find_hosted(conversation)
        if hosted is None:
            raise errors.StaleHost("this node does not host the conversation")
        await self._hosting.enqueue_unfinished(conversation)
        await self._hosting.end_instance(conversation)
        await self._writer.submit(
            ChangeInstance(hosted.instance, instances.InstanceStatus.TERMINATED, reason)
        )

    async def _on_begin(self, body: Body) -> AsyncGenerator[object]:
        owner = UserId(UUID(body["owner"])) if body.get("owner") else None
        here, character = ConversationId(UUID(body["conversation"])), CharacterId(body["character"])
        await self._check_room(here, owner, body)
        _, born = await self._begin_here(
            BeginConversation(here, character, owner, title=str(body["title"]))
        )
        yield str(born.id)

    async def _on_spawn(self, body: Body) -> AsyncGenerator[object]:
        here = await conversations.load_conversation(self._pool, ConversationId(UUID(body["conversation"])))
        await self._check_room(here.id, here.owner, body)
        yield str((await self._spawn_here(here)).id)

    async def _check_room(self, conversation: ConversationId, owner: UserId | None, body: Body) -> None:
        pressing = bool(body.get("pressing"))
        refused = await self._room.make_room_here(owner, self._spawns_under_way, pressing=pressing)
        if refused and conversation not in self._spawns_under_way:
            raise errors.Overloaded(refused)

    async def _on_end(self, body: Body) -> AsyncGenerator[object]:
        await self._terminate_here(ConversationId(UUID(body["conversation"])), str(body["reason"]))
        yield True


def _owner_field(owner: UserId | None) -> dict[str, str]:
    return {} if owner is None else {"owner": str(owner)}


async def _await_instance(begun: asyncio.Task[tuple[StoredConversation, Instance]]) -> Instance:
    return (await begun)[1]
