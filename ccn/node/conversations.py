"""Conversations as the doors of every node see them: start, say, follow, cancel, end.

A message is accepted at the node where it comes in, under the epoch of the instance's host. The database
fences epochs, so the nodes need not talk before the message is safe. Then the host is told, or finds the
message by itself. If the host is gone, the message waits for the next one. Only what the host alone can do
is forwarded to it.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TypeVar
from uuid import UUID

import structlog

from ccn import errors
from ccn.core import message, stream
from ccn.core import turn as states
from ccn.core.ids import CharacterId, ConversationId, NodeId, TurnId, UserId
from ccn.core.stream import EventKind, StreamEvent, StreamPosition
from ccn.node.acceptance import AcceptanceParts, Accepting, NewMessage
from ccn.node.instances.forwarding import Body, Method
from ccn.node.turns.turn_stream import Batches, TurnStreams
from ccn.store.connection.pool import Pool
from ccn.store.conversations import characters, conversations, instances, turns
from ccn.store.conversations.conversations import BeginConversation, CloseConversation, StoredConversation
from ccn.store.conversations.instances import Instance
from ccn.store.conversations.turns import Turn
from ccn.store.writing.quotas import Quota

A = TypeVar("A")

log = structlog.get_logger(__name__)

PATIENCE_S = 30.0
"""How long a request is tried while hosts die and are replaced."""
_AGAIN_S = 0.1
_FOLLOW_S = 300.0
"""How long one forwarded stream may last before it is asked for again."""
_KEYS = UUID("8d0b7b3c-5f0e-4f0e-9d55-6a3a6f1f7c11")
"""The name space of conversations that were started under an idempotency key."""
_MOVED = (errors.StaleHost, errors.SequenceConflict, errors.OutcomeUnknown, errors.PeerUnavailable)


@dataclass(frozen=True, slots=True)
class StartedConversation:
    """A conversation, and the instance that speaks in it."""

    conversation: StoredConversation
    instance: Instance


class Conversations:
    """The conversations of one node, for its doors."""

    def __init__(self, parts: AcceptanceParts, quota: Quota, new_id: Callable[[], UUID]) -> None:
        self._parts = parts
        self._pool = parts.pool
        self._writer = parts.writer
        self._placement = parts.placement
        self._hosting = parts.hosting
        self._forwarding = parts.forwarding
        self._quota = quota
        self._new_id = new_id
        self._streams = TurnStreams(
            self._hosting.find_live, self._stream_from_host, _DatabaseStream(self._pool)
        )
        self._unheard: TurnId | None = None

    @property
    def methods(self) -> Mapping[str, Method]:
        """Return the methods that other nodes may call."""
        return {"look": self._on_look, "follow": self._on_follow, "cancel": self._on_cancel}

    async def start(
        self,
        character: CharacterId,
        owner: UserId | None = None,
        title: str = "",
        idempotency_key: str | None = None,
    ) -> StartedConversation:
        """Begin a conversation with a character, and spawn its instance."""
        new = self._request_to_begin(character, owner, title, idempotency_key)
        if idempotency_key is not None and (known := await self._find_begun(new)) is not None:
            return StartedConversation(known, await self._placement.find_instance(known.id))
        begun, instance = await self._placement.begin_conversation(new)
        return StartedConversation(_check_same_request(begun, new), instance)

    async def begin_without_instance(
        self,
        character: CharacterId,
        owner: UserId | None = None,
        title: str = "",
        idempotency_key: str | None = None,
    ) -> StoredConversation:
        """Begin a conversation without an instance. The same key again gives the same conversation."""
        new = self._request_to_begin(character, owner, title, idempotency_key)
        if idempotency_key is not None and (known := await self._find_begun(new)) is not None:
            return known
        await self._placement.check_quota(owner)
        plate = await characters.load_plate(self._pool, character)
        try:
            return await self._writer.submit(replace(new, plate_version=plate.version, quota=self._quota))
        except errors.Conflict:
            return _check_same_request(await conversations.load_conversation(self._pool, new.id), new)

    def _request_to_begin(
        self, character: CharacterId, owner: UserId | None, title: str, key: str | None
    ) -> BeginConversation:
        """Describe the conversation to begin. The same key always gives the same id."""
        named = self._new_id() if key is None else uuid.uuid5(_KEYS, f"{owner}/{key}")
        return BeginConversation(ConversationId(named), character, owner, title=title)

    async def _find_begun(self, new: BeginConversation) -> StoredConversation | None:
        """Find the conversation that was begun earlier under the same key."""
        try:
            return _check_same_request(await conversations.load_conversation(self._pool, new.id), new)
        except errors.NotFound:
            return None

    async def say(
        self,
        conversation: ConversationId,
        content: str,
        speaker: UserId,
        *,
        idempotency_key: str | None = None,
        refuse: bool = False,
        language: str | None = None,
    ) -> Turn:
        """Accept a message. When this returns, it is durable, and will get exactly one reply or a reason.

        While another message is answered, it waits for its turn, or with `refuse` raises TurnRunning. That
        is not guaranteed: two messages at the same moment on two nodes may both be accepted. They are then
        answered one after the other.
        """
        message.check_content(content)
        arrived = NewMessage(
            TurnId(self._new_id()),
            conversation,
            content,
            speaker,
            idempotency_key or self._new_id().hex,
            language,
            refuse,
        )
        accepting = Accepting(self._parts, arrived, unused=idempotency_key is None)
        return await self._retry_while_moving(accepting.try_once)

    async def follow_turn(
        self, turn: TurnId, after: StreamPosition = stream.START, *, also: Collection[EventKind] = ()
    ) -> AsyncGenerator[StreamEvent]:
        """Yield every piece of a turn after a position, to its end, from whatever node hosts it.

        Pieces of the kinds that are kept nowhere are left out, except the kinds in `also`.
        """
        async with aclosing(self.follow_batches(turn, after, also=also)) as batches:
            async for batch in batches:
                for piece in batch:
                    yield piece

    async def follow_batches(
        self, turn: TurnId, after: StreamPosition = stream.START, *, also: Collection[EventKind] = ()
    ) -> Batches:
        """Yield the same, with the pieces that are there at once together."""
        async with aclosing(self._streams.follow_turn(turn, after)) as batches:
            async for batch in batches:
                wanted = [piece for piece in batch if piece.kind not in stream.UNKEPT or piece.kind in also]
                if wanted:
                    yield wanted

    async def find_host(self, conversation: ConversationId) -> NodeId | None:
        """Find the node that hosts the instance of a conversation, if any does."""
        if self._hosting.find_hosted(conversation) is not None:
            return self._hosting.node
        found = await instances.find_in_conversation(self._pool, conversation)
        return found.host if found is not None else None

    async def load_turn(self, turn: TurnId) -> Turn:
        """Load a turn."""
        return await turns.load_turn(self._pool, turn)

    async def cancel_turn(self, turn: TurnId) -> Turn:
        """End a turn without a reply, wherever it runs. A turn that has ended stays as it is."""

        async def cancel_at_host() -> Turn:
            stored = await turns.load_turn(self._pool, turn)
            if not states.is_ended(stored.status):
                body = {"conversation": str(stored.conversation), "turn": str(turn)}
                await self._placement.call_host(stored.conversation, "cancel", body)
                stored = await self._wait_until_ended(turn)
            return stored

        return await self._retry_while_moving(cancel_at_host)

    async def end(self, conversation: ConversationId, reason: str = "the conversation was ended") -> None:
        """Close a conversation, cancel its unanswered turns, and terminate its instance."""

        async def close_conversation() -> None:
            await self._writer.submit(
                CloseConversation(await conversations.load_conversation(self._pool, conversation))
            )

        await self._retry_while_moving(close_conversation)
        await self.terminate_instance(conversation, reason)

    async def terminate_instance(self, conversation: ConversationId, reason: str) -> None:
        """End the instance of a conversation. The next message there gets a new one."""
        body = {"conversation": str(conversation), "reason": reason}

        async def terminate_at_host() -> None:
            await self._placement.call_host(conversation, "end", body)
            if await instances.find_in_conversation(self._pool, conversation) is not None:
                raise errors.StaleHost("the instance moved to another host meanwhile")

        await self._retry_while_moving(terminate_at_host)

    async def list_instances(self) -> list[Instance]:
        """List the instances that are alive, on all nodes."""
        return await instances.list_alive(self._pool)

    async def _wait_until_ended(self, turn: TurnId) -> Turn:
        """Wait until the host has ended the turn, and return it."""
        for _ in range(20):
            stored = await turns.load_turn(self._pool, turn)
            if states.is_ended(stored.status):
                return stored
            await asyncio.sleep(_AGAIN_S)
        raise errors.StaleHost("the turn moved to another host meanwhile")

    async def _retry_while_moving(self, attempt: Callable[[], Awaitable[A]]) -> A:
        """Try again while hosts die and are replaced, up to a limit. `attempt` must be safe to repeat."""
        clock = asyncio.get_running_loop().time
        until = clock() + PATIENCE_S
        while True:
            try:
                return await attempt()
            except _MOVED:
                if clock() > until or self._hosting.leaving:
                    raise
            await asyncio.sleep(_AGAIN_S)

    async def _stream_from_host(self, turn: Turn, place: StreamPosition) -> Batches:
        """Stream what the host says live, if that is another node that can be reached."""
        instance = await instances.find_in_conversation(self._pool, turn.conversation)
        if instance is None or instance.host == self._hosting.node:
            return
        body = {"turn": str(turn.id), "epoch": place.epoch, "number": place.number}
        body |= {"hints": True, "also": sorted(stream.UNKEPT)}
        values = self._forwarding.stream_values(instance.host, instance.id, "follow", body, _FOLLOW_S)
        try:
            async with aclosing(values) as frames:
                async for frame in frames:
                    yield [
                        StreamEvent(StreamPosition(epoch, number), EventKind(kind), data)
                        for epoch, number, kind, data in frame
                    ]
        except errors.CCNError as broken:
            if self._unheard != turn.id:  # logged once, because a reader tries again and again
                self._unheard = turn.id
                log.info("a stream goes on from the database", turn=str(turn.id), reason=str(broken))

    async def _on_follow(self, body: Body) -> AsyncGenerator[object]:
        place = StreamPosition(int(body["epoch"]), int(body["number"]))
        # A node of an older version knows fewer kinds. It may say so only in "hints".
        known = body.get("also", [EventKind.WAITING] if body.get("hints") else [])
        async with aclosing(self._streams.read_here(TurnId(UUID(body["turn"])), place)) as batches:
            async for batch in batches:
                wanted = [
                    event for event in batch if event.kind not in stream.UNKEPT or event.kind in known
                ]
                if wanted:
                    yield [
                        (event.position.epoch, event.position.number, event.kind, event.data)
                        for event in wanted
                    ]

    async def _on_look(self, body: Body) -> AsyncGenerator[object]:
        await self._hosting.enqueue_unfinished(ConversationId(UUID(body["conversation"])))
        yield True

    async def _on_cancel(self, body: Body) -> AsyncGenerator[object]:
        turn = TurnId(UUID(body["turn"]))
        if self._hosting.find_live(turn) is None:
            await self._hosting.enqueue_unfinished(ConversationId(UUID(body["conversation"])))
        await self._hosting.cancel_turn(turn)
        yield True


def _check_same_request(begun: StoredConversation, wanted: BeginConversation) -> StoredConversation:
    if (begun.character, begun.owner, begun.title) != (wanted.character, wanted.owner, wanted.title):
        raise errors.IdempotencyConflict("the key was used for another conversation")
    return begun


@dataclass(frozen=True, slots=True)
class _DatabaseStream:
    pool: Pool

    async def read_events(self, turn_id: TurnId, after: StreamPosition) -> Sequence[StreamEvent]:
        """Read the events stored after a position."""
        return await turns.load_stream(self.pool, turn_id, after)

    async def load_turn(self, turn_id: TurnId) -> Turn:
        """Load the turn."""
        return await turns.load_turn(self.pool, turn_id)

    async def load_reply(self, ended: Turn) -> str | None:
        """Load the reply that a turn committed, or None if it was redacted."""
        if ended.reply_seq is None:
            return None
        said = await conversations.load_after(self.pool, ended.conversation, ended.reply_seq - 1, limit=1)
        return said[0].content if said else None
