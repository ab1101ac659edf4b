"""From what the node and the store say to what the HTTP door shows: one function for each thing."""

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


def encode_schema(shown: Schema) -> bytes:
    """As it goes over the wire."""
    return shown.model_dump_json().encode()


def json_response(shown: bytes) -> Response:
    """An answer that is JSON already: for what is asked often, since FastAPI would check it once more."""
    return Response(shown, media_type="application/json")


def started_to_schema(request: Request, begun: StartedConversation) -> schemas.StartedAnswer:
    """A new conversation, with addresses at the host that the client asked."""
    scheme, host = request.url.scheme, quote(request.url.netloc, safe=":[].-@")
    here = begun.conversation.id
    return schemas.StartedAnswer(
        session_id=here,
        character=begun.conversation.character,
        websocket_url=f"{_SECURE.get(scheme, 'ws')}://{host}/ws/conversation/{here}",
        metrics_url=f"{scheme}://{host}/api/v1/metrics/conversation/{here}",
        instance=instance_to_speaker(begun.instance),
    )


def instance_to_speaker(instance: Instance) -> schemas.SpeakerAnswer:
    """Who speaks."""
    return schemas.SpeakerAnswer(**_speaker_fields(instance))


def instance_to_entry(instance: Instance) -> schemas.InstanceEntry:
    """The same for operators."""
    return schemas.InstanceEntry(
        session_id=instance.conversation,
        character=instance.character,
        spawned_at=instance.spawned_at,
        heartbeat_at=instance.heartbeat_at,
        **_speaker_fields(instance),
    )


def turn_to_schema(found: Turn) -> schemas.TurnAnswer:
    """How a turn stands."""
    return schemas.TurnAnswer(
        turn_id=found.id,
        status=found.status.value,
        seq=found.user_seq,
        reply_seq=found.reply_seq,
        attempt=found.attempt,
        accepted_at=found.accepted_at,
        code=error_codes.code_from_name(found.error or ""),
    )


def measure_to_schema(measure: ConversationMeasure | None) -> schemas.MetricsAnswer:
    """How a conversation measured."""
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


def conversation_to_entry(found: StoredConversation, opening: str) -> schemas.ConversationEntry:
    """A conversation in a list."""
    return schemas.ConversationEntry(opening=opening, **_conversation_fields(found))


def summary_to_schema(found: ConversationSummary) -> schemas.ConversationAnswer:
    """A conversation by itself."""
    return schemas.ConversationAnswer(
        instance=None if found.instance is None else instance_to_speaker(found.instance),
        unfinished=tuple(map(turn_to_schema, found.unfinished)),
        metrics=measure_to_schema(found.measure),
        **_conversation_fields(found.conversation),
    )


def page_to_json(page: MessagePage) -> bytes:
    """A page as `schemas.Messages`, encoded at once: it is asked often, and can be long."""
    said = [
        {
            "seq": each.seq,
            "role": each.role,
            "content": each.content,
            "at": each.at,
            "turn_id": None if each.turn is None else str(each.turn),  # of a class of asyncpg's own
        }
        for each in page.messages
    ]
    following = None if page.before is None else paging.cursor_from_place(page.before)
    return orjson.dumps({"messages": said, "next": following}, option=orjson.OPT_UTC_Z)


def hit_to_schema(found: SearchHit) -> schemas.SearchHitAnswer:
    """Something that was found."""
    return schemas.SearchHitAnswer(
        session_id=found.conversation,
        seq=found.seq,
        role=found.role.value,
        at=found.at,
        excerpt=found.excerpt,
    )


def _speaker_fields(instance: Instance) -> dict[str, Any]:
    return {
        "instance_id": instance.id,
        "node": instance.host,
        "status": instance.status.value,
        "model": instance.model,
        "plate_version": instance.plate_version,
        "epoch": instance.epoch,
        "drift": instance.drift,
    }


def _conversation_fields(found: StoredConversation) -> dict[str, Any]:
    return {
        "session_id": found.id,
        "character": found.character,
        "title": found.title,
        "open": found.open,
        "created_at": found.created_at,
        "messages": found.head_seq,
    }
