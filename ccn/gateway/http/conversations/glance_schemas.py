"""The answers for a status line, and those that show a prompt or what was begun again."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from pydantic import Field

from ccn.gateway.http.schemas import Schema


class GlanceSpend(Schema):
    """Tokens and money. Tokens that were read from or written to the cache are not in `input`."""

    calls: int
    input: int
    output: int
    cache_read: int
    cache_write: int
    microdollars: int = Field(description="Millionths of a dollar.")


class GlanceAnswer(Schema):
    """What the status line of a conversation shows."""

    session_id: UUID
    character: str
    name: str = Field(description="The character's name.", examples=["Wren"])
    notice: str = Field(
        default="You talk to an AI. No person writes the replies.",
        description="A notice that has to be shown to the person who talks.",
    )
    node: str | None = Field(description="The node that hosts its instance; null while it has none.")
    status: str | None = Field(
        description="The status of its instance; null while it has none.", examples=["running"]
    )
    drift: float | None = Field(
        description="Distance from the median of all instances; null before it was measured."
    )
    alone: bool = Field(
        description="Whether no other instance of the character lives. Then the drift is from itself.",
        examples=[False],
    )
    stand_in: bool = Field(description="Whether a stand-in with canned replies answers instead of Claude.")
    spent: GlanceSpend = Field(description="What this conversation has used since it began.")
    spent_today: GlanceSpend = Field(description="What all conversations of its owner have used today.")


class RestartEntry(Schema):
    """A reply that was begun again, because the node that spoke it died."""

    turn_id: UUID
    seq: int = Field(description="The number of the reply in the conversation.")
    node: str = Field(description="The node that completed it.")
    attempts: int = Field(description="How many times it was begun.", examples=[2])
    after_s: float | None = Field(
        description="Seconds between the last word of the old attempt and the first of the new one; null "
        "once the events of the turn were deleted.",
        examples=[1.6],
    )


class RestartsAnswer(Schema):
    """The replies of a conversation that were begun again, the newest first; at most a hundred."""

    restarts: tuple[RestartEntry, ...]


class PromptBlock(Schema):
    """A part of the system prompt. With `mark`, the provider is asked to cache everything up to its end."""

    text: str
    mark: bool


class PromptMessage(Schema):
    """A message of the prompt."""

    role: Literal["user", "assistant"]
    text: str
    mark: bool


class PromptAnswer(Schema):
    """The prompt that was sent to the model in one turn."""

    turn_id: UUID
    model: str
    max_tokens: int
    temperature: float | None
    system: tuple[PromptBlock, ...]
    messages: tuple[PromptMessage, ...]
