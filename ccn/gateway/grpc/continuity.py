"""The calls of instances.proto for programs with a loop of their own: prompts and record from here."""

from __future__ import annotations

from collections.abc import Mapping

from ccn.core.ids import CharacterId
from ccn.gateway.accounts import access
from ccn.gateway.accounts.access import Caller
from ccn.gateway.grpc import messages
from ccn.gateway.grpc.client_calls import Method
from ccn.node.conversations import Conversations
from ccn.node.external_loop import Lending
from ccn.node.views import conversation_health
from ccn.pb import instances_pb2 as pb
from ccn.store.accounts.users import Tier
from ccn.store.connection.pool import Pool

SERVICE = pb.DESCRIPTOR.services_by_name["Continuity"]


class Continuity:
    """The service of one node."""

    def __init__(self, pool: Pool, talk: Conversations, lending: Lending) -> None:
        self._pool, self._talk, self._lending = pool, talk, lending

    def methods(self) -> Mapping[str, Method]:
        """What answers which call, and whose."""
        return {
            "Begin": Method(Tier.USER, self._begin),
            "Prompt": Method(Tier.USER, self._prompt),
            "Record": Method(Tier.USER, self._record),
            "Health": Method(Tier.USER, self._health),
        }

    async def _begin(self, caller: Caller, asked: pb.BeginRequest) -> pb.BeginAnswer:
        character, key = CharacterId(asked.character), asked.idempotency_key or None
        begun = await self._talk.begin(character, caller.user, asked.title, key)
        return pb.BeginAnswer(conversation=messages.conversation(begun))

    async def _prompt(self, caller: Caller, asked: pb.PromptRequest) -> pb.PromptAnswer:
        here = await access.look_into(self._pool, caller, messages.named(asked.conversation))
        return messages.prompt(await self._lending.prompt(here.id))

    async def _record(self, caller: Caller, asked: pb.RecordRequest) -> pb.RecordAnswer:
        here = await access.own(self._pool, caller, messages.named(asked.conversation))
        said = await self._lending.record(
            here.id,
            messages.role(asked.role),
            asked.content,
            access.speaker(caller),
            idempotency_key=asked.idempotency_key or None,
            language=asked.language or None,
        )
        return pb.RecordAnswer(message=messages.message(said))

    async def _health(self, caller: Caller, asked: pb.HealthRequest) -> pb.HealthAnswer:
        here = await access.look_into(self._pool, caller, messages.named(asked.conversation))
        return messages.health(await conversation_health.of(self._pool, here))
