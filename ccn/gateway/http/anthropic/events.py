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
from ccn.core.calls.call import Begun, Delta, Piece, Reply, Restart, Retry, Usage
from ccn.core.stream import Kind, Told
from ccn.gateway.http.anthropic import api_errors as failures
from ccn.gateway.http.anthropic import schemas
from ccn.gateway.http.conversations.sse import Stream, failure

Pieces = AsyncGenerator[Piece]


@dataclass(frozen=True, slots=True)
class Voice:
    """Who speaks, under which name of the message."""

    id: str
    model: str

    async def whole(self, pieces: Pieces) -> schemas.Answer:
        """The reply, once it is all there."""
        async with aclosing(pieces):
            async for piece in pieces:
                if isinstance(piece, Reply):
                    return self._message(piece.stop, piece.usage, piece.text)
        raise errors.ModelUnavailable("the reply ended without an end")

    async def events(self, pieces: Pieces) -> AsyncGenerator[bytes]:
        """The reply as it is spoken. The first piece is awaited before the first event."""
        begun = False
        async with aclosing(_steady(pieces)) as steady:
            try:
                async for piece in steady:
                    if not begun:
                        yield self._begin(piece.usage if isinstance(piece, Begun) else Usage())
                        begun = True
                    match piece:
                        case Begun():
                            pass
                        case Delta(text):
                            yield _event(
                                "content_block_delta", index=0, delta={"type": "text_delta", "text": text}
                            )
                        case Reply():
                            yield self._end(piece)
                        case never:
                            assert_never(never)
            except errors.CCNError as broken:
                yield failed(broken)

    def _begin(self, usage: Usage) -> bytes:
        return b"".join(
            (
                _event("message_start", message=self._message(None, usage).model_dump()),
                _event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
                _event("ping"),
            )
        )

    def _end(self, reply: Reply) -> bytes:
        delta = {"stop_reason": reply.stop, "stop_sequence": None}
        return b"".join(
            (
                _event("content_block_stop", index=0),
                _event("message_delta", delta=delta, usage=_usage(reply.usage).model_dump()),
                _event("message_stop"),
            )
        )

    def _message(self, stop: str | None, usage: Usage, text: str | None = None) -> schemas.Answer:
        content = () if text is None else (schemas.Spoken(text=text),)
        return schemas.Answer(
            id=self.id, model=self.model, content=content, stop_reason=stop, usage=_usage(usage)
        )


class Speech(Stream):
    """The response that streams it."""

    ping = b'event: ping\ndata: {"type":"ping"}\n\n'

    def cut(self, reason: str) -> bytes:
        """There is no way to resume here, so that it ended early is an error."""
        return failed(errors.Unavailable(reason))

    def refuse(self, why: errors.CCNError) -> bytes:
        """In that API's words."""
        return failed(why)


async def begun(pieces: Pieces) -> Pieces:
    """The same pieces, once the first is there: until then a failure can be told by a status."""
    try:
        while isinstance(first := await anext(pieces), Retry):
            continue
    except BaseException:
        await pieces.aclose()
        raise
    return _all(first, pieces)


async def of_turn(told: AsyncGenerator[Told]) -> Pieces:
    """The stream of a turn, as pieces, of which the first says what the prompt took.

    A reply that was begun by a host that died, or is over, does not say that; then the rest is awaited.
    """
    async with aclosing(_pieces(told)) as pieces:
        held: list[Piece] | None = []
        async for piece in pieces:
            if held is None:
                yield piece
            elif isinstance(piece, Begun | Reply):
                yield Begun(replace(piece.usage, output=0)) if isinstance(piece, Reply) else piece
                for earlier in held:
                    yield earlier
                if isinstance(piece, Reply):
                    yield piece
                held = None
            elif isinstance(piece, Restart):
                held = []
            else:
                held.append(piece)


async def _pieces(told: AsyncGenerator[Told]) -> Pieces:
    text = ""
    async with aclosing(told):
        async for each in told:
            match each.kind:
                case Kind.DELTA:
                    text += each.data
                    yield Delta(each.data)
                case Kind.RESTART:
                    text = ""
                    yield Restart(each.data)
                case Kind.DONE:
                    known = orjson.loads(each.data or "{}")
                    usage = Usage(**known.get("usage", {}))
                    yield Reply(text, known.get("stop", "end_turn"), usage, known.get("model", ""))
                case Kind.BEGUN:
                    yield Begun(Usage(**orjson.loads(each.data)))
                case Kind.WAITING:
                    continue
                case Kind.CANCELLED:
                    raise errors.Conflict("the turn was cancelled")
                case Kind.ERROR:
                    why = failure(each.data)
                    raise (error_codes.named(why["code"]) or errors.ModelUnavailable)(
                        why["detail"] or why["code"]
                    )
                case never:
                    assert_never(never)


def failed(broken: errors.CCNError) -> bytes:
    """The event that ends a stream early."""
    return b"event: error\ndata: %b\n\n" % orjson.dumps(failures.told(*failures.status(broken)))


async def _all(first: Piece, rest: Pieces) -> Pieces:
    async with aclosing(rest):
        yield first
        async for piece in rest:
            yield piece


async def _steady(pieces: Pieces) -> AsyncGenerator[Begun | Delta | Reply]:
    """Without restarts: what was shown once stays shown, or the stream fails."""
    shown, anew = "", ""
    behind = False
    async with aclosing(pieces):
        async for piece in pieces:
            match piece:
                case Begun():
                    yield piece
                case Restart():
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
                case Retry():
                    continue
                case Reply():
                    if behind and anew != shown:
                        raise errors.OutcomeUnknown("the reply began anew, and with other words: ask again")
                    yield piece
                case never:
                    assert_never(never)


def _event(name: str, **fields: object) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), orjson.dumps({"type": name, **fields}))


def _usage(usage: Usage) -> schemas.Usage:
    return schemas.Usage(
        input_tokens=usage.input,
        cache_creation_input_tokens=usage.cache_write,
        cache_read_input_tokens=usage.cache_read,
        output_tokens=usage.output,
    )
