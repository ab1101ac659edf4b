"""The measures of characters: aggregates for anybody, and each conversation for its owner."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from fastapi.responses import Response

from ccn.core import series_names
from ccn.core.axes import AXES
from ccn.core.calls.price import DOLLAR
from ccn.gateway.http import auth, problems
from ccn.gateway.http.conversations import presenters, schemas
from ccn.gateway.http.conversations.context import Context, ConversationContext
from ccn.store.character import measures, vectors
from ccn.store.conversations import totals
from ccn.store.spending import spend

FRESH_S = 2.0
"""Aggregates are counted at most once in this time, however often they are asked for."""


def make_router() -> APIRouter:
    """The aggregates, and the measures of one conversation."""
    router = problems.new_router(prefix="/api/v1/metrics", tags=["metrics"])
    latest = _LatestAggregates()

    @router.get(
        "/realtime", dependencies=[Depends(auth.admit_anybody)], response_model=schemas.RealtimeMetrics
    )
    async def get_realtime_metrics(context: Context) -> Response:
        """Show the cluster in figures that are at most two seconds old: counts and means, no names."""
        return presenters.json_response(await latest.load_encoded(context))

    @router.get("/conversation/{session_id:uuid}")
    async def get_conversation_metrics(
        conversation: auth.ConversationToRead,
        context: Context,
        hours: Annotated[int, Query(ge=1, le=24 * 90, description="How far back the means go.")] = 24,
    ) -> schemas.ConversationMetrics:
        """Show the measures of a conversation: the latest, the means of each hour, and what it has cost."""
        conversation_id, since = conversation.id, datetime.now(UTC) - timedelta(hours=hours)
        await context.model.await_settlements()
        last, hourly, state, spent, key = await context.reading.history.read(
            lambda pool: asyncio.gather(
                measures.load_latest(pool, conversation_id),
                measures.load_hourly(pool, conversation_id, since),
                vectors.load_latest(pool, conversation_id),
                spend.load_of_conversation(pool, conversation_id),
                measures.load_series_key(pool),
            )
        )
        return schemas.ConversationMetrics(
            session_id=conversation_id,
            series=series_names.name_series(key, conversation_id),
            latest=presenters.measure_to_schema(last),
            hourly=tuple(map(presenters.measure_to_schema, hourly)),
            character={} if state is None else dict(zip(AXES, state.vector.scores(), strict=True)),
            spent=schemas.ConversationSpend(
                calls=spent.calls, dollars=spent.microdollars / DOLLAR, **asdict(spent.usage)
            ),
        )

    return router


class _LatestAggregates:
    """The newest aggregates, counted once for all requests that come at the same time."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._encoded = b""
        self._until = float("-inf")

    async def load_encoded(self, context: ConversationContext) -> bytes:
        clock = asyncio.get_running_loop().time
        if clock() <= self._until:
            return self._encoded
        async with self._lock:
            if clock() > self._until:  # else another request counted them while this one waited
                counted = asdict(await context.reading.history.read(totals.load_totals))
                answer = schemas.RealtimeMetrics(measured_conversations=counted.pop("measured"), **counted)
                self._encoded = presenters.encode_schema(answer)
                self._until = clock() + FRESH_S
            return self._encoded
