"""What the doors to conversations take and say, as typed models. What is streamed is in stream.py."""

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
"""As a schema says that a text has no NUL, and more than whitespace."""


def _optional_text(schema: dict[str, Any]) -> None:
    """Some generators take a field with a default for one that is always there, and so must be sent."""
    schema.pop("default", None)
    schema.update(_NO_NUL)


class StartRequest(Schema):
    """With whom to begin a conversation."""

    character: str = Field(pattern=CHARACTER, description="One of /api/v1/characters.", examples=["wren"])
    title: Annotated[str, AfterValidator(_refuse_nul)] = Field(
        default="", max_length=200, examples=["Lighthouses"], json_schema_extra=_optional_text
    )


class SpeakerAnswer(Schema):
    """The instance that speaks in a conversation, and the node it lives on."""

    instance_id: UUID
    node: str = Field(examples=["node-1"])
    status: str = Field(examples=["running"])
    model: str = Field(examples=["claude-sonnet-5-5"])
    plate_version: int
    epoch: int = Field(description="Grows whenever another node takes over.")
    drift: float | None = Field(
        description="Distance from what all instances agree on; null before a round."
    )


class StartedAnswer(Schema):
    """A conversation that has begun."""

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
    """One message and the reply that was promised to it."""

    turn_id: UUID
    status: Literal["accepted", "running", "committed", "failed", "cancelled"]
    seq: int = Field(description="The place of the message in the conversation.")
    reply_seq: int | None = Field(description="The place of the reply; null while there is none.")
    attempt: int = Field(description="How often the reply was begun: more than once if a node died.")
    accepted_at: datetime
    code: str = Field(
        default="", description="Why there will be no reply, as a problem's code.", examples=[""]
    )


class MetricsAnswer(Schema):
    """How a conversation measured last; null where a measure cannot be told yet."""

    ccc: float | None = None
    phi: float | None = None
    trust: float | None = None
    emergence: float | None = None
    drift: float | None = None
    seq: int | None = Field(default=None, description="The message after which this was measured.")
    at: datetime | None = None


class ConversationFields(Schema):
    """A conversation as it stands."""

    session_id: UUID
    character: str
    title: str
    open: bool
    created_at: datetime
    messages: int = Field(description="How many messages it has.")


class ConversationAnswer(ConversationFields):
    """The same, with who speaks there, what is unanswered, and how it measures."""

    instance: SpeakerAnswer | None = Field(description="Null while nobody has spoken there for long.")
    unfinished: tuple[TurnAnswer, ...] = Field(description="What waits for its reply or is being answered.")
    metrics: MetricsAnswer


class ConversationEntry(ConversationFields):
    """The same in a list, where something has to tell it from the others."""

    opening: str = Field(description="How it began: the first 80 letters; empty before that.")


class ConversationsAnswer(Schema):
    """A page of one's conversations, the newest first."""

    conversations: tuple[ConversationEntry, ...]
    next: str | None = Field(description="The cursor of the page after this one; null if it is the last.")


class MessageAnswer(Schema):
    """Something that was said."""

    seq: int
    role: Literal["user", "assistant"]
    content: str | None = Field(description="Null once it was redacted.")
    at: datetime
    turn_id: UUID | None


class MessagesAnswer(Schema):
    """A page of a conversation, in the order in which it was said."""

    messages: tuple[MessageAnswer, ...]
    next: str | None = Field(
        description="The cursor of the page before this one; null if this is the first."
    )


class SearchHitAnswer(Schema):
    """A message that was found."""

    session_id: UUID
    seq: int
    role: Literal["user", "assistant"]
    at: datetime
    excerpt: tuple[str, ...] = Field(
        description="Plain text and matches in turn, beginning with plain text.",
        examples=[["the ", "lamp", " of the lighthouse"]],
    )


class SearchAnswer(Schema):
    """What was found, the best first."""

    found: tuple[SearchHitAnswer, ...]
    complete: bool = Field(description="Whether older matches, if there are more, were ranked too.")


class CharacterAnswer(Schema):
    """Somebody to talk with."""

    id: str = Field(examples=["wren"])
    name: str = Field(examples=["Wren"])
    plate_version: int


class CharactersAnswer(Schema):
    """All characters."""

    characters: tuple[CharacterAnswer, ...]


class RealtimeMetrics(Schema):
    """The cluster in figures: aggregates only, for everybody."""

    at: datetime
    conversations: int
    active_instances: int
    quarantined_instances: int
    messages_last_hour: int
    measured_conversations: int = Field(
        description="How many the means below are of: those of the last hour."
    )
    ccc: float | None
    phi: float | None
    trust: float | None
    emergence: float | None
    drift: float | None
    max_drift: float | None


class ConversationSpend(Schema):
    """Tokens and money."""

    calls: int
    input: int
    output: int
    cache_read: int
    cache_write: int
    dollars: float


class ConversationMetrics(Schema):
    """How a conversation measures, over time."""

    session_id: UUID
    series: str = Field(
        description="What `/metrics` calls it: the label `conversation`, which nobody else can tell.",
        examples=["8f14e45fceea167a"],
    )
    latest: MetricsAnswer
    hourly: tuple[MetricsAnswer, ...] = Field(description="Means of each hour; `seq` counts its samples.")
    character: dict[str, float | None] = Field(
        description="The character's state, by axis; empty if unknown."
    )
    spent: ConversationSpend


class InstanceEntry(SpeakerAnswer):
    """An instance that is alive."""

    session_id: UUID
    character: str
    spawned_at: datetime
    heartbeat_at: datetime


class InstancesAnswer(Schema):
    """A page of the instances that are alive."""

    instances: tuple[InstanceEntry, ...]
    next: str | None


class ForcedRoundAnswer(Schema):
    """What came of a round that an operator asked for."""

    request_id: UUID
    answered: bool = Field(description="False if nobody has answered yet; the request stands.")
    committed: bool | None = None
    height: int | None = None
    term: int | None = None
    reason: str = Field(default="", description="Why it failed; empty if it committed.")
    votes: tuple[str, ...] = ()
