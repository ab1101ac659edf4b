"""The sixteen axes of one conversation, as a radar chart shows them: now, agreed on, and as written."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import Field

from ccn.core.axes import SIXTEEN, Vector
from ccn.gateway.http import auth, problems
from ccn.gateway.http.conversations.context import Context, ConversationContext
from ccn.gateway.http.schemas import Schema
from ccn.node.views import axis_profile
from ccn.store.conversations.conversations import StoredConversation


class AxisAnswer(Schema):
    """The scores of one axis: 1 is clearly shown, 0.5 neutral, 0 clearly the opposite, null unknown."""

    name: str = Field(examples=["curiosity"])
    rubric: str = Field(description="What a high score means.")
    decides: bool = Field(
        description="Whether the axis counts in decisions. Those do whose offline scores were validated."
    )
    state: float | None = Field(
        description="An estimate of how the character has lately been in this conversation."
    )
    agreed: float | None = Field(
        description="The median of the newest round, in which every owner has the same weight. Null if so "
        "few owners took part that it would reveal somebody else's conversation."
    )
    written: float | None = Field(description="The score that the plate asks for. It never adapts.")


class AxesAnswer(Schema):
    """All sixteen axes, in their fixed order."""

    axes: tuple[AxisAnswer, ...]
    from_written: float | None = Field(
        description="Distance between the state and what is written; null if either is unknown."
    )
    height: int | None = Field(
        description="The block that `agreed` is from; null before the chain was founded."
    )


def make_router() -> APIRouter:
    """The route that a radar chart needs."""
    router = problems.new_router(prefix="/api/v1/conversation/{session_id:uuid}", tags=["conversations"])

    @router.get("/axes")
    async def get_axes(conversation: auth.ConversationToRead, context: Context) -> AxesAnswer:
        """Compare the character here, axis by axis, with its other instances and with its plate."""
        return await load_axes(context, conversation)

    return router


async def load_axes(context: ConversationContext, conversation: StoredConversation) -> AxesAnswer:
    """Load all sixteen as they are now."""
    profile = await context.reading.history.read(lambda pool: axis_profile.load_profile(pool, conversation))
    columns = zip(
        SIXTEEN,
        _list_scores(profile.state),
        _list_scores(profile.agreed),
        _list_scores(profile.written),
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
        from_written=profile.from_written,
        height=profile.height,
    )


def _list_scores(vector: Vector | None) -> list[float | None]:
    return [None] * len(SIXTEEN) if vector is None else vector.scores()
