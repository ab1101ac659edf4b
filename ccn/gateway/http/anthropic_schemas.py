"""The Messages API as far as a character speaks it. Unknown fields are let through, as SDKs grow."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from ccn.core import message
from ccn.gateway.http.schemas import Model
from ccn.gateway.http.talk_schemas import CHARACTER, Text


class _Asked(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class TextBlock(_Asked):
    """A part of a message; characters read text only."""

    type: Literal["text"]
    text: Text = Field(max_length=message.CONTENT_LIMIT)


def _readable(given: Any) -> Any:
    """Say of a picture or a tool's result that it is one, rather than what a text would have been."""
    for block in given if isinstance(given, list) else ():
        kind = block.get("type") if isinstance(block, dict) else None
        if isinstance(kind, str) and kind != "text":
            raise ValueError(f"characters read text only, and no block of type {kind[:40]}")
    return given


Content = Annotated[
    Annotated[Text, Field(max_length=message.CONTENT_LIMIT)]
    | Annotated[list[TextBlock], Field(min_length=1, max_length=1_000)],
    BeforeValidator(_readable),
]


class Line(_Asked):
    """One message."""

    role: Literal["user", "assistant"]
    content: Content

    @property
    def text(self) -> str:
        """All of it."""
        return plain(self.content)


class Question(_Asked):
    """What is asked of a character, as a list of messages that ends with the user's."""

    model: str = Field(
        pattern=CHARACTER, description="A character, as /v1/models lists them.", examples=["wren"]
    )
    messages: list[Line] = Field(
        min_length=1, max_length=10_000, examples=[[{"role": "user", "content": "Tell me about lamps."}]]
    )
    system: Content | None = Field(
        default=None, description="Put behind the plate, which stays in force; unused in a conversation."
    )


def _nothing(given: Any) -> Any:
    if given and given != {"type": "disabled"}:
        raise ValueError("characters do not take this; leave it out")
    return given


Refused = Annotated[Any, AfterValidator(_nothing)]


class Create(Question):
    """The same, to be answered."""

    max_tokens: int = Field(ge=1, le=1_000_000, examples=[1_000])
    stream: bool = False
    temperature: float | None = Field(default=None, ge=0, le=1)
    tools: Refused = None
    stop_sequences: Refused = None
    output_config: Refused = None
    mcp_servers: Refused = None
    thinking: Refused = None


class Usage(Model):
    """Tokens."""

    input_tokens: int
    cache_creation_input_tokens: int
    cache_read_input_tokens: int
    output_tokens: int


class Spoken(Model):
    """A part of a reply."""

    type: Literal["text"] = "text"
    text: str


class Answer(Model):
    """A whole reply."""

    id: str = Field(examples=["msg_0197b2a45c1e7d3a9f002b6c1d4e8f01"])
    type: Literal["message"] = "message"
    role: Literal["assistant"] = "assistant"
    model: str = Field(examples=["wren"])
    content: tuple[Spoken, ...]
    stop_reason: str | None
    stop_sequence: str | None = None
    usage: Usage


class Counted(Model):
    """How long a prompt is."""

    input_tokens: int


class Listed(Model):
    """A character as a model."""

    type: Literal["model"] = "model"
    id: str = Field(examples=["wren"])
    display_name: str
    created_at: str


class Listing(Model):
    """A page of them."""

    data: tuple[Listed, ...]
    has_more: bool
    first_id: str | None
    last_id: str | None


class Reason(Model):
    """What went wrong."""

    type: str
    message: str


class ApiError(Model):
    """An error in the shape of the Messages API."""

    type: Literal["error"] = "error"
    error: Reason
    request_id: str | None = None


def plain(content: str | list[TextBlock]) -> str:
    """The text of a content, whichever way it was given."""
    return content if isinstance(content, str) else "\n".join(block.text for block in content)
