"""Answers the calls of instances.proto for programs with a loop of their own: prompts, and their record."""

from __future__ import annotations

from collections.abc import Mapping

from ccn.core.ids import CharacterId
from ccn.gateway.accounts.access import Caller, ConversationAccess
from ccn.gateway.deeds.interface import ConversationDeeds, LoopDeeds
from ccn.gateway.grpc import presenters
from ccn.gateway.grpc.client_calls import ClientMethod
from ccn.node.views import conversation_health
from ccn.pb import instances_pb2 as pb
from ccn.store.accounts.users import Tier
from ccn.store.replicas.reads import ReplicaReads

SERVICE = pb.DESCRIPTOR.services_by_name["Continuity"]


class ContinuityService:
    """The service of one node."""

    def __init__(
        self,
        access: ConversationAccess,
        deeds: ConversationDeeds,
        loop_deeds: LoopDeeds,
        reads: ReplicaReads,
    ) -> None:
        self._access, self._deeds, self._loop_deeds = access, deeds, loop_deeds
        self._reads = reads

    def methods(self) -> Mapping[str, ClientMethod]:
        """The method for each call, with the tier it needs."""
        return {
            "Begin": ClientMethod(Tier.USER, self._begin_conversation),
            "Prompt": ClientMethod(Tier.USER, self._get_prompt),
            "Record": ClientMethod(Tier.USER, self._record_message),
            "Health": ClientMethod(Tier.USER, self._get_health),
        }

    async def _begin_conversation(self, caller: Caller, request: pb.BeginRequest) -> pb.BeginAnswer:
        character, key = CharacterId(request.character), request.idempotency_key or None
        conversation = await self._deeds.begin_without_instance(caller, character, request.title, key)
        return pb.BeginAnswer(conversation=presenters.conversation_to_pb(conversation))

    async def _get_prompt(self, caller: Caller, request: pb.PromptRequest) -> pb.PromptAnswer:
        conversation = await self._access.open_to_read(
            caller, presenters.parse_conversation_id(request.conversation)
        )
        return presenters.prompt_to_pb(await self._loop_deeds.build_prompt(caller, conversation.id))

    async def _record_message(self, caller: Caller, request: pb.RecordRequest) -> pb.RecordAnswer:
        conversation = await self._access.open_to_speak(
            caller, presenters.parse_conversation_id(request.conversation)
        )
        message = await self._loop_deeds.record_message(
            caller,
            conversation.id,
            presenters.parse_role(request.role),
            request.content,
            idempotency_key=request.idempotency_key or None,
            language=request.language or None,
        )
        return pb.RecordAnswer(message=presenters.message_to_pb(message))

    async def _get_health(self, caller: Caller, request: pb.HealthRequest) -> pb.HealthAnswer:
        conversation = await self._access.open_to_read(
            caller, presenters.parse_conversation_id(request.conversation)
        )
        return presenters.health_to_pb(
            await self._reads.read(lambda pool: conversation_health.load_health(pool, conversation))
        )
