"""Answers the calls of instances.proto in which CCN speaks: decodes, asks the node, encodes its answer."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

from ccn import errors
from ccn.core import stream
from ccn.core.ids import CharacterId, InstanceId, TurnId
from ccn.core.message import Message
from ccn.core.stream import EventKind
from ccn.gateway.accounts.access import Caller, ConversationAccess
from ccn.gateway.deeds import interface
from ccn.gateway.deeds.interface import ConversationDeeds
from ccn.gateway.grpc import presenters
from ccn.gateway.grpc.client_calls import ClientMethod
from ccn.pb import instances_pb2 as pb
from ccn.store.accounts.users import Tier
from ccn.store.conversations import conversations, instances, turns
from ccn.store.conversations.conversations import StoredConversation
from ccn.store.conversations.turns import Turn
from ccn.store.replicas.reads import ReplicaReads

SERVICE = pb.DESCRIPTOR.services_by_name["Instances"]
PAGE = 100
PAGE_LIMIT = 1_000
PAGE_BYTES = 3_000_000
"""Below what gRPC's clients accept by default. One message of the largest size still fits."""
_HISTORY = 50
_ALSO = (EventKind.WAITING,)


class InstancesService:
    """The service of one node, over the facade that all doors share."""

    def __init__(self, access: ConversationAccess, deeds: ConversationDeeds, reads: ReplicaReads) -> None:
        self._access, self._deeds, self._pool = access, deeds, access.pool
        self._reads = reads

    def methods(self) -> Mapping[str, ClientMethod]:
        """The method for each call, with the tier it needs."""
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

    async def _spawn_instance(self, caller: Caller, request: pb.SpawnRequest) -> pb.SpawnAnswer:
        character, key = CharacterId(request.character), request.idempotency_key or None
        started = await self._deeds.start(caller, character, request.title, key)
        return pb.SpawnAnswer(
            conversation=presenters.conversation_to_pb(started.conversation),
            instance=presenters.instance_to_pb(started.instance),
        )

    async def _say_message(self, caller: Caller, request: pb.ConverseRequest) -> AsyncGenerator[pb.Event]:
        conversation = await self._access.open_to_speak(
            caller, presenters.parse_conversation_id(request.conversation)
        )
        begun = await self._deeds.say(
            caller,
            conversation.id,
            request.content,
            idempotency_key=request.idempotency_key or None,
            refuse=request.refuse_if_busy,
            language=request.language or None,
            also=_ALSO,
        )
        async with aclosing(begun.batches) as batches:
            yield presenters.accepted_to_pb(begun.turn)
            async for batch in batches:
                for event in batch:
                    yield presenters.event_to_pb(begun.turn.id, event)

    async def _follow_turn(self, caller: Caller, request: pb.FollowRequest) -> AsyncGenerator[pb.Event]:
        turn_id, position = stream.parse_event_id(request.after)
        conversation = await self._access.open_to_read(
            caller, presenters.parse_conversation_id(request.conversation)
        )
        turn = await self._load_turn(conversation, turn_id)
        following = self._deeds.follow_batches(caller, turn, position, also=_ALSO)
        async with aclosing(following) as batches:
            async for batch in batches:
                for event in batch:
                    yield presenters.event_to_pb(turn.id, event)

    async def _cancel_turn(self, caller: Caller, request: pb.CancelRequest) -> pb.CancelAnswer:
        conversation = await self._access.open_to_operate(
            caller, presenters.parse_conversation_id(request.conversation), "cancel"
        )
        turn = await self._load_turn(conversation, TurnId(presenters.parse_id(request.turn, "turn")))
        return pb.CancelAnswer(status=(await self._deeds.cancel_turn(caller, turn)).status)

    async def _list_instances(self, caller: Caller, request: pb.ListRequest) -> pb.ListAnswer:
        size = min(request.page_size or PAGE, PAGE_LIMIT)
        after = (
            InstanceId(presenters.parse_id(request.page_token, "page token"))
            if request.page_token
            else None
        )
        owner = None if caller.tier is Tier.ADMIN else caller.user
        page = await instances.list_page(self._pool, owner, after, size)
        next_token = str(page[-1].id) if len(page) == size else ""
        return pb.ListAnswer(instances=map(presenters.instance_to_pb, page), next_page_token=next_token)

    async def _get_conversation(self, caller: Caller, request: pb.GetRequest) -> pb.GetAnswer:
        conversation = await self._access.open_to_read(
            caller, presenters.parse_conversation_id(request.conversation)
        )
        instance = await instances.find_in_conversation(self._pool, conversation.id)
        return pb.GetAnswer(
            conversation=presenters.conversation_to_pb(conversation),
            instance=presenters.instance_to_pb(instance) if instance else None,
        )

    async def _terminate_instance(self, caller: Caller, request: pb.TerminateRequest) -> pb.TerminateAnswer:
        action, reason = "end" if request.close else "terminate", request.reason
        conversation = await self._access.open_to_operate(
            caller, presenters.parse_conversation_id(request.conversation), action, reason
        )
        if request.close:
            await self._deeds.end(caller, conversation.id, reason or interface.NO_REASON)
        else:
            await self._deeds.terminate_instance(caller, conversation.id, reason or interface.NO_REASON)
        return pb.TerminateAnswer()

    async def _list_messages(self, caller: Caller, request: pb.HistoryRequest) -> pb.HistoryAnswer:
        conversation = await self._access.open_to_read(
            caller, presenters.parse_conversation_id(request.conversation)
        )
        limit = min(request.limit or _HISTORY, PAGE_LIMIT)
        page = await self._reads.read(
            lambda pool: conversations.load_history(
                pool, conversation.id, before=request.before or None, limit=limit
            )
        )
        messages = _fit_page(page.messages)
        before = messages[0].seq if messages and messages[0].seq > 1 else 0
        return pb.HistoryAnswer(messages=map(presenters.message_to_pb, messages), before=before)

    async def _load_turn(self, conversation: StoredConversation, turn: TurnId) -> Turn:
        """Load a turn of this conversation. A turn of another looks as if it did not exist."""
        stored = await turns.load_turn(self._pool, turn)
        if stored.conversation != conversation.id:
            raise errors.NotFound("there is no such turn")
        return stored


def _fit_page(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """Take as many of the newest messages as one answer has room for, at least one."""
    room, first = PAGE_BYTES, len(messages)
    while first:
        room -= len((messages[first - 1].content or "").encode())
        if room < 0 and first < len(messages):
            break
        first -= 1
    return messages[first:]
