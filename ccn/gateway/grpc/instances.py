"""The calls of instances.proto in which CCN answers: translate, ask the node, translate back."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

from ccn import errors
from ccn.core import stream
from ccn.core.ids import CharacterId, InstanceId, TurnId
from ccn.core.message import Message
from ccn.core.stream import EventKind, StreamPosition
from ccn.gateway.accounts import access
from ccn.gateway.accounts.access import Caller
from ccn.gateway.grpc import presenters
from ccn.gateway.grpc.client_calls import ClientMethod
from ccn.node.conversations import Conversations
from ccn.pb import instances_pb2 as pb
from ccn.store.accounts.users import Tier
from ccn.store.connection.pool import Pool
from ccn.store.conversations import conversations, instances, turns
from ccn.store.conversations.conversations import StoredConversation
from ccn.store.conversations.turns import Turn

SERVICE = pb.DESCRIPTOR.services_by_name["Instances"]
PAGE = 100
PAGE_LIMIT = 1_000
PAGE_BYTES = 3_000_000
"""Below what gRPC's clients take by default, which one message of the largest kind still is."""
_HISTORY = 50
_UNTOLD = "asked for by a client"


class InstancesService:
    """The service, over the facade that all doors share."""

    def __init__(self, pool: Pool, talk: Conversations) -> None:
        self._pool, self._talk = pool, talk

    def methods(self) -> Mapping[str, ClientMethod]:
        """What answers which call, and whose."""
        return {
            "Spawn": ClientMethod(Tier.USER, self._spawn_instance),
            "Converse": ClientMethod(Tier.USER, self._say_message),
            "Follow": ClientMethod(Tier.USER, self._follow_turn),
            "Cancel": ClientMethod(Tier.USER, self._cancel_turn),
            "List": ClientMethod(Tier.USER, self._list_instances),
            "Get": ClientMethod(Tier.USER, self._get_conversation),
            "Terminate": ClientMethod(Tier.USER, self._terminate_instance),
            "History": ClientMethod(Tier.USER, self._list_messages),
        }

    async def _spawn_instance(self, caller: Caller, asked: pb.SpawnRequest) -> pb.SpawnAnswer:
        character, key = CharacterId(asked.character), asked.idempotency_key or None
        started = await self._talk.start(character, caller.user, asked.title, key)
        return pb.SpawnAnswer(
            conversation=presenters.conversation_to_pb(started.conversation),
            instance=presenters.instance_to_pb(started.instance),
        )

    async def _say_message(self, caller: Caller, asked: pb.ConverseRequest) -> AsyncGenerator[pb.Event]:
        here = await access.open_to_speak(
            self._pool, caller, presenters.parse_conversation_id(asked.conversation)
        )
        turn = await self._talk.say(
            here.id,
            asked.content,
            access.require_user(caller),
            idempotency_key=asked.idempotency_key or None,
            refuse=asked.refuse_if_busy,
            language=asked.language or None,
        )
        yield presenters.accepted_to_pb(turn)
        async with aclosing(self._stream_events(turn.id, stream.START)) as events:
            async for event in events:
                yield event

    async def _follow_turn(self, caller: Caller, asked: pb.FollowRequest) -> AsyncGenerator[pb.Event]:
        turn, place = stream.parse_event_id(asked.after)
        here = await access.open_to_read(
            self._pool, caller, presenters.parse_conversation_id(asked.conversation)
        )
        await self._load_turn(here, turn)
        async with aclosing(self._stream_events(turn, place)) as events:
            async for event in events:
                yield event

    async def _cancel_turn(self, caller: Caller, asked: pb.CancelRequest) -> pb.CancelAnswer:
        here = await access.open_to_operate(
            self._pool, caller, presenters.parse_conversation_id(asked.conversation), "cancel"
        )
        turn = await self._load_turn(here, TurnId(presenters.parse_id(asked.turn, "turn")))
        return pb.CancelAnswer(status=(await self._talk.cancel_turn(turn.id)).status)

    async def _list_instances(self, caller: Caller, asked: pb.ListRequest) -> pb.ListAnswer:
        size = min(asked.page_size or PAGE, PAGE_LIMIT)
        after = (
            InstanceId(presenters.parse_id(asked.page_token, "page token")) if asked.page_token else None
        )
        owner = None if caller.tier is Tier.ADMIN else caller.user
        found = await instances.list_page(self._pool, owner, after, size)
        more = str(found[-1].id) if len(found) == size else ""
        return pb.ListAnswer(instances=map(presenters.instance_to_pb, found), next_page_token=more)

    async def _get_conversation(self, caller: Caller, asked: pb.GetRequest) -> pb.GetAnswer:
        here = await access.open_to_read(
            self._pool, caller, presenters.parse_conversation_id(asked.conversation)
        )
        found = await instances.find_in_conversation(self._pool, here.id)
        return pb.GetAnswer(
            conversation=presenters.conversation_to_pb(here),
            instance=presenters.instance_to_pb(found) if found else None,
        )

    async def _terminate_instance(self, caller: Caller, asked: pb.TerminateRequest) -> pb.TerminateAnswer:
        deed, why = "end" if asked.close else "terminate", asked.reason
        here = await access.open_to_operate(
            self._pool, caller, presenters.parse_conversation_id(asked.conversation), deed, why
        )
        if asked.close:
            await self._talk.end(here.id, why or _UNTOLD)
        else:
            await self._talk.terminate_instance(here.id, why or _UNTOLD)
        return pb.TerminateAnswer()

    async def _list_messages(self, caller: Caller, asked: pb.HistoryRequest) -> pb.HistoryAnswer:
        here = await access.open_to_read(
            self._pool, caller, presenters.parse_conversation_id(asked.conversation)
        )
        limit = min(asked.limit or _HISTORY, PAGE_LIMIT)
        page = await conversations.load_history(
            self._pool, here.id, before=asked.before or None, limit=limit
        )
        messages = _fit_page(page.messages)
        before = messages[0].seq if messages and messages[0].seq > 1 else 0
        return pb.HistoryAnswer(messages=map(presenters.message_to_pb, messages), before=before)

    async def _stream_events(self, turn: TurnId, after: StreamPosition) -> AsyncGenerator[pb.Event]:
        async with aclosing(self._talk.follow_turn(turn, after, also=(EventKind.WAITING,))) as pieces:
            async for told in pieces:
                yield presenters.event_to_pb(turn, told)

    async def _load_turn(self, here: StoredConversation, turn: TurnId) -> Turn:
        """A turn of this conversation; one of any other looks like none at all."""
        found = await turns.load_turn(self._pool, turn)
        if found.conversation != here.id:
            raise errors.NotFound("there is no such turn")
        return found


def _fit_page(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """The newest of them that one answer has room for; one at least."""
    room, first = PAGE_BYTES, len(messages)
    while first:
        room -= len((messages[first - 1].content or "").encode())
        if room < 0 and first < len(messages):
            break
        first -= 1
    return messages[first:]
