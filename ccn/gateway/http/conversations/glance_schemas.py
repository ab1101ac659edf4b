"""What a glance at a conversation and at its prompt say, as typed models."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from pydantic import Field

from ccn.gateway.http.schemas import Schema


class GlanceSpend(Schema):
    """Tokens and money; what was read from or written to the cache is not in `input`."""

    calls: int
    input: int
    output: int
    cache_read: int
    cache_write: int
    microdollars: int = Field(description="Millionths of a dollar.")


class GlanceAnswer(Schema):
    """A conversation as a status line has it."""

    session_id: UUID
    character: str
    name: str = Field(description="The character's name.", examples=["Wren"])
    notice: str = Field(
        default="You talk to an AI. No person writes the replies.",
        description="To be shown to whoever talks.",
    )
    node: str | None = Field(description="Where its instance lives; null while it has none.")
    status: str | None = Field(description="How its instance is.", examples=["running"])
    drift: float | None = Field(
        description="Distance from what all instances agree on; null before it was measured."
    )
    alone: bool = Field(
        description="Whether no other instance of the character is alive: then its drift is from itself.",
        examples=[False],
    )
    stand_in: bool = Field(description="Whether a stand-in answers instead of Claude: canned words.")
    spent: GlanceSpend = Field(description="By this conversation, ever.")
    spent_today: GlanceSpend = Field(description="By all conversations of its owner today.")


class RestartEntry(Schema):
    """A reply that was begun anew, because the node that spoke it died."""

    turn_id: UUID
    seq: int = Field(description="The place of the reply in the conversation.")
    node: str = Field(description="Where it came to its end.")
    attempts: int = Field(description="How often it was begun.", examples=[2])
    after_s: float | None = Field(
        description="From the last word before to the next one; null once the stream is forgotten.",
        examples=[1.6],
    )


class RestartsAnswer(Schema):
    """All of a conversation, the newest first; a hundred at most."""

    restarts: tuple[RestartEntry, ...]


class PromptBlock(Schema):
    """A part of the system prompt; a mark asks the provider to cache everything up to here."""

    text: str
    mark: bool


class PromptMessage(Schema):
    """A message of the prompt."""

    role: Literal["user", "assistant"]
    text: str
    mark: bool


class PromptAnswer(Schema):
    """What was sent in one turn."""

    turn_id: UUID
    model: str
    max_tokens: int
    temperature: float | None
    system: tuple[PromptBlock, ...]
    messages: tuple[PromptMessage, ...]
