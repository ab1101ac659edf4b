"""The bodies of requests and answers about conversations. What is streamed is described in sse.py."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, Field

from ccn.core import message
from ccn.gateway.http.schemas import Schema

CHARACTER = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"


def _refuse_nul(text: str) -> str:
    if "\x00" in text:
        raise ValueError("the text contains a NUL character")
    return text


_NO_NUL = {"pattern": r"^[^\x00]*$"}
Text = Annotated[str, AfterValidator(_refuse_nul), Field(json_schema_extra=_NO_NUL)]
SOMETHING = r"^[^\x00]*[^\s\x00][^\x00]*$"
"""The pattern of a text that has no NUL and is more than whitespace."""


def _optional_text(schema: dict[str, Any]) -> None:
    """Leave the default out: some generators take a field with a default for one that must be sent."""
    schema.pop("default", None)
    schema.update(_NO_NUL)


class StartRequest(Schema):
    """The character to begin a conversation with."""

    character: str = Field(
        pattern=CHARACTER, description="A character that /api/v1/characters lists.", examples=["wren"]
    )
    title: Annotated[str, AfterValidator(_refuse_nul)] = Field(
        default="", max_length=200, examples=["Lighthouses"], json_schema_extra=_optional_text
    )


class SpeakerAnswer(Schema):
    """The instance that speaks in a conversation, and the node that hosts it."""

    instance_id: UUID
    node: str = Field(examples=["node-1"])
    status: str = Field(examples=["running"])
    model: str = Field(examples=["claude-sonnet-5-5"])
    plate_version: int
    epoch: int = Field(description="Increases whenever another node takes the instance over.")
    drift: float | None = Field(
        description="Distance from the median of all instances; null before the first round."
    )


class StartedAnswer(Schema):
    """A conversation that was begun."""

    session_id: UUID
    character: str
    websocket_url: str = Field(examples=["ws://127.0.0.1:7700/ws/conversation/0197b2a4-…"])
    metrics_url: str = Field(examples=["http://127.0.0.1:7700/api/v1/metrics/conversation/0197b2a4-…"])
    instance: SpeakerAnswer


class SayRequest(Schema):
    """A message to the character."""

    content: Text = Field(
        min_length=1,
        max_length=message.CONTENT_LIMIT,
        examples=["Tell me about lighthouses."],
        json_schema_extra={"pattern": SOMETHING},
    )


class TurnAnswer(Schema):
    """A message and the reply to it."""

    turn_id: UUID
    status: Literal["accepted", "running", "committed", "failed", "cancelled"]
    seq: int = Field(description="The number of the message in the conversation.")
    reply_seq: int | None = Field(description="The number of the reply; null while there is none.")
    attempt: int = Field(description="How many times the reply was begun: more than once if a node died.")
    accepted_at: datetime
    code: str = Field(
        default="",
        description="The code of the problem for which there will be no reply; empty otherwise.",
        examples=[""],
    )


class MetricsAnswer(Schema):
    """The latest measures of a conversation; null where one is not known yet."""

    ccc: float | None = None
    phi: float | None = None
    trust: float | None = None
    emergence: float | None = None
    drift: float | None = None
    seq: int | None = Field(default=None, description="The message after which this was measured.")
    at: datetime | None = None


class ConversationFields(Schema):
    """What lists and single conversations both show."""

    session_id: UUID
    character: str
    title: str
    open: bool
    created_at: datetime
    messages: int = Field(description="The number of its messages.")


class ConversationAnswer(ConversationFields):
    """A conversation with its instance, its unanswered messages and its latest measures."""

    instance: SpeakerAnswer | None = Field(
        description="Null while it has none: an instance ends when nobody speaks to it for long."
    )
    unfinished: tuple[TurnAnswer, ...] = Field(
        description="The messages that wait for a reply or are being answered."
    )
    metrics: MetricsAnswer


class ConversationEntry(ConversationFields):
    """A conversation in a list."""

    opening: str = Field(
        description="The first 80 characters of its first message; empty before there is one."
    )


class ConversationsAnswer(Schema):
    """A page of your conversations, the newest first."""

    conversations: tuple[ConversationEntry, ...]
    next: str | None = Field(description="The cursor of the page after this one; null if it is the last.")


class MessageAnswer(Schema):
    """A message of a conversation."""

    seq: int
    role: Literal["user", "assistant"]
    content: str | None = Field(description="The text; null if it was redacted.")
    at: datetime
    turn_id: UUID | None


class MessagesAnswer(Schema):
    """A page of a conversation, in the order in which its messages were said."""

    messages: tuple[MessageAnswer, ...]
    next: str | None = Field(
        description="The cursor of the page before this one; null if this is the first."
    )


class SearchHitAnswer(Schema):
    """A message that matches a search."""

    session_id: UUID
    seq: int
    role: Literal["user", "assistant"]
    at: datetime
    excerpt: tuple[str, ...] = Field(
        description="Plain text and matching text in turn; the first part is plain text.",
        examples=[["the ", "lamp", " of the lighthouse"]],
    )


class SearchAnswer(Schema):
    """The messages that match a search, the best first."""

    found: tuple[SearchHitAnswer, ...]
    complete: bool = Field(
        description="False if there are so many matches that the older ones were not ranked."
    )


class CharacterAnswer(Schema):
    """A character to talk with."""

    id: str = Field(examples=["wren"])
    name: str = Field(examples=["Wren"])
    plate_version: int


class CharactersAnswer(Schema):
    """All characters."""

    characters: tuple[CharacterAnswer, ...]


class RealtimeMetrics(Schema):
    """The cluster in figures: counts and means only."""

    at: datetime
    conversations: int
    active_instances: int
    quarantined_instances: int
    messages_last_hour: int
    measured_conversations: int = Field(
        description="The number of conversations in the means below: those measured in the last hour."
    )
    ccc: float | None
    phi: float | None
    trust: float | None
    emergence: float | None
    drift: float | None
    max_drift: float | None


class ConversationSpend(Schema):
    """What the calls to the model used, and what they cost."""

    calls: int
    input: int
    output: int
    cache_read: int
    cache_write: int
    dollars: float


class ConversationMetrics(Schema):
    """The measures of a conversation over time."""

    session_id: UUID
    series: str = Field(
        description="The label `conversation` of its series in `/metrics`; nobody else can work it out.",
        examples=["8f14e45fceea167a"],
    )
    latest: MetricsAnswer
    hourly: tuple[MetricsAnswer, ...] = Field(
        description="The means of each hour. Here `seq` is the number of samples in the hour."
    )
    character: dict[str, float | None] = Field(
        description="The state of the character by axis; empty if it is not known yet."
    )
    spent: ConversationSpend
