"""Turn values of the node and the store into the messages that clients read, and parse ids of clients."""

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
    """An id that a client names."""
    try:
        return UUID(text)
    except ValueError:
        raise errors.InputInvalid(f"{what} {text[:100]!r} is no id") from None


def parse_conversation_id(asked: str) -> ConversationId:
    """The conversation that a call is about."""
    return ConversationId(parse_id(asked, "conversation"))


def parse_role(text: str) -> Role:
    """Who spoke."""
    try:
        return Role(text)
    except ValueError:
        raise errors.InputInvalid(f"a role is user or assistant, not {text[:100]!r}") from None


def conversation_to_pb(found: StoredConversation) -> pb.Conversation:
    """One conversation."""
    return pb.Conversation(
        id=str(found.id),
        character=found.character,
        title=found.title,
        open=found.open,
        messages=found.head_seq,
        created_at=found.created_at,
    )


def instance_to_pb(found: Instance) -> pb.Instance:
    """One instance."""
    return pb.Instance(
        id=str(found.id),
        conversation=str(found.conversation),
        character=found.character,
        host=found.host,
        status=found.status,
        model=found.model,
        plate_version=found.plate_version,
        spawned_at=found.spawned_at,
        heartbeat_at=found.heartbeat_at,
        drift=found.drift,
    )


def message_to_pb(said: Message) -> pb.Message:
    """One message."""
    turn = str(said.turn) if said.turn else ""
    return pb.Message(seq=said.seq, role=said.role, content=said.content, at=said.at, turn=turn)


def accepted_to_pb(turn: Turn) -> pb.Event:
    """The event before all others."""
    first = pb.Accepted(turn=str(turn.id), seq=turn.user_seq)
    return pb.Event(id=stream.event_id(turn.id, stream.START), accepted=first)


def event_to_pb(turn: TurnId, told: StreamEvent) -> pb.Event:
    """One piece of a turn."""
    named_by = stream.event_id(turn, told.position)
    match told.kind:
        case EventKind.DELTA:
            return pb.Event(id=named_by, delta=told.data)
        case EventKind.RESTART:
            return pb.Event(id=named_by, restart=told.data)
        case EventKind.DONE:
            return pb.Event(id=named_by, done=_done_to_pb(told.data))
        case EventKind.ERROR:
            failed = json.loads(told.data or "{}")
            code = error_codes.code_from_name(failed.get("error", "NodeFailed"))
            return pb.Event(id=named_by, failed=pb.Failed(code=code, detail=failed.get("reason", "")))
        case EventKind.WAITING:
            return pb.Event(id=named_by, waiting=pb.Waiting(**json.loads(told.data)))
        case EventKind.BEGUN:
            raise AssertionError("nobody asks for it here")
        case EventKind.CANCELLED:
            return pb.Event(id=named_by, cancelled=pb.Cancelled())


def prompt_to_pb(call: Call) -> pb.PromptAnswer:
    """What would be sent to the model."""
    return pb.PromptAnswer(
        model=call.model,
        max_tokens=call.max_tokens,
        system=[pb.Layer(text=layer.text, mark=layer.mark) for layer in call.system],
        messages=[pb.Said(role=said.role, text=said.text, mark=said.mark) for said in call.messages],
    )


def health_to_pb(found: ConversationHealth) -> pb.HealthAnswer:
    """What was measured; what could not be stays absent."""
    measure = found.measure
    own = measure if measure and measure.conversation == found.conversation.id else None
    return pb.HealthAnswer(
        conversation=str(found.conversation.id),
        open=found.conversation.open,
        messages=found.conversation.head_seq,
        instance=instance_to_pb(found.instance) if found.instance else None,
        drift=own.drift if found.drift is None and own else found.drift,
        ccc=measure.ccc if measure else None,
        phi=own.phi if own else None,
        trust=own.trust if own else None,
        emergence=measure.emergence if measure else None,
        character=_scores_to_pb(AXES, found.character),
        relation=_scores_to_pb(RELATIONAL, found.relation),
        measured_at=found.character.at if found.character else None,
    )


def _scores_to_pb(axes: tuple[str, ...], state: VectorState | None) -> list[pb.Score]:
    if state is None:
        return []
    pairs = zip(axes, state.vector.millionths, strict=True)
    return [pb.Score(axis=axis, score=value / UNIT) for axis, value in pairs if value is not None]


def _done_to_pb(data: str) -> pb.Done:
    told = json.loads(data or "{}")
    used = told.get("usage", {})
    return pb.Done(
        stop=told.get("stop", ""),
        model=told.get("model", ""),
        input_tokens=used.get("input", 0),
        output_tokens=used.get("output", 0),
        cache_read_tokens=used.get("cache_read", 0),
        cache_write_tokens=used.get("cache_write", 0),
    )
