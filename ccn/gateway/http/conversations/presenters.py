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
from ccn.gateway.http.schemas import Model
from ccn.node.conversations import Started
from ccn.store.character.measures import Measure
from ccn.store.conversations.conversations import Conversation, Page
from ccn.store.conversations.instances import Instance
from ccn.store.conversations.search import Hit
from ccn.store.conversations.summaries import Standing
from ccn.store.conversations.turns import Turn

_SECURE = {"http": "ws", "https": "wss"}


def encoded(shown: Model) -> bytes:
    """As it goes over the wire."""
    return shown.model_dump_json().encode()


def ready(shown: bytes) -> Response:
    """An answer that is JSON already: for what is asked often, since FastAPI would check it once more."""
    return Response(shown, media_type="application/json")


def started(request: Request, begun: Started) -> schemas.Started:
    """A new conversation, with addresses at the host that the client asked."""
    scheme, host = request.url.scheme, quote(request.url.netloc, safe=":[].-@")
    here = begun.conversation.id
    return schemas.Started(
        session_id=here,
        character=begun.conversation.character,
        websocket_url=f"{_SECURE.get(scheme, 'ws')}://{host}/ws/conversation/{here}",
        metrics_url=f"{scheme}://{host}/api/v1/metrics/conversation/{here}",
        instance=speaker(begun.instance),
    )


def speaker(instance: Instance) -> schemas.Speaker:
    """Who speaks."""
    return schemas.Speaker(**_speaker(instance))


def hosted(instance: Instance) -> schemas.Hosted:
    """The same for operators."""
    return schemas.Hosted(
        session_id=instance.conversation,
        character=instance.character,
        spawned_at=instance.spawned_at,
        heartbeat_at=instance.heartbeat_at,
        **_speaker(instance),
    )


def turn(found: Turn) -> schemas.Turn:
    """How a turn stands."""
    return schemas.Turn(
        turn_id=found.id,
        status=found.status.value,
        seq=found.user_seq,
        reply_seq=found.reply_seq,
        attempt=found.attempt,
        accepted_at=found.accepted_at,
        code=error_codes.code(found.error or ""),
    )


def metrics(measure: Measure | None) -> schemas.Metrics:
    """How a conversation measured."""
    if measure is None:
        return schemas.Metrics()
    return schemas.Metrics(
        ccc=measure.ccc,
        phi=measure.phi,
        trust=measure.trust,
        emergence=measure.emergence,
        drift=measure.drift,
        seq=measure.seq,
        at=measure.at,
    )


def entry(found: Conversation, opening: str) -> schemas.Entry:
    """A conversation in a list."""
    return schemas.Entry(opening=opening, **_conversation(found))


def state(found: Standing) -> schemas.State:
    """A conversation by itself."""
    return schemas.State(
        instance=None if found.instance is None else speaker(found.instance),
        unfinished=tuple(map(turn, found.unfinished)),
        metrics=metrics(found.measure),
        **_conversation(found.conversation),
    )


def messages(page: Page) -> bytes:
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
    following = None if page.before is None else paging.at(page.before)
    return orjson.dumps({"messages": said, "next": following}, option=orjson.OPT_UTC_Z)


def hit(found: Hit) -> schemas.Found:
    """Something that was found."""
    return schemas.Found(
        session_id=found.conversation,
        seq=found.seq,
        role=found.role.value,
        at=found.at,
        excerpt=found.excerpt,
    )


def _speaker(instance: Instance) -> dict[str, Any]:
    return {
        "instance_id": instance.id,
        "node": instance.host,
        "status": instance.status.value,
        "model": instance.model,
        "plate_version": instance.plate_version,
        "epoch": instance.epoch,
        "drift": instance.drift,
    }


def _conversation(found: Conversation) -> dict[str, Any]:
    return {
        "session_id": found.id,
        "character": found.character,
        "title": found.title,
        "open": found.open,
        "created_at": found.created_at,
        "messages": found.head_seq,
    }
