"""Turns values of the node and the store into the messages that clients read, and parses clients' ids."""

from __future__ import annotations

import json
from typing import TypeVar
from uuid import UUID

from ccn import errors
from ccn.core import error_codes, stream
from ccn.core.axes import AXES, RELATIONAL, UNIT
from ccn.core.calls.call import Call
from ccn.core.ids import ConversationId, TurnId
from ccn.core.message import Message, Role
from ccn.core.stream import EventKind, StreamEvent
from ccn.node.views.conversation_health import ConversationHealth
from ccn.pb import instances_pb2 as pb
from ccn.store.character.vectors import VectorState
from ccn.store.conversations.conversations import StoredConversation
from ccn.store.conversations.instances import Instance
from ccn.store.conversations.turns import Turn

T = TypeVar("T")


def parse_id(text: str, what: str) -> UUID:
    """Parse an id that a client sent. `what` names it in the error."""
    try:
        return UUID(text)
    except ValueError:
        raise errors.InputInvalid(f"{what} {text[:100]!r} is no id") from None


def parse_conversation_id(text: str) -> ConversationId:
    """Parse the id of the conversation that a call is about."""
    return ConversationId(parse_id(text, "conversation"))


def parse_role(text: str) -> Role:
    """Parse who spoke."""
    try:
        return Role(text)
    except ValueError:
        raise errors.InputInvalid(f"a role is user or assistant, not {text[:100]!r}") from None


def conversation_to_pb(conversation: StoredConversation) -> pb.Conversation:
    """Turn a conversation into its message."""
    return pb.Conversation(
        id=str(conversation.id),
        character=conversation.character,
        title=conversation.title,
        open=conversation.open,
        messages=conversation.head_seq,
        created_at=conversation.created_at,
    )


def instance_to_pb(instance: Instance) -> pb.Instance:
    """Turn an instance into its message."""
    return pb.Instance(
        id=str(instance.id),
        conversation=str(instance.conversation),
        character=instance.character,
        host=instance.host,
        status=instance.status,
        model=instance.model,
        plate_version=instance.plate_version,
        spawned_at=instance.spawned_at,
        heartbeat_at=instance.heartbeat_at,
        drift=instance.drift,
    )


def message_to_pb(message: Message) -> pb.Message:
    """Turn a message of a conversation into its message."""
    turn = str(message.turn) if message.turn else ""
    return pb.Message(seq=message.seq, role=message.role, content=message.content, at=message.at, turn=turn)


def accepted_to_pb(turn: Turn) -> pb.Event:
    """Make the first event of a turn."""
    accepted = pb.Accepted(turn=str(turn.id), seq=turn.user_seq)
    return pb.Event(id=stream.event_id(turn.id, stream.START), accepted=accepted)


def event_to_pb(turn: TurnId, event: StreamEvent) -> pb.Event:
    """Turn an event of a turn's stream into its message."""
    event_id = stream.event_id(turn, event.position)
    match event.kind:
        case EventKind.DELTA:
            return pb.Event(id=event_id, delta=event.data)
        case EventKind.RESTART:
            return pb.Event(id=event_id, restart=event.data)
        case EventKind.DONE:
            return pb.Event(id=event_id, done=_done_to_pb(event.data))
        case EventKind.ERROR:
            error = json.loads(event.data or "{}")
            code = error_codes.code_from_name(error.get("error", "NodeFailed"))
            return pb.Event(id=event_id, failed=pb.Failed(code=code, detail=error.get("reason", "")))
        case EventKind.WAITING:
            return pb.Event(id=event_id, waiting=pb.Waiting(**json.loads(event.data)))
        case EventKind.BEGUN:
            raise AssertionError("the gRPC door follows no such events")
        case EventKind.CANCELLED:
            return pb.Event(id=event_id, cancelled=pb.Cancelled())


def prompt_to_pb(call: Call) -> pb.PromptAnswer:
    """Turn a call to the model into the prompt that a client would send."""
    return pb.PromptAnswer(
        model=call.model,
        max_tokens=call.max_tokens,
        system=[pb.Layer(text=layer.text, mark=layer.mark) for layer in call.system],
        messages=[
            pb.Said(role=message.role, text=message.text, mark=message.mark) for message in call.messages
        ],
    )


def health_to_pb(health: ConversationHealth) -> pb.HealthAnswer:
    """Turn the figures of a conversation into their message. A figure that is unknown stays absent."""
    measure = health.measure
    own = measure if measure and measure.conversation == health.conversation.id else None
    return pb.HealthAnswer(
        conversation=str(health.conversation.id),
        open=health.conversation.open,
        messages=health.conversation.head_seq,
        instance=instance_to_pb(health.instance) if health.instance else None,
        drift=own.drift if health.drift is None and own else health.drift,
        ccc=measure.ccc if measure else None,
        phi=own.phi if own else None,
        trust=own.trust if own else None,
        emergence=measure.emergence if measure else None,
        character=_scores_to_pb(AXES, health.character),
        relation=_scores_to_pb(RELATIONAL, health.relation),
        measured_at=health.character.at if health.character else None,
    )


def _scores_to_pb(axes: tuple[str, ...], state: VectorState | None) -> list[pb.Score]:
    if state is None:
        return []
    pairs = zip(axes, state.vector.millionths, strict=True)
    return [pb.Score(axis=axis, score=value / UNIT) for axis, value in pairs if value is not None]


def _done_to_pb(data: str) -> pb.Done:
    fields = json.loads(data or "{}")
    usage = fields.get("usage", {})
    return pb.Done(
        stop=fields.get("stop", ""),
        model=fields.get("model", ""),
        input_tokens=usage.get("input", 0),
        output_tokens=usage.get("output", 0),
        cache_read_tokens=usage.get("cache_read", 0),
        cache_write_tokens=usage.get("cache_write", 0),
    )
