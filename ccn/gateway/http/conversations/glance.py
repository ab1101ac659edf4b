"""What a chat shows beside the messages: the instance and its node, the drift, the cost, a turn's prompt.

One request returns all that a status line shows, because requests are limited. Nothing here changes a
conversation.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Annotated
from uuid import UUID
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Query

from ccn.core.calls import budget
from ccn.core.calls.call import Call
from ccn.core.ids import CharacterId, TurnId
from ccn.gateway.http import auth, problems
from ccn.gateway.http.conversations import glance_schemas as schemas
from ccn.gateway.http.conversations.context import Context, ConversationContext
from ccn.node.views import sent_prompt
from ccn.store.character import measures
from ccn.store.connection.pool import Pool
from ccn.store.conversations import characters, instances, restarts
from ccn.store.conversations.conversations import StoredConversation
from ccn.store.spending import spend
from ccn.store.spending.spend import UsageTotal

if TYPE_CHECKING:
    from ccn import settings


def make_router() -> APIRouter:
    """The routes for a status line, and for a look at a prompt."""
    router = problems.new_router(prefix="/api/v1/conversation/{session_id:uuid}", tags=["conversations"])

    @router.get("/glance")
    async def glance_at_conversation(
        conversation: auth.ConversationToRead, context: Context
    ) -> schemas.GlanceAnswer:
        """Show what a status line needs: the instance, its node, its drift, and what was spent."""
        return await load_glance(context, conversation)

    @router.get("/restarts")
    async def begun_anew(
        conversation_id: auth.ConversationIdToRead, context: Context
    ) -> schemas.RestartsAnswer:
        """List the replies that another node began again, because the node that spoke them died."""
        return schemas.RestartsAnswer(
            restarts=tuple(
                schemas.RestartEntry(
                    turn_id=each.turn,
                    seq=each.seq,
                    node=each.node,
                    attempts=each.attempts,
                    after_s=each.after_s,
                )
                for each in await restarts.list_of_conversation(context.pool, conversation_id)
            )
        )

    @router.get("/prompt")
    async def get_prompt(
        conversation: auth.ConversationToRead,
        context: Context,
        turn_id: Annotated[UUID | None, Query(description="The turn; the last one by default.")] = None,
    ) -> schemas.PromptAnswer:
        """Show exactly what was sent to the model in a turn. It is built again from the record."""
        wanted = None if turn_id is None else TurnId(turn_id)
        sent = await sent_prompt.rebuild_prompt(context.pool, context.plates, conversation.id, wanted)
        return _prompt_to_schema(sent.turn, sent.call)

    return router


async def load_glance(
    context: ConversationContext, conversation: StoredConversation
) -> schemas.GlanceAnswer:
    """Load what a status line shows; calls that have ended on this node are in what was spent."""
    conversation_id = conversation.id
    await context.model.await_settlements()
    instance, alone, measure, name, spent, today = await context.reading.history.read(
        lambda pool: asyncio.gather(
            instances.find_in_conversation(pool, conversation_id),
            instances.is_alone(pool, conversation_id, conversation.character),
            measures.load_latest(pool, conversation_id),
            _load_name(pool, conversation.character),
            spend.load_of_conversation(pool, conversation_id),
            spend.load_of_owner(pool, conversation.owner, _budget_day(context.claude)),
        )
    )
    drift = instance.drift if instance is not None else None
    return schemas.GlanceAnswer(
        session_id=conversation_id,
        character=conversation.character,
        name=name,
        node=None if instance is None else instance.host,
        status=None if instance is None else instance.status.value,
        drift=measure.drift if drift is None and measure is not None else drift,
        alone=alone,
        stand_in=context.claude.stand_in,
        spent=_total_to_schema(spent),
        spent_today=_total_to_schema(today),
    )


async def _load_name(pool: Pool, character: CharacterId) -> str:
    names = (each.name for each in await characters.list_characters(pool) if each.id == character)
    return next(names, character)


def _budget_day(claude: settings.ClaudeSettings) -> date:
    """Today, as budgets count days."""
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
