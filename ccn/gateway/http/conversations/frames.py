"""The frames of the WebSocket, those of the client and those of the server, and why a socket is closed.

client   {"type": "message", "content": …, "idempotency_key"?: …, "refuse_busy"?: true}
         {"type": "resume", "after": "ID"}          continue after a frame, also one of another node
         {"type": "cancel", "turn_id": …}
server   {"type": "accepted", "id", "turn_id", "seq"}   the message is durable
         {"type": "delta", "id", "text"}
         {"type": "waiting", "turn_id", "number", "most", "pause_s", "reason"}   the model is asked again
         {"type": "restart", "id", "reason"}            the text so far is void, the reply begins again
         {"type": "response", "id", "turn_id", "content", "metrics"}    the reply is committed
         {"type": "metrics", "ccc", "phi", …}           once after each response, when it was measured
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
    """Why a socket is closed. After a code below 4000, connect again to any node, and resume."""

    LEFT = 1000  # the client closed it
    GOING = 1001  # this node is stopping
    BINARY = 1003  # frames are text
    DEFECT = 1011  # the server's log tells more
    LATER = 1013  # something that the node needs, such as the database, is unavailable
    NONSENSE = 4400  # too many invalid frames in a row
    UNAUTHENTICATED = 4401  # no credential, or one that does not count any more
    FORBIDDEN = 4403  # somebody else's conversation, and the admin gave no reason
    NOT_FOUND = 4404  # no such conversation, or somebody else's
    IDLE = 4408  # no frame was received or sent for too long
    TOO_FAST = 4429  # too many frames after the limit was reached, or too many open sockets


# The server itself closes a socket with 1007 if a frame is not UTF-8, with 1009 if it is too large.


class SayFrame(Schema):
    """A message to the character."""

    type: Literal["message"]
    content: str = Field(max_length=message.CONTENT_LIMIT)
    idempotency_key: str | None = Field(default=None, pattern=r"^[\x21-\x7e]{1,200}$")
    refuse_busy: bool = False


class ResumeFrame(Schema):
    """Continue after a frame."""

    type: Literal["resume"]
    after: str = Field(max_length=100)


class CancelFrame(Schema):
    """End a turn without a reply."""

    type: Literal["cancel"]
    turn_id: UUID


Frame = SayFrame | ResumeFrame | CancelFrame
_FRAME: TypeAdapter[Frame] = TypeAdapter(Annotated[Frame, Field(discriminator="type")])


def parse_frame(text: str) -> Frame:
    """Parse what a client sent; raises InputInvalid."""
    try:
        return _FRAME.validate_json(text)
    except ValidationError as invalid:
        first = invalid.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"]))[:100]
        raise errors.InputInvalid(f"not a frame: {where + ': ' if where else ''}{first['msg']}") from None


def encode_delta(turn: TurnId, event: StreamEvent) -> str:
    """Encode some more of a reply."""
    text = orjson.dumps(event.data).decode()
    return f'{{"type":"delta","id":"{stream.event_id(turn, event.position)}","text":{text}}}'


def encode_frame(
    kind: str,
    turn: TurnId | None = None,
    position: StreamPosition | None = None,
    *,
    fields: Mapping[str, object] = MappingProxyType({}),
) -> str:
    """Encode any other frame, with the ids it has and fields of its own."""
    ids = {} if turn is None or position is None else {"id": stream.event_id(turn, position)}
    if turn is not None:
        ids["turn_id"] = str(turn)
    return orjson.dumps({"type": kind, **ids, **fields}).decode()


def encode_error(error: errors.CCNError) -> str:
    """Encode why a frame had no effect."""
    defect = problems.status_of_error(type(error)) == HTTPStatus.INTERNAL_SERVER_ERROR
    fields: dict[str, object] = {
        "code": error_codes.code_from_name(type(error).__name__),
        "detail": "this is a defect of the server; its log tells more" if defect else str(error),
    }
    if isinstance(error, errors.TooManyRequests):
        fields["retry_after"] = error.retry_after_s
    return encode_frame("error", fields=fields)


def encode_failure(turn: TurnId, event: StreamEvent) -> str:
    """Encode why a turn has no reply."""
    return encode_frame("error", turn, event.position, fields=parse_failure(event.data))
