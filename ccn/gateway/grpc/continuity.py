"""The calls of instances.proto for programs with a loop of their own: prompts and record from here."""

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

    def __init__(self, pool: Pool, talk: Conversations, lending: ExternalLoop) -> None:
        self._pool, self._talk, self._lending = pool, talk, lending

    def methods(self) -> Mapping[str, ClientMethod]:
        """What answers which call, and whose."""
        return {
            "Begin": ClientMethod(Tier.USER, self._begin_conversation),
            "Prompt": ClientMethod(Tier.USER, self._get_prompt),
            "Record": ClientMethod(Tier.USER, self._record_message),
            "Health": ClientMethod(Tier.USER, self._get_health),
        }

    async def _begin_conversation(self, caller: Caller, asked: pb.BeginRequest) -> pb.BeginAnswer:
        character, key = CharacterId(asked.character), asked.idempotency_key or None
        begun = await self._talk.begin_without_instance(character, caller.user, asked.title, key)
        return pb.BeginAnswer(conversation=presenters.conversation_to_pb(begun))

    async def _get_prompt(self, caller: Caller, asked: pb.PromptRequest) -> pb.PromptAnswer:
        here = await access.open_to_read(
            self._pool, caller, presenters.parse_conversation_id(asked.conversation)
        )
        return presenters.prompt_to_pb(await self._lending.build_prompt(here.id))

    async def _record_message(self, caller: Caller, asked: pb.RecordRequest) -> pb.RecordAnswer:
        here = await access.open_to_speak(
            self._pool, caller, presenters.parse_conversation_id(asked.conversation)
        )
        said = await self._lending.record_message(
            here.id,
            presenters.parse_role(asked.role),
            asked.content,
            access.require_user(caller),
            idempotency_key=asked.idempotency_key or None,
            language=asked.language or None,
        )
        return pb.RecordAnswer(message=presenters.message_to_pb(said))

    async def _get_health(self, caller: Caller, asked: pb.HealthRequest) -> pb.HealthAnswer:
        here = await access.open_to_read(
            self._pool, caller, presenters.parse_conversation_id(asked.conversation)
        )
        return presenters.health_to_pb(await conversation_health.load_health(self._pool, here))
