"""The calls of instances.proto in which CCN answers: translate, ask the node, translate back."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

from ccn import errors
from ccn.core import stream
from ccn.core.ids import CharacterId, InstanceId, TurnId
from ccn.core.message import Message
from ccn.core.stream import Kind, Place
from ccn.gateway.accounts import access
from ccn.gateway.accounts.access import Caller
from ccn.gateway.grpc import messages as grpc_messages
from ccn.gateway.grpc.client_calls import Method
from ccn.node.conversations import Conversations
from ccn.pb import instances_pb2 as pb
from ccn.store.accounts.users import Tier
from ccn.store.connection.pool import Pool
from ccn.store.conversations import conversations, instances, turns
from ccn.store.conversations.conversations import Conversation
from ccn.store.conversations.turns import Turn

SERVICE = pb.DESCRIPTOR.services_by_name["Instances"]
PAGE = 100
PAGE_LIMIT = 1_000
PAGE_BYTES = 3_000_000
"""Below what gRPC's clients take by default, which one message of the largest kind still is."""
_HISTORY = 50
_UNTOLD = "asked for by a client"


class Instances:
    """The service, over the facade that all doors share."""

    def __init__(self, pool: Pool, talk: Conversations) -> None:
        self._pool, self._talk = pool, talk

    def methods(self) -> Mapping[str, Method]:
        """What answers which call, and whose."""
        return {
            "Spawn": Method(Tier.USER, self._spawn),
            "Converse": Method(Tier.USER, self._converse),
            "Follow": Method(Tier.USER, self._follow),
            "Cancel": Method(Tier.USER, self._cancel),
            "List": Method(Tier.USER, self._list),
            "Get": Method(Tier.USER, self._get),
            "Terminate": Method(Tier.USER, self._terminate),
            "History": Method(Tier.USER, self._history),
        }

    async def _spawn(self, caller: Caller, asked: pb.SpawnRequest) -> pb.SpawnAnswer:
        character, key = CharacterId(asked.character), asked.idempotency_key or None
        started = await self._talk.start(character, caller.user, asked.title, key)
        return pb.SpawnAnswer(
            conversation=grpc_messages.conversation(started.conversation),
            instance=grpc_messages.instance(started.instance),
        )

    async def _converse(self, caller: Caller, asked: pb.ConverseRequest) -> AsyncGenerator[pb.Event]:
        here = await access.own(self._pool, caller, grpc_messages.named(asked.conversation))
        turn = await self._talk.say(
            here.id,
            asked.content,
            access.speaker(caller),
            idempotency_key=asked.idempotency_key or None,
            refuse=asked.refuse_if_busy,
            language=asked.language or None,
        )
        yield grpc_messages.accepted(turn)
        async with aclosing(self._told(turn.id, stream.START)) as events:
            async for event in events:
                yield event

    async def _follow(self, caller: Caller, asked: pb.FollowRequest) -> AsyncGenerator[pb.Event]:
        turn, place = stream.resumed(asked.after)
        here = await access.look_into(self._pool, caller, grpc_messages.named(asked.conversation))
        await self._turn_of(here, turn)
        async with aclosing(self._told(turn, place)) as events:
            async for event in events:
                yield event

    async def _cancel(self, caller: Caller, asked: pb.CancelRequest) -> pb.CancelAnswer:
        here = await access.operate(self._pool, caller, grpc_messages.named(asked.conversation), "cancel")
        turn = await self._turn_of(here, TurnId(grpc_messages.uuid(asked.turn, "turn")))
        return pb.CancelAnswer(status=(await self._talk.cancel(turn.id)).status)

    async def _list(self, caller: Caller, asked: pb.ListRequest) -> pb.ListAnswer:
        size = min(asked.page_size or PAGE, PAGE_LIMIT)
        after = InstanceId(grpc_messages.uuid(asked.page_token, "page token")) if asked.page_token else None
        owner = None if caller.tier is Tier.ADMIN else caller.user
        found = await instances.page(self._pool, owner, after, size)
        more = str(found[-1].id) if len(found) == size else ""
        return pb.ListAnswer(instances=map(grpc_messages.instance, found), next_page_token=more)

    async def _get(self, caller: Caller, asked: pb.GetRequest) -> pb.GetAnswer:
        here = await access.look_into(self._pool, caller, grpc_messages.named(asked.conversation))
        found = await instances.of_conversation(self._pool, here.id)
        return pb.GetAnswer(
            conversation=grpc_messages.conversation(here),
            instance=grpc_messages.instance(found) if found else None,
        )

    async def _terminate(self, caller: Caller, asked: pb.TerminateRequest) -> pb.TerminateAnswer:
        deed, why = "end" if asked.close else "terminate", asked.reason
        here = await access.operate(self._pool, caller, grpc_messages.named(asked.conversation), deed, why)
        if asked.close:
            await self._talk.end(here.id, why or _UNTOLD)
        else:
            await self._talk.terminate(here.id, why or _UNTOLD)
        return pb.TerminateAnswer()

    async def _history(self, caller: Caller, asked: pb.HistoryRequest) -> pb.HistoryAnswer:
        here = await access.look_into(self._pool, caller, grpc_messages.named(asked.conversation))
        limit = min(asked.limit or _HISTORY, PAGE_LIMIT)
        page = await conversations.history(self._pool, here.id, before=asked.before or None, limit=limit)
        messages = _fitting(page.messages)
        before = messages[0].seq if messages and messages[0].seq > 1 else 0
        return pb.HistoryAnswer(messages=map(grpc_messages.message, messages), before=before)

    async def _told(self, turn: TurnId, after: Place) -> AsyncGenerator[pb.Event]:
        async with aclosing(self._talk.follow(turn, after, also=(Kind.WAITING,))) as pieces:
            async for told in pieces:
                yield grpc_messages.event(turn, told)

    async def _turn_of(self, here: Conversation, turn: TurnId) -> Turn:
        """A turn of this conversation; one of any other looks like none at all."""
        found = await turns.get(self._pool, turn)
        if found.conversation != here.id:
            raise errors.NotFound("there is no such turn")
        return found


def _fitting(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """The newest of them that one answer has room for; one at least."""
    room, first = PAGE_BYTES, len(messages)
    while first:
        room -= len((messages[first - 1].content or "").encode())
        if room < 0 and first < len(messages):
            break
        first -= 1
    return messages[first:]
