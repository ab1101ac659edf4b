"""The schemas of the Messages API, as far as characters support it. Other fields are refused by name.

Some fields are accepted although they change nothing, because CCN already does what they ask for.
`metadata` names a user to the provider. `cache_control` marks what CCN marks by itself. `service_tier` has
one value. `context_management` clears thoughts and results of tools, which our prompts never have.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from ccn.core import message
from ccn.gateway.http.conversations.schemas import SOMETHING, Text
from ccn.gateway.http.schemas import Schema


class _RequestPart(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _refuse_value(value: Any) -> Any:
    if value:
        raise ValueError("characters do not take this; leave it out")
    return value


Refused = Annotated[
    Any,
    AfterValidator(_refuse_value),
    WithJsonSchema(
        {
            "anyOf": [{"type": "null"}, {"type": "array", "items": {"type": "string"}, "maxItems": 0}],
            "description": "Nothing for characters: leave it out.",
        }
    ),
]
"""A field that characters do not take. Clients may send null or an empty list or object for nothing."""


def _refuse_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("text must contain something else than whitespace")
    return text


_LongText = Annotated[Text, Field(max_length=message.CONTENT_LIMIT)]
_NotBlank = Annotated[
    _LongText, AfterValidator(_refuse_blank), Field(json_schema_extra={"pattern": SOMETHING})
]


class CacheControl(_RequestPart):
    """A mark for the provider's cache, which CCN sets by itself."""

    type: Literal["ephemeral"]
    ttl: Literal["5m", "1h"] | None = None


class TextBlock(_RequestPart):
    """A part of a message; characters read text only."""

    type: Literal["text"]
    text: _NotBlank
    cache_control: CacheControl | None = None
    citations: Refused = None


def _refuse_other_blocks(content: Any) -> Any:
    """Refuse pictures and tool results by their type: the error of a malformed text would mislead."""
    for block in content if isinstance(content, list) else ():
        kind = block.get("type") if isinstance(block, dict) else None
        if isinstance(kind, str) and kind != "text":
            raise ValueError(f"characters read text only, and no block of type {kind[:40]}")
    return content


_TextOnly = BeforeValidator(_refuse_other_blocks)
Content = Annotated[
    _NotBlank | Annotated[list[TextBlock], Field(min_length=1, max_length=1_000)], _TextOnly
]
System = Annotated[_LongText | Annotated[list[TextBlock], Field(max_length=1_000)], _TextOnly]


class MessageParam(_RequestPart):
    """One message of the conversation."""

    role: Literal["user", "assistant"]
    content: Content

    @property
    def text(self) -> str:
        """The text of all its blocks."""
        return join_text(self.content)


class RequestMetadata(_RequestPart):
    """Who asks. The provider is not told."""

    user_id: str | None = Field(default=None, max_length=512)


class ContextEdit(_RequestPart):
    """Something to clear from the context, which the prompt of a character never has."""

    model_config = ConfigDict(frozen=True, extra="allow")

    type: str = Field(pattern=r"^clear_(tool_uses|thinking)_[0-9]{8}$")


class ContextManagement(_RequestPart):
    """What to clear from the context."""

    edits: list[ContextEdit] | None = Field(default=None, max_length=20)


class DisabledThinking(_RequestPart):
    """Thinking, switched off, as it is for characters."""

    type: Literal["disabled"]


def _refuse_thinking(thinking: Any) -> Any:
    if thinking and thinking != {"type": "disabled"}:
        raise ValueError("characters do not take this; leave it out")
    return thinking or None


class CountTokensRequest(_RequestPart):
    """A prompt for a character: a list of messages that ends with the user's."""

    model: str = Field(
        max_length=200, description="A character, as /v1/models lists them.", examples=["wren"]
    )
    messages: list[MessageParam] = Field(
        min_length=1, max_length=10_000, examples=[[{"role": "user", "content": "Tell me about lamps."}]]
    )
    system: System | None = Field(
        default=None, description="Put behind the plate, which stays in force; unused in a conversation."
    )
    cache_control: CacheControl | None = None
    context_management: ContextManagement | None = None
    thinking: Annotated[DisabledThinking | None, BeforeValidator(_refuse_thinking)] = None
    mcp_servers: Refused = None
    output_config: Refused = None
    output_format: Refused = None
    speed: Refused = None
    tool_choice: Refused = None
    tools: Refused = None


class CreateMessageRequest(CountTokensRequest):
    """A prompt for a character that it shall answer."""

    max_tokens: int = Field(ge=1, le=1_000_000, examples=[1_000])
    stream: bool | None = None
    temperature: float | None = Field(default=None, ge=0, le=1)
    metadata: RequestMetadata | None = None
    service_tier: Literal["auto", "standard_only"] | None = None
    container: Refused = None
    inference_geo: Refused = None
    stop_sequences: Refused = None
    top_k: Refused = None
    top_p: Refused = None


class MessageUsage(Schema):
    """The tokens of a request and its reply."""

    input_tokens: int
    cache_creation_input_tokens: int
    cache_read_input_tokens: int
    output_tokens: int
    service_tier: Literal["standard"] = "standard"


class ReplyText(Schema):
    """A part of a reply."""

    type: Literal["text"] = "text"
    text: str


class CreateMessageAnswer(Schema):
    """A whole reply."""

    id: str = Field(examples=["msg_0197b2a45c1e7d3a9f002b6c1d4e8f01"])
    type: Literal["message"] = "message"
    role: Literal["assistant"] = "assistant"
    model: str = Field(examples=["wren"])
    content: tuple[ReplyText, ...]
    stop_reason: str | None
    stop_sequence: str | None = None
    usage: MessageUsage


class TokenCount(Schema):
    """The length of a prompt."""

    input_tokens: int


class ModelEntry(Schema):
    """A character as a model."""

    type: Literal["model"] = "model"
    id: str = Field(examples=["wren"])
    display_name: str
    created_at: str


class ModelsAnswer(Schema):
    """A page of models."""

    data: tuple[ModelEntry, ...]
    has_more: bool
    first_id: str | None
    last_id: str | None


class ApiErrorReason(Schema):
    """The reason of an error."""

    type: str
    message: str


class ApiError(Schema):
    """An error in the shape of the Messages API."""

    type: Literal["error"] = "error"
    error: ApiErrorReason
    request_id: str | None = None


def join_text(content: str | list[TextBlock]) -> str:
    """Join the text of a content, which is a string or a list of blocks."""
    return content if isinstance(content, str) else "\n".join(block.text for block in content)
