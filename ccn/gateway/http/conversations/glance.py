"""What a chat shows beside the words: who speaks and where, the drift, the cost, and the prompt of a turn.

One request tells all that a status line has, because whoever chats may not ask often. Not a part of the
conversation itself: nothing here changes anything.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Annotated
from uuid import UUID
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends, Query

from ccn.core.calls import budget
from ccn.core.calls.call import Call
from ccn.core.ids import CharacterId, ConversationId, TurnId
from ccn.gateway.http import auth, problems
from ccn.gateway.http.conversations import context
from ccn.gateway.http.conversations import glance_schemas as schemas
from ccn.gateway.http.conversations.context import ConversationContext
from ccn.node.views import sent_prompt
from ccn.store.character import measures
from ccn.store.connection.pool import Pool
from ccn.store.conversations import characters, instances, restarts
from ccn.store.conversations.conversations import StoredConversation
from ccn.store.spending import spend
from ccn.store.spending.spend import UsageTotal

if TYPE_CHECKING:
    from ccn import settings

Read = Annotated[StoredConversation, Depends(auth.open_to_read)]
Named = Annotated[ConversationId, Depends(auth.open_id_to_read)]
Talking = Annotated[ConversationContext, Depends(context.get_context)]


def make_router() -> APIRouter:
    """A conversation at a glance, and a look at its prompt."""
    router = problems.new_router(prefix="/api/v1/conversation/{session_id:uuid}", tags=["conversations"])

    @router.get("/glance")
    async def glance_at_conversation(conversation: Read, talking: Talking) -> schemas.GlanceAnswer:
        """Who speaks, how far from its character, and what the talk has cost; one row for a status line."""
        return await load_glance(talking, conversation)

    @router.get("/restarts")
    async def begun_anew(here: Named, talking: Talking) -> schemas.RestartsAnswer:
        """Which replies were begun anew on another node, because theirs died."""
        found = await restarts.list_of_conversation(talking.pool, here)
        return schemas.RestartsAnswer(
            restarts=tuple(
                schemas.RestartEntry(
                    turn_id=each.turn,
                    seq=each.seq,
                    node=each.node,
                    attempts=each.attempts,
                    after_s=each.after_s,
                )
                for each in found
            )
        )

    @router.get("/prompt")
    async def get_prompt(
        conversation: Read,
        talking: Talking,
        turn_id: Annotated[UUID | None, Query(description="The last turn if not given.")] = None,
    ) -> schemas.PromptAnswer:
        """Exactly what was sent to the model in a turn, built once more from the record."""
        wanted = None if turn_id is None else TurnId(turn_id)
        sent = await sent_prompt.rebuild_prompt(talking.pool, talking.prompting, conversation.id, wanted)
        return _prompt_to_schema(sent.turn, sent.call)

    return router


async def load_glance(
    talking: ConversationContext, conversation: StoredConversation
) -> schemas.GlanceAnswer:
    """A conversation as its status line has it, with everything counted that has ended here."""
    pool, here = talking.pool, conversation.id
    await talking.model.await_settlements()
    instance, alone, measure, name, spent, today = await asyncio.gather(
        instances.find_in_conversation(pool, here),
        instances.is_alone(pool, here, conversation.character),
        measures.load_latest(pool, here),
        _load_name(pool, conversation.character),
        spend.load_of_conversation(pool, here),
        spend.load_of_owner(pool, conversation.owner, _budget_day(talking.claude)),
    )
    drift = instance.drift if instance is not None else None
    return schemas.GlanceAnswer(
        session_id=here,
        character=conversation.character,
        name=name,
        node=None if instance is None else instance.host,
        status=None if instance is None else instance.status.value,
        drift=measure.drift if drift is None and measure is not None else drift,
        alone=alone,
        stand_in=talking.claude.stand_in,
        spent=_total_to_schema(spent),
        spent_today=_total_to_schema(today),
    )


async def _load_name(pool: Pool, character: CharacterId) -> str:
    named = (each.name for each in await characters.list_characters(pool) if each.id == character)
    return next(named, character)


def _budget_day(claude: settings.ClaudeSettings) -> date:
    """As budgets count days."""
    return budget.day_of(datetime.now(UTC), ZoneInfo(claude.time_zone))


def _prompt_to_schema(turn: TurnId, call: Call) -> schemas.PromptAnswer:
    return schemas.PromptAnswer(
        turn_id=turn,
        model=call.model,
        max_tokens=call.max_tokens,
        temperature=call.temperature,
        system=tuple(schemas.PromptBlock(text=block.text, mark=block.mark) for block in call.system),
        messages=tuple(
            schemas.PromptMessage(role=said.role.value, text=said.text, mark=said.mark)
            for said in call.messages
        ),
    )


def _total_to_schema(total: UsageTotal) -> schemas.GlanceSpend:
    used = total.usage
    return schemas.GlanceSpend(
        calls=total.calls,
        input=used.input,
        output=used.output,
        cache_read=used.cache_read,
        cache_write=used.cache_write,
        microdollars=total.microdollars,
    )
