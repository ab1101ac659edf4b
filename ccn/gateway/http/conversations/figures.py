"""How the character does: the cluster in aggregates for everybody, and each conversation for its owner."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response

from ccn.core import series_names
from ccn.core.axes import AXES
from ccn.core.calls.price import DOLLAR
from ccn.gateway.http import auth, problems
from ccn.gateway.http.conversations import context, presenters, schemas
from ccn.gateway.http.conversations.context import ConversationContext
from ccn.store.character import measures, vectors
from ccn.store.conversations import totals
from ccn.store.conversations.conversations import StoredConversation
from ccn.store.spending import spend

FRESH_S = 2.0
"""Aggregates are counted once in so long, whoever asks how often: everybody may."""


def make_router() -> APIRouter:
    """Aggregates, and the course of one conversation."""
    router = problems.new_router(prefix="/api/v1/metrics", tags=["metrics"])
    latest = _LatestAggregates()

    @router.get(
        "/realtime", dependencies=[Depends(auth.admit_anybody)], response_model=schemas.RealtimeMetrics
    )
    async def get_realtime_metrics(request: Request) -> Response:
        """The cluster in figures, at most two seconds old: counts and means, nothing about anybody."""
        return presenters.json_response(await latest.load_encoded(await context.get_context(request)))

    @router.get("/conversation/{session_id:uuid}")
    async def get_conversation_metrics(
        conversation: Annotated[StoredConversation, Depends(auth.open_to_read)],
        talking: Annotated[ConversationContext, Depends(context.get_context)],
        hours: Annotated[int, Query(ge=1, le=24 * 90, description="How far back the means go.")] = 24,
    ) -> schemas.ConversationMetrics:
        """How a conversation measures: last, hour by hour, axis by axis, and what it has cost."""
        pool, here = talking.pool, conversation.id
        await talking.model.await_settlements()
        last, hourly, state, spent, key = await asyncio.gather(
            measures.load_latest(pool, here),
            measures.load_hourly(pool, here, datetime.now(UTC) - timedelta(hours=hours)),
            vectors.load_latest(pool, here),
            spend.load_of_conversation(pool, here),
            measures.load_series_key(pool),
        )
        return schemas.ConversationMetrics(
            session_id=here,
            series=series_names.name_series(key, here),
            latest=presenters.measure_to_schema(last),
            hourly=tuple(map(presenters.measure_to_schema, hourly)),
            character={} if state is None else dict(zip(AXES, state.vector.scores(), strict=True)),
            spent=schemas.ConversationSpend(
                calls=spent.calls, dollars=spent.microdollars / DOLLAR, **asdict(spent.usage)
            ),
        )

    return router


class _LatestAggregates:
    """The newest aggregates, counted once for all who ask at the same time."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._found = b""
        self._until = float("-inf")

    async def load_encoded(self, talking: ConversationContext) -> bytes:
        clock = asyncio.get_running_loop().time
        if clock() <= self._until:
            return self._found
        async with self._lock:
            if clock() > self._until:
                told = asdict(await totals.load_totals(talking.pool))
                shown = schemas.RealtimeMetrics(measured_conversations=told.pop("measured"), **told)
                self._found = presenters.encode_schema(shown)
                self._until = clock() + FRESH_S
            return self._found
