"""What goes over the WebSocket: the frames a client may send, those it gets, and why a socket is closed.

client   {"type": "message", "content": …, "idempotency_key"?: …, "refuse_busy"?: true}
         {"type": "resume", "after": "ID"}          go on after a frame, also one of another node
         {"type": "cancel", "turn_id": …}
server   {"type": "accepted", "id", "turn_id", "seq"}   the message is durable
         {"type": "delta", "id", "text"}
         {"type": "waiting", "turn_id", "number", "most", "pause_s", "reason"}   the model is asked again
         {"type": "restart", "id", "reason"}            the text so far is void, the reply begins anew
         {"type": "response", "id", "turn_id", "content", "metrics"}    the reply is committed
         {"type": "metrics", "ccc", "phi", …}           once for each response, when it was measured
         {"type": "error", "code", "detail"}            with "id" and "turn_id": there will be no reply
         {"type": "cancelled", "id", "turn_id"}
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from http import HTTPStatus
from types import MappingProxyType
from typing import Annotated, Literal
from uuid import UUID

import orjson
from pydantic import Field, TypeAdapter, ValidationError

from ccn import errors
from ccn.core import error_codes, message, stream
from ccn.core.ids import TurnId
from ccn.core.stream import StreamEvent, StreamPosition
from ccn.gateway.http import problems
from ccn.gateway.http.conversations.sse import parse_failure
from ccn.gateway.http.schemas import Schema


class CloseCode(IntEnum):
    """Why a socket ends; a client that gets one below 4000 may connect again, to any node, and resume."""

    LEFT = 1000  # the client closed it
    GOING = 1001  # this node is stopping
    BINARY = 1003  # frames are text
    DEFECT = 1011  # the server's log tells more
    LATER = 1013  # the database or so cannot be had just now
    NONSENSE = 4400  # too many frames that are none of those above
    UNAUTHENTICATED = 4401  # no credential, or one that does not count any more
    FORBIDDEN = 4403  # somebody else's conversation, and an admin who does not say why
    NOT_FOUND = 4404  # no such conversation, or somebody else's
    IDLE = 4408  # nothing was said, and nothing told, for too long
    TOO_FAST = 4429  # went on sending after the limit was reached, or has too many sockets open


# The server itself closes with 1007 what is no UTF-8, and with 1009 what is larger than a body may be.


class SayFrame(Schema):
    """A message to the character."""

    type: Literal["message"]
    content: str = Field(max_length=message.CONTENT_LIMIT)
    idempotency_key: str | None = Field(default=None, pattern=r"^[\x21-\x7e]{1,200}$")
    refuse_busy: bool = False


class ResumeFrame(Schema):
    """Go on after a frame."""

    type: Literal["resume"]
    after: str = Field(max_length=100)


class CancelFrame(Schema):
    """End a turn without a reply."""

    type: Literal["cancel"]
    turn_id: UUID


Frame = SayFrame | ResumeFrame | CancelFrame
_FRAME: TypeAdapter[Frame] = TypeAdapter(Annotated[Frame, Field(discriminator="type")])


def parse_frame(text: str) -> Frame:
    """What a client sent."""
    try:
        return _FRAME.validate_json(text)
    except ValidationError as wrong:
        first = wrong.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"]))[:100]
        raise errors.InputInvalid(f"not a frame: {where + ': ' if where else ''}{first['msg']}") from None


def encode_delta(turn: TurnId, told: StreamEvent) -> str:
    """Some more of a reply."""
    text = orjson.dumps(told.data).decode()
    return f'{{"type":"delta","id":"{stream.event_id(turn, told.position)}","text":{text}}}'


def encode_frame(
    kind: str,
    turn: TurnId | None = None,
    place: StreamPosition | None = None,
    *,
    fields: Mapping[str, object] = MappingProxyType({}),
) -> str:
    """Any other frame."""
    named = {} if turn is None or place is None else {"id": stream.event_id(turn, place)}
    if turn is not None:
        named["turn_id"] = str(turn)
    return orjson.dumps({"type": kind, **named, **fields}).decode()


def encode_error(refused: errors.CCNError) -> str:
    """Why a frame had no effect."""
    defect = problems.status_of_error(type(refused)) == HTTPStatus.INTERNAL_SERVER_ERROR
    told: dict[str, object] = {
        "code": error_codes.code_from_name(type(refused).__name__),
        "detail": "this is a defect of the server; its log tells more" if defect else str(refused),
    }
    if isinstance(refused, errors.TooManyRequests):
        told["retry_after"] = refused.retry_after_s
    return encode_frame("error", fields=told)


def encode_failure(turn: TurnId, told: StreamEvent) -> str:
    """Why there will be no reply."""
    return encode_frame("error", turn, told.position, fields=parse_failure(told.data))
