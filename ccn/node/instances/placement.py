"""Finding the node for a conversation: where its instance lives, or where one can be spawned.

    lives here ──> here     lives elsewhere ──> there     lives nowhere ──> spawned here, or where room is

Separate from what the doors ask for, because every request begins with it; how room is made says room.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, TypeVar
from uuid import UUID

import structlog

from ccn import errors
from ccn.core import rendezvous
from ccn.core.ids import CharacterId, ConversationId, InstanceId, NodeId, UserId
from ccn.core.turn import Status
from ccn.node.instances.adoption import Adoption
from ccn.node.instances.forwarding import Body, Forwarding
from ccn.node.instances.hosting import Hosting
from ccn.node.instances.room import Room
from ccn.node.instances.spawning import Spawning
from ccn.node.spending.concurrency import Shares
from ccn.node.turns.attempt import Speech
from ccn.node.turns.turn_stream import Live
from ccn.store.connection.pool import Pool
from ccn.store.conversations import conversations, instances, turns
from ccn.store.conversations.conversations import Begin, Conversation
from ccn.store.conversations.instances import Change, Instance
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


class Placing:
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
        chosen: settings.Instances,
        spawns_at_once: int,
    ) -> None:
        self.hosting, self.spawning, self.forwarding, self._room = hosting, spawning, forwarding, room
        self._pool, self._writer, self._adoption, self._chosen = pool, writer, adoption, chosen
        self._spawns = Shares(spawns_at_once, _LINE * spawns_at_once, errors.TooManySpawns, _AT_ONCE)
        self._coming: dict[ConversationId, asyncio.Task[Instance]] = {}
        adoption.rescue = self.rescue
        forwarding.methods |= {"begin": self._on_begin, "spawn": self._on_spawn, "end": self._on_end}

    async def instance(self, conversation: ConversationId) -> Instance:
        """Who speaks in a conversation: here, elsewhere, or from now on."""
        hosted = self.hosting.get(conversation)
        if hosted is not None:
            return hosted.instance
        if conversation in self._coming:
            return await asyncio.shield(self._coming[conversation])
        found = await instances.of_conversation(self._pool, conversation)
        if found is None:
            return await self.first(await conversations.get(self._pool, conversation))
        if found.host == self.hosting.node and not self._room.closed and found.id not in self.hosting.mine:
            return await self._adoption.adopt(found) or found
        return found

    async def at_host(self, conversation: ConversationId, method: str, body: Body) -> None:
        """Have the host do something; nothing happens if there is no instance."""
        if await instances.of_conversation(self._pool, conversation) is None:
            return
        found = await self.instance(conversation)
        if self.hosting.get(conversation) is not None:
            async with aclosing(self.forwarding.methods[method](body)) as values:
                async for _ in values:
                    continue
        elif found.host == self.hosting.node:
            raise errors.StaleHost("the instance is on its way to another node")
        else:
            await self.forwarding.ask(found.host, found.id, method, body, PATIENCE_S)

    async def rescue(self, conversation: ConversationId) -> None:
        """Turns that were accepted while their instance ended: give them another, or an end."""
        try:
            await self.instance(conversation)
        except (errors.SpawnFailed, errors.Conflict, errors.ModelRefused, errors.InputInvalid) as refused:
            for standing in await turns.unfinished(self._pool, conversation):
                live = Live(standing.id, standing.epoch, standing.event_head)
                speech = Speech(self._pool, self._writer, standing, live, self._chosen.chunk_ms / 1000)
                await speech.end(Status.FAILED, type(refused).__name__, "")

    async def begin(self, begin: Begin) -> tuple[Conversation, Instance]:
        """A new conversation and who speaks in it, wherever there is room; without room neither."""

        async def there(node: NodeId, pressing: bool) -> tuple[Conversation, Instance]:
            body = {"conversation": str(begin.id), "character": begin.character, "title": begin.title}
            found = await self._asked(node, begin.id, "begin", body | _owned(begin.owner), pressing)
            return await conversations.get(self._pool, begin.id), found

        async def placed() -> tuple[Conversation, Instance]:
            return await self._placed(begin.id, begin.owner, lambda: self._begun_here(begin), there)

        try:
            return await self._with_room(begin.owner, placed, begins=True)
        except errors.Conflict:  # begun twice at once under one key, or taken for dead before it was ready
            here = await conversations.get(self._pool, begin.id)
            return here, await self.instance(here.id)

    async def to_begin(self, owner: UserId | None) -> None:
        """Refuse a conversation without an instance to who has as many as they may."""
        await self._room.to_begin(owner)

    async def first(self, here: Conversation) -> Instance:
        """Who speaks where nobody did. Of all nodes that spawn at once one does; the others find it.

        One whose host was so slow that others took it for dead has ended meanwhile, and another is spawned.
        """
        for left in reversed(range(TRIES)):
            try:
                return await self._spawned(here)
            except errors.Conflict as lost:
                if (found := await instances.of_conversation(self._pool, here.id)) is not None:
                    return found
                if not left or not here.open:
                    raise
                log.info("spawning again", conversation=str(here.id), reason=str(lost))
                here = await conversations.get(self._pool, here.id)
        raise AssertionError("the last try returns or raises")

    async def _spawned(self, here: Conversation) -> Instance:
        """A new instance: here if there is room, else on whichever node has some."""
        if not here.open:
            raise errors.Conflict("the conversation is closed")

        async def there(node: NodeId, pressing: bool) -> Instance:
            return await self._asked(node, here.id, "spawn", {"conversation": str(here.id)}, pressing)

        async def placed() -> Instance:
            return await self._placed(here.id, here.owner, lambda: self._spawned_here(here), there)

        return await self._with_room(here.owner, placed)

    async def _with_room(
        self, owner: UserId | None, spawned: Callable[[], Awaitable[A]], *, begins: bool = False
    ) -> A:
        """Make room among the owner's own first; again if somebody else took it."""
        self.spawning.model.check(owner)  # before room is made for what cannot be paid for
        for left in reversed(range(TRIES)):
            await self._room.to_spawn(owner, begins=begins, again=left < TRIES - 1)
            try:
                return await spawned()
            except (errors.TooManyInstances, errors.TooManyConversations):
                if not left:
                    raise
        raise AssertionError("the last try returns or raises")

    async def _placed(
        self,
        conversation: ConversationId,
        owner: UserId | None,
        here: Callable[[], Awaitable[A]],
        there: Callable[[NodeId, bool], Awaitable[A]],
    ) -> A:
        """Where there is room; if there is none anywhere, where some can be made."""
        refused = ""
        for pressing in (False, True):
            refused = await self._room.here(owner, self._coming, pressing=pressing)
            if not refused:
                return await here()
            for node in rendezvous.ranked(conversation, self._adoption.others):
                try:
                    return await there(node, pressing)
                except _BUSY as busy:
                    log.info("no room for an instance", node=node, reason=str(busy))
        raise errors.Overloaded(f"{refused}, and no other node takes a new one")

    async def _asked(
        self, node: NodeId, conversation: ConversationId, method: str, body: Body, pressing: bool
    ) -> Instance:
        asked = {**body, "pressing": pressing}
        told = await self.forwarding.ask(node, InstanceId(conversation), method, asked, PATIENCE_S)
        return await instances.get(self._pool, InstanceId(UUID(told)))

    async def _begun_here(self, begin: Begin) -> tuple[Conversation, Instance]:
        """Both, which goes on if who asked leaves."""
        task = asyncio.ensure_future(self._in_line(begin.owner, lambda: self.spawning.begin(begin)))
        speaker = asyncio.ensure_future(_second(task))
        self._coming[begin.id] = speaker
        speaker.add_done_callback(lambda done: self._came(begin.id, done))
        return (await asyncio.shield(task))[0], await asyncio.shield(speaker)

    async def _spawned_here(self, here: Conversation) -> Instance:
        """One spawn for all who ask, which goes on if the first of them leaves."""
        if here.id not in self._coming:
            task = asyncio.ensure_future(self._in_line(here.owner, lambda: self.spawning.spawn(here)))
            self._coming[here.id] = task
            task.add_done_callback(lambda done: self._came(here.id, done))
        return await asyncio.shield(self._coming[here.id])

    async def _in_line(self, owner: UserId | None, spawned: Callable[[], Awaitable[A]]) -> A:
        async with self._spawns.one(owner):
            return await spawned()

    def _came(self, conversation: ConversationId, done: asyncio.Task[Instance]) -> None:
        del self._coming[conversation]
        if not done.cancelled():
            done.exception()  # told to whoever waits for it; perhaps nobody does any more

    async def _terminate(self, conversation: ConversationId, reason: str) -> None:
        hosted = self.hosting.get(conversation)
        if hosted is None:
            raise errors.StaleHost("this node does not host the conversation")
        await self.hosting.look(conversation)
        await self.hosting.end(conversation)
        await self._writer.submit(Change(hosted.instance, instances.Status.TERMINATED, reason))

    async def _on_begin(self, body: Body) -> AsyncGenerator[object]:
        owner = UserId(UUID(body["owner"])) if body.get("owner") else None
        here, character = ConversationId(UUID(body["conversation"])), CharacterId(body["character"])
        await self._admit(owner, body)
        _, born = await self._begun_here(Begin(here, character, owner, title=str(body["title"])))
        yield str(born.id)

    async def _on_spawn(self, body: Body) -> AsyncGenerator[object]:
        here = await conversations.get(self._pool, ConversationId(UUID(body["conversation"])))
        await self._admit(here.owner, body)
        yield str((await self._spawned_here(here)).id)

    async def _admit(self, owner: UserId | None, body: Body) -> None:
        pressing = bool(body.get("pressing"))
        if refused := await self._room.here(owner, self._coming, pressing=pressing):
            raise errors.Overloaded(refused)

    async def _on_end(self, body: Body) -> AsyncGenerator[object]:
        await self._terminate(ConversationId(UUID(body["conversation"])), str(body["reason"]))
        yield True


def _owned(owner: UserId | None) -> dict[str, str]:
    return {} if owner is None else {"owner": str(owner)}


async def _second(begun: asyncio.Task[tuple[Conversation, Instance]]) -> Instance:
    return (await begun)[1]
