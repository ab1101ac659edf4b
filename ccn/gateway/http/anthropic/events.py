"""A reply in the words of the Messages API: at once, or as its sequence of events.

That API has no word for a reply that begins anew. So when it does, what was shown is not shown again;
if the new reply turns out to be another one, the stream ends with an error, and its client asks again.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import assert_never

import orjson

from ccn import errors
from ccn.core import error_codes
from ccn.core.calls.call import CallBegun, CallRestart, CallRetry, Delta, Piece, Reply, TokenUsage
from ccn.core.stream import EventKind, StreamEvent
from ccn.gateway.http.anthropic import api_errors as failures
from ccn.gateway.http.anthropic import schemas
from ccn.gateway.http.conversations.sse import EventStream, parse_failure

Pieces = AsyncGenerator[Piece]


@dataclass(frozen=True, slots=True)
class MessageEncoder:
    """Who speaks, under which name of the message."""

    id: str
    model: str

    async def build_message(self, pieces: Pieces) -> schemas.CreateMessageAnswer:
        """The reply, once it is all there."""
        async with aclosing(pieces):
            async for piece in pieces:
                if isinstance(piece, Reply):
                    return self._make_message(piece.stop, piece.usage, piece.text)
        raise errors.ModelUnavailable("the reply ended without an end")

    async def stream_events(self, pieces: Pieces) -> AsyncGenerator[bytes]:
        """The reply as it is spoken. The first piece is awaited before the first event."""
        begun = False
        async with aclosing(_drop_restarts(pieces)) as steady:
            try:
                async for piece in steady:
                    if not begun:
                        yield self._encode_begin(
                            piece.usage if isinstance(piece, CallBegun) else TokenUsage()
                        )
                        begun = True
                    match piece:
                        case CallBegun():
                            pass
                        case Delta(text):
                            yield _encode_event(
                                "content_block_delta", index=0, delta={"type": "text_delta", "text": text}
                            )
                        case Reply():
                            yield self._encode_end(piece)
                        case never:
                            assert_never(never)
            except errors.CCNError as broken:
                yield encode_error(broken)

    def _encode_begin(self, usage: TokenUsage) -> bytes:
        return b"".join(
            (
                _encode_event("message_start", message=self._make_message(None, usage).model_dump()),
                _encode_event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
                _encode_event("ping"),
            )
        )

    def _encode_end(self, reply: Reply) -> bytes:
        delta = {"stop_reason": reply.stop, "stop_sequence": None}
        return b"".join(
            (
                _encode_event("content_block_stop", index=0),
                _encode_event(
                    "message_delta", delta=delta, usage=_usage_to_schema(reply.usage).model_dump()
                ),
                _encode_event("message_stop"),
            )
        )

    def _make_message(
        self, stop: str | None, usage: TokenUsage, text: str | None = None
    ) -> schemas.CreateMessageAnswer:
        content = () if text is None else (schemas.ReplyText(text=text),)
        return schemas.CreateMessageAnswer(
            id=self.id, model=self.model, content=content, stop_reason=stop, usage=_usage_to_schema(usage)
        )


class AnthropicStream(EventStream):
    """The response that streams it."""

    ping = b'event: ping\ndata: {"type":"ping"}\n\n'

    def cut_event(self, reason: str) -> bytes:
        """There is no way to resume here, so that it ended early is an error."""
        return encode_error(errors.Unavailable(reason))

    def refusal_event(self, why: errors.CCNError) -> bytes:
        """In that API's words."""
        return encode_error(why)


async def await_first(pieces: Pieces) -> Pieces:
    """The same pieces, once the first is there: until then a failure can be told by a status."""
    try:
        while isinstance(first := await anext(pieces), CallRetry):
            continue
    except BaseException:
        await pieces.aclose()
        raise
    return _prepend_piece(first, pieces)


async def pieces_from_turn(told: AsyncGenerator[StreamEvent]) -> Pieces:
    """The stream of a turn, as pieces, of which the first says what the prompt took.

    A reply that was begun by a host that died, or is over, does not say that; then the rest is awaited.
    """
    async with aclosing(_pieces_from_events(told)) as pieces:
        held: list[Piece] | None = []
        async for piece in pieces:
            if held is None:
                yield piece
            elif isinstance(piece, CallBegun | Reply):
                yield CallBegun(replace(piece.usage, output=0)) if isinstance(piece, Reply) else piece
                for earlier in held:
                    yield earlier
                if isinstance(piece, Reply):
                    yield piece
                held = None
            elif isinstance(piece, CallRestart):
                held = []
            else:
                held.append(piece)


async def _pieces_from_events(told: AsyncGenerator[StreamEvent]) -> Pieces:
    text = ""
    async with aclosing(told):
        async for each in told:
            match each.kind:
                case EventKind.DELTA:
                    text += each.data
                    yield Delta(each.data)
                case EventKind.RESTART:
                    text = ""
                    yield CallRestart(each.data)
                case EventKind.DONE:
                    known = orjson.loads(each.data or "{}")
                    usage = TokenUsage(**known.get("usage", {}))
                    yield Reply(text, known.get("stop", "end_turn"), usage, known.get("model", ""))
                case EventKind.BEGUN:
                    yield CallBegun(TokenUsage(**orjson.loads(each.data)))
                case EventKind.WAITING:
                    continue
                case EventKind.CANCELLED:
                    raise errors.Conflict("the turn was cancelled")
                case EventKind.ERROR:
                    why = parse_failure(each.data)
                    raise (error_codes.error_from_code(why["code"]) or errors.ModelUnavailable)(
                        why["detail"] or why["code"]
                    )
                case never:
                    assert_never(never)


def encode_error(broken: errors.CCNError) -> bytes:
    """The event that ends a stream early."""
    return b"event: error\ndata: %b\n\n" % orjson.dumps(
        failures.make_body(*failures.status_and_text(broken))
    )


async def _prepend_piece(first: Piece, rest: Pieces) -> Pieces:
    async with aclosing(rest):
        yield first
        async for piece in rest:
            yield piece


async def _drop_restarts(pieces: Pieces) -> AsyncGenerator[CallBegun | Delta | Reply]:
    """Without restarts: what was shown once stays shown, or the stream fails."""
    shown, anew = "", ""
    behind = False
    async with aclosing(pieces):
        async for piece in pieces:
            match piece:
                case CallBegun():
                    yield piece
                case CallRestart():
                    anew, behind = "", True
                case Delta(text) if behind:
                    anew += text
                    if not (anew.startswith(shown) or shown.startswith(anew)):
                        raise errors.OutcomeUnknown("the reply began anew, and with other words: ask again")
                    if len(anew) > len(shown):
                        yield Delta(anew[len(shown) :])
                        shown, behind = anew, False
                    behind = len(anew) < len(shown)
                case Delta(text):
                    shown += text
                    yield piece
                case CallRetry():
                    continue
                case Reply():
                    if behind and anew != shown:
                        raise errors.OutcomeUnknown("the reply began anew, and with other words: ask again")
                    yield piece
                case never:
                    assert_never(never)


def _encode_event(name: str, **fields: object) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), orjson.dumps({"type": name, **fields}))


def _usage_to_schema(usage: TokenUsage) -> schemas.MessageUsage:
    return schemas.MessageUsage(
        input_tokens=usage.input,
        cache_creation_input_tokens=usage.cache_write,
        cache_read_input_tokens=usage.cache_read,
        output_tokens=usage.output,
    )
