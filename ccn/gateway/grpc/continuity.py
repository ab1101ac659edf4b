"""Answers the calls of instances.proto for programs with a loop of their own: prompts, and their record."""

from __future__ import annotations

from collections.abc import Mapping

from ccn.core.ids import CharacterId
from ccn.gateway.accounts import access
from ccn.gateway.accounts.access import Caller
from ccn.gateway.grpc import presenters
from ccn.gateway.grpc.client_calls import ClientMethod
from ccn.node.conversations import Conversations
from ccn.node.external_loop import ExternalLoop
from ccn.node.views import conversation_health
from ccn.pb import instances_pb2 as pb
from ccn.store.accounts.users import Tier
from ccn.store.connection.pool import Pool

SERVICE = pb.DESCRIPTOR.services_by_name["Continuity"]


class ContinuityService:
    """The service of one node."""

    def __init__(self, pool: Pool, conversations: Conversations, external_loop: ExternalLoop) -> None:
        self._pool, self._conversations, self._external_loop = pool, conversations, external_loop

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
        conversation = await self._conversations.begin_without_instance(
            character, caller.user, request.title, key
        )
        return pb.BeginAnswer(conversation=presenters.conversation_to_pb(conversation))

    async def _get_prompt(self, caller: Caller, request: pb.PromptRequest) -> pb.PromptAnswer:
        conversation = await access.open_to_read(
            self._pool, caller, presenters.parse_conversation_id(request.conversation)
        )
        return presenters.prompt_to_pb(await self._external_loop.build_prompt(conversation.id))

    async def _record_message(self, caller: Caller, request: pb.RecordRequest) -> pb.RecordAnswer:
        conversation = await access.open_to_speak(
            self._pool, caller, presenters.parse_conversation_id(request.conversation)
        )
        message = await self._external_loop.record_message(
            conversation.id,
            presenters.parse_role(request.role),
            request.content,
            access.require_user(caller),
            idempotency_key=request.idempotency_key or None,
            language=request.language or None,
        )
        return pb.RecordAnswer(message=presenters.message_to_pb(message))

    async def _get_health(self, caller: Caller, request: pb.HealthRequest) -> pb.HealthAnswer:
        conversation = await access.open_to_read(
            self._pool, caller, presenters.parse_conversation_id(request.conversation)
        )
        return presenters.health_to_pb(await conversation_health.load_health(self._pool, conversation))
