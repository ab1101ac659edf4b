"""Turn values of the node and the store into what HTTP answers: one function for each kind."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import orjson
from starlette.requests import Request
from starlette.responses import Response

from ccn.core import error_codes
from ccn.gateway.http import paging
from ccn.gateway.http.conversations import schemas
from ccn.gateway.http.schemas import Schema
from ccn.node.conversations import StartedConversation
from ccn.store.character.measures import ConversationMeasure
from ccn.store.conversations.conversations import MessagePage, StoredConversation
from ccn.store.conversations.instances import Instance
from ccn.store.conversations.search import SearchHit
from ccn.store.conversations.summaries import ConversationSummary
from ccn.store.conversations.turns import Turn

_SECURE = {"http": "ws", "https": "wss"}


def encode_schema(answer: Schema) -> bytes:
    """Encode an answer as it goes over the wire."""
    return answer.model_dump_json().encode()


def json_response(encoded: bytes) -> Response:
    """Answer with JSON that is ready: for what is asked often, since FastAPI would validate it again."""
    return Response(encoded, media_type="application/json")


def started_to_schema(request: Request, started: StartedConversation) -> schemas.StartedAnswer:
    """A new conversation, with addresses at the host that the client has asked."""
    scheme, host = request.url.scheme, quote(request.url.netloc, safe=":[].-@")
    session_id = started.conversation.id
    return schemas.StartedAnswer(
        session_id=session_id,
        character=started.conversation.character,
        websocket_url=f"{_SECURE.get(scheme, 'ws')}://{host}/ws/conversation/{session_id}",
        metrics_url=f"{scheme}://{host}/api/v1/metrics/conversation/{session_id}",
        instance=instance_to_speaker(started.instance),
    )


def instance_to_speaker(instance: Instance) -> schemas.SpeakerAnswer:
    """The instance that speaks in a conversation."""
    return schemas.SpeakerAnswer(**speaker_fields(instance))


def turn_to_schema(turn: Turn) -> schemas.TurnAnswer:
    """The state of a turn."""
    return schemas.TurnAnswer(
        turn_id=turn.id,
        status=turn.status.value,
        seq=turn.user_seq,
        reply_seq=turn.reply_seq,
        attempt=turn.attempt,
        accepted_at=turn.accepted_at,
        code=error_codes.code_from_name(turn.error or ""),
    )


def measure_to_schema(measure: ConversationMeasure | None) -> schemas.MetricsAnswer:
    """The measures of a conversation; all null if there are none."""
    if measure is None:
        return schemas.MetricsAnswer()
    return schemas.MetricsAnswer(
        ccc=measure.ccc,
        phi=measure.phi,
        trust=measure.trust,
        emergence=measure.emergence,
        drift=measure.drift,
        seq=measure.seq,
        at=measure.at,
    )


def conversation_to_entry(conversation: StoredConversation, opening: str) -> schemas.ConversationEntry:
    """A conversation in a list."""
    return schemas.ConversationEntry(opening=opening, **_conversation_fields(conversation))


def summary_to_schema(summary: ConversationSummary) -> schemas.ConversationAnswer:
    """A conversation with its instance, its unanswered messages and its measures."""
    return schemas.ConversationAnswer(
        instance=None if summary.instance is None else instance_to_speaker(summary.instance),
        unfinished=tuple(map(turn_to_schema, summary.unfinished)),
        metrics=measure_to_schema(summary.measure),
        **_conversation_fields(summary.conversation),
    )


def page_to_json(page: MessagePage) -> bytes:
    """Encode a page as `schemas.MessagesAnswer` directly: it is asked often, and can be long."""
    messages = [
        {
            "seq": each.seq,
            "role": each.role,
            "content": each.content,
            "at": each.at,
            "turn_id": None if each.turn is None else str(each.turn),  # of a class of asyncpg's own
        }
        for each in page.messages
    ]
    following = None if page.before is None else paging.cursor_from_seq(page.before)
    return orjson.dumps({"messages": messages, "next": following}, option=orjson.OPT_UTC_Z)


def hit_to_schema(hit: SearchHit) -> schemas.SearchHitAnswer:
    """A message that matches a search."""
    return schemas.SearchHitAnswer(
        session_id=hit.conversation,
        seq=hit.seq,
        role=hit.role.value,
        at=hit.at,
        excerpt=hit.excerpt,
    )


def speaker_fields(instance: Instance) -> dict[str, Any]:
    """The fields that show an instance."""
    return {
        "instance_id": instance.id,
        "node": instance.host,
        "status": instance.status.value,
        "model": instance.model,
        "plate_version": instance.plate_version,
        "epoch": instance.epoch,
        "drift": instance.drift,
    }


def _conversation_fields(conversation: StoredConversation) -> dict[str, Any]:
    return {
        "session_id": conversation.id,
        "character": conversation.character,
        "title": conversation.title,
        "open": conversation.open,
        "created_at": conversation.created_at,
        "messages": conversation.head_seq,
    }
