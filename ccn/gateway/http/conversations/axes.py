"""The sixteen axes of one conversation, as a radar shows them: now, agreed on, and as written."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import Field

from ccn.core.axes import SIXTEEN, Vector
from ccn.gateway.http import auth, problems
from ccn.gateway.http.conversations import context
from ccn.gateway.http.conversations.context import ConversationContext
from ccn.gateway.http.schemas import Schema
from ccn.node.views import axis_profile
from ccn.store.connection.pool import Pool
from ccn.store.conversations.conversations import StoredConversation


class AxisAnswer(Schema):
    """One axis: 1 clearly shown, 0.5 neutral, 0 clearly the opposite, null unknown."""

    name: str = Field(examples=["curiosity"])
    rubric: str = Field(description="What a high score means.")
    decides: bool = Field(description="Whether its offline scores were validated and decide.")
    state: float | None = Field(description="How it has been here lately: a statistical estimate.")
    agreed: float | None = Field(
        description="The newest round's median, in which everybody weighs the same; none where it would "
        "tell of one or two others."
    )
    written: float | None = Field(description="As the plate has it; never follows.")


class AxesAnswer(Schema):
    """All sixteen, in their fixed order."""

    axes: tuple[AxisAnswer, ...]
    from_written: float | None = Field(
        description="Distance of the state from what is written; null where either is unknown."
    )
    height: int | None = Field(description="The block with what was agreed; none before the founding.")


def make_router() -> APIRouter:
    """What a radar needs, in one request."""
    router = problems.new_router(prefix="/api/v1/conversation/{session_id:uuid}", tags=["conversations"])

    @router.get("/axes")
    async def get_axes(
        conversation: Annotated[StoredConversation, Depends(auth.open_to_read)],
        talking: Annotated[ConversationContext, Depends(context.get_context)],
    ) -> AxesAnswer:
        """Where the character stands here, what its instances agree on, and what its plate asks for."""
        return await load_axes(talking.pool, conversation)

    return router


async def load_axes(pool: Pool, conversation: StoredConversation) -> AxesAnswer:
    """All of them, as the database has them now."""
    found = await axis_profile.load_profile(pool, conversation)
    columns = zip(
        SIXTEEN,
        _list_scores(found.state),
        _list_scores(found.agreed),
        _list_scores(found.written),
        strict=True,
    )
    return AxesAnswer(
        axes=tuple(
            AxisAnswer(
                name=axis.name,
                rubric=axis.rubric,
                decides=axis.validated_offline,
                state=state,
                agreed=agreed,
                written=written,
            )
            for axis, state, agreed, written in columns
        ),
        from_written=found.from_written,
        height=found.height,
    )


def _list_scores(vector: Vector | None) -> list[float | None]:
    return [None] * len(SIXTEEN) if vector is None else vector.scores()
