"""A reply in the shape of the Messages API: as one message, or as its sequence of events.

That API has no event for a reply that begins again. When one does, text that was sent is not sent a second
time; if the new text differs from it, the stream ends with an error, and the client has to ask again.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import assert_never

import orjson

from ccn import errors
from ccn.core import error_codes
from ccn.core.calls.call import CallBegun, CallRestart, CallRetry, Delta, Piece, Reply, TokenUsage
from ccn.core.stream import EventKind, StreamEvent
from ccn.gateway.http.anthropic import api_errors, schemas
from ccn.gateway.http.conversations.sse import EventStream, parse_failure

Pieces = AsyncGenerator[Piece]

_OTHER_WORDS = "the reply began again with other words: ask again"


@dataclass(frozen=True, slots=True)
class MessageEncoder:
    """Encodes one reply: the id of its message, and the model that the client asked for."""

    id: str
    model: str

    async def build_message(self, pieces: Pieces) -> schemas.CreateMessageAnswer:
        """Return the reply once it is complete."""
        async with aclosing(pieces):
            async for piece in pieces:
                if isinstance(piece, Reply):
                    return self._make_message(piece.stop, piece.usage, piece.text)
        raise errors.ModelUnavailable("the reply ended without an end")

    async def stream_events(self, pieces: Pieces) -> AsyncGenerator[bytes]:
        """Yield events as the reply is spoken; the first needs the first piece, which has the usage."""
        begun = False
        async with aclosing(_drop_restarts(pieces)) as steady:
            try:
                async for piece in steady:
                    if not begun:
                        usage = piece.usage if isinstance(piece, CallBegun) else TokenUsage()
                        yield self._encode_begin(usage)
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
            except errors.CCNError as error:
                yield encode_error(error)

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
    """The response that streams these events."""

    ping = b'event: ping\ndata: {"type":"ping"}\n\n'

    def cut_event(self, reason: str) -> bytes:
        """An error, because a stream of this API cannot be resumed."""
        return encode_error(errors.Unavailable(reason))

    def refusal_event(self, refusal: errors.CCNError) -> bytes:
        """The refusal as an error of this API."""
        return encode_error(refusal)


async def await_first(pieces: Pieces) -> Pieces:
    """Return the same pieces once the first has come: an error before it is answered with a status."""
    try:
        while isinstance(first := await anext(pieces), CallRetry):
            continue
    except BaseException:
        await pieces.aclose()
        raise
    return _prepend_piece(first, pieces)


async def pieces_from_turn(batches: AsyncGenerator[Sequence[StreamEvent]]) -> Pieces:
    """Turn the events of a turn into pieces, of which the first has the tokens of the prompt.

    Those tokens are missing while a host speaks that took the turn over, and once the turn is over. Then
    the pieces are kept back until the reply is complete, which has them as well.
    """
    async with aclosing(_pieces_from_events(_events_from_batches(batches))) as pieces:
        kept_back: list[Piece] | None = []
        async for piece in pieces:
            if kept_back is None:
                yield piece
            elif isinstance(piece, CallBegun | Reply):
                yield CallBegun(replace(piece.usage, output=0)) if isinstance(piece, Reply) else piece
                for earlier in kept_back:
                    yield earlier
                if isinstance(piece, Reply):
                    yield piece
                kept_back = None
            elif isinstance(piece, CallRestart):
                kept_back = []
            else:
                kept_back.append(piece)


async def _events_from_batches(
    batches: AsyncGenerator[Sequence[StreamEvent]],
) -> AsyncGenerator[StreamEvent]:
    async with aclosing(batches):
        async for batch in batches:
            for event in batch:
                yield event


async def _pieces_from_events(events: AsyncGenerator[StreamEvent]) -> Pieces:
    text = ""
    async with aclosing(events):
        async for event in events:
            match event.kind:
                case EventKind.DELTA:
                    text += event.data
                    yield Delta(event.data)
                case EventKind.RESTART:
                    text = ""
                    yield CallRestart(event.data)
                case EventKind.DONE:
                    done = orjson.loads(event.data or "{}")
                    usage = TokenUsage(**done.get("usage", {}))
                    yield Reply(text, done.get("stop", "end_turn"), usage, done.get("model", ""))
                case EventKind.BEGUN:
                    yield CallBegun(TokenUsage(**orjson.loads(event.data)))
                case EventKind.WAITING:
                    continue
                case EventKind.CANCELLED:
                    raise errors.Conflict("the turn was cancelled")
                case EventKind.ERROR:
                    failure = parse_failure(event.data)
                    raise (error_codes.error_from_code(failure["code"]) or errors.ModelUnavailable)(
                        failure["detail"] or failure["code"]
                    )
                case never:
                    assert_never(never)


def encode_error(error: errors.CCNError) -> bytes:
    """Encode the event that ends a stream early."""
    body = api_errors.make_body(*api_errors.status_and_text(error))
    return b"event: error\ndata: %b\n\n" % orjson.dumps(body)


async def _prepend_piece(first: Piece, rest: Pieces) -> Pieces:
    async with aclosing(rest):
        yield first
        async for piece in rest:
            yield piece


async def _drop_restarts(pieces: Pieces) -> AsyncGenerator[CallBegun | Delta | Reply]:
    """Leave restarts out: a text that was sent stays valid, or the stream fails.

    `sent` is the text that the client has, `again` the text since the last restart, and `behind` says that
    `again` has not caught up with `sent` yet.
    """
    sent, again = "", ""
    behind = False
    async with aclosing(pieces):
        async for piece in pieces:
            match piece:
                case CallBegun():
                    yield piece
                case CallRestart():
                    again, behind = "", True
                case Delta(text) if behind:
                    again += text
                    if not (again.startswith(sent) or sent.startswith(again)):
                        raise errors.OutcomeUnknown(_OTHER_WORDS)
                    if len(again) > len(sent):
                        yield Delta(again[len(sent) :])
                        sent = again
                    behind = len(again) < len(sent)
                case Delta(text):
                    sent += text
                    yield piece
                case CallRetry():
                    continue
                case Reply():
                    if behind and again != sent:
                        raise errors.OutcomeUnknown(_OTHER_WORDS)
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
