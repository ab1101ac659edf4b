"""What the cluster answers, as values of this program: generated types stop here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from ccn.core.calls.call import Call, CallBlock, CallMessage, TokenUsage
from ccn.core.ids import ConversationId, TurnId
from ccn.core.message import Message, Role
from ccn.pb import instances_pb2 as pb


@dataclass(frozen=True, slots=True)
class Prompt:
    """What CCN would send to a model now."""

    call: Call

    @property
    def system(self) -> str:
        """The character's system prompt as one text."""
        return "\n\n".join(layer.text for layer in self.call.system)

    def request(self) -> dict[str, Any]:
        """Return what Anthropic's Messages API takes, with the marks at which its cache is worth while."""
        call = self.call
        messages = [
            {"role": message.role.value, "content": [_text_to_block(message)]} for message in call.messages
        ]
        system = [_text_to_block(layer) for layer in call.system]
        return {
            "model": call.model,
            "max_tokens": call.max_tokens,
            "system": system,
            "messages": messages,
        }


@dataclass(frozen=True, slots=True)
class Health:
    """How the character is in a conversation; None where that could not be estimated yet."""

    open: bool
    messages: int
    drift: float | None
    """From what the cluster agrees the character is; 0.10 is tolerated."""
    ccc: float | None
    phi: float | None
    trust: float | None
    emergence: float | None
    state: Mapping[str, float]
    """The character's axes, those that were observed."""
    relation: Mapping[str, float]
    status: str | None
    """Of the instance that speaks here; None if none does."""
    measured_at: datetime | None


def prompt_from_pb(answer: pb.PromptAnswer) -> Prompt:
    """Take the parts of a prompt out of an answer."""
    return Prompt(
        Call(
            answer.model,
            tuple(CallBlock(layer.text, layer.mark) for layer in answer.system),
            tuple(
                CallMessage(Role(message.role), message.text, message.mark) for message in answer.messages
            ),
            answer.max_tokens,
        )
    )


def message_from_pb(conversation: ConversationId, message: pb.Message) -> Message:
    """Read a message; its content is None where it was redacted."""
    content = message.content if message.HasField("content") else None
    turn = TurnId(UUID(message.turn)) if message.turn else None
    at = message.at.ToDatetime(UTC)
    return Message(conversation, message.seq, Role(message.role), content, at, turn)


def health_from_pb(answer: pb.HealthAnswer) -> Health:
    """Read how the character is; what the answer lacks is None."""

    def read_figure(name: str) -> float | None:
        return float(getattr(answer, name)) if answer.HasField(name) else None

    return Health(
        open=answer.open,
        messages=answer.messages,
        drift=read_figure("drift"),
        ccc=read_figure("ccc"),
        phi=read_figure("phi"),
        trust=read_figure("trust"),
        emergence=read_figure("emergence"),
        state={axis.axis: axis.score for axis in answer.character},
        relation={axis.axis: axis.score for axis in answer.relation},
        status=answer.instance.status if answer.HasField("instance") else None,
        measured_at=answer.measured_at.ToDatetime(UTC) if answer.HasField("measured_at") else None,
    )


def usage_from_pb(done: pb.Done) -> TokenUsage:
    """Read what a reply cost in tokens."""
    return TokenUsage(
        done.input_tokens, done.output_tokens, done.cache_read_tokens, done.cache_write_tokens
    )


def _text_to_block(part: CallBlock | CallMessage) -> dict[str, Any]:
    mark = {"cache_control": {"type": "ephemeral"}} if part.mark else {}
    return {"type": "text", "text": part.text, **mark}
