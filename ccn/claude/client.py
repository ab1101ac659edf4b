"""Asks the Anthropic API through its official SDK: calls stream, are tried again, and can be dropped.

The SDK's own retries are off, because ours know what a reader has seen already: a stream that breaks is
made again from its start, and the reader is told so. A caller that pays hands in a `UsageMeter` and finds
in it what was used, however the call ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

import anthropic
import httpx2
import orjson
import structlog

from ccn import errors
from ccn.claude import failure, wire
from ccn.claude.failure import FailureKind, StreamBroken
from ccn.claude.meter import UsageMeter
from ccn.claude.retries import CallTries, RetryDelays
from ccn.core.calls.call import Call, CallBegun, CallRestart, CallRetry, Delta, Piece, Reply

if TYPE_CHECKING:
    from anthropic._streaming import ServerSentEvent

    from ccn import settings

log = structlog.get_logger(__name__)

T = TypeVar("T")

_CLOSE_S = 2.0
_NO_KEY = "none"  # the SDK would look for one in the environment, which only the settings may


class ModelClient:
    """Asks the model. One per process; calls run side by side."""

    def __init__(self, claude: settings.ClaudeSettings, delays: RetryDelays) -> None:
        self._sdk = anthropic.AsyncAnthropic(
            api_key=claude.api_key.get_secret_value() or _NO_KEY,
            base_url=claude.base_url,
            timeout=anthropic.Timeout(claude.timeout_s),
            max_retries=0,
            open_telemetry=False,  # else environment variables could have whole prompts sent elsewhere
        )
        self._timeout_s = claude.timeout_s
        self._reply_limit_s = claude.reply_limit_s
        self._delays = delays
        self.trouble: CallRetry | None = None
        """Which try of a failed call comes next. None once any call is answered or given up."""

    def stream(self, call: Call, meter: UsageMeter | None = None) -> AsyncGenerator[Piece, None]:
        """Yield deltas as they come, a restart whenever they begin anew, and last the whole reply."""
        return self._stream_with_retries(call, {}, meter or UsageMeter())

    async def ask_structured(
        self, call: Call, schema: Mapping[str, object], meter: UsageMeter | None = None
    ) -> Mapping[str, Any]:
        """Return a reply that is an object of this JSON schema."""
        form = {"output_config": {"format": {"type": "json_schema", "schema": dict(schema)}}}
        reply = await self._read_reply(call, form, meter or UsageMeter())
        try:
            answer = orjson.loads(reply.text)
        except orjson.JSONDecodeError as broken:
            raise errors.ModelRefused(f"the model answered no JSON; it stopped by {reply.stop}") from broken
        if not isinstance(answer, dict):
            raise errors.ModelRefused("the model answered JSON that is no object")
        return answer

    async def count_tokens(self, call: Call) -> int:
        """Count the tokens of the prompt."""
        params = {key: value for key, value in wire.call_to_params(call).items() if key in _COUNTED}
        counted = await self._call_with_retries(lambda: self._sdk.messages.count_tokens(**params))
        return counted.input_tokens

    async def close(self) -> None:
        """Close the connections."""
        await self._sdk.close()

    async def _call_with_retries(self, ask: Callable[[], Awaitable[T]]) -> T:
        with failure.translate_errors(), self._open_tries() as tries:
            async for attempt in tries:
                await self._wait_before_retry(tries.retry)
                with attempt:
                    async with asyncio.timeout(self._timeout_s):
                        return await ask()
        raise AssertionError("tenacity ends with a result or an exception")

    @contextmanager
    def _open_tries(self) -> Iterator[CallTries]:
        """Make the tries of one call. When it is over no try is announced any more."""
        try:
            yield CallTries(self._delays)
        finally:
            self.trouble = None

    async def _wait_before_retry(self, retry: CallRetry | None) -> None:
        if retry is not None:
            self.trouble = retry
            await asyncio.sleep(retry.pause_s)

    async def _read_reply(self, call: Call, form: Mapping[str, object], meter: UsageMeter) -> Reply:
        async with aclosing(self._stream_with_retries(call, form, meter)) as pieces:
            async for piece in pieces:
                if isinstance(piece, Reply):
                    return piece
        raise AssertionError("a stream ends with its reply or an exception")

    async def _stream_with_retries(
        self, call: Call, form: Mapping[str, object], meter: UsageMeter
    ) -> AsyncGenerator[Piece, None]:
        body = wire.call_to_body(call, form)
        seen, why = False, ""  # whether the reader has seen text of a try, and why that try failed
        with failure.translate_errors(), self._open_tries() as tries:
            async for attempt in tries:
                if tries.retry is not None:
                    yield tries.retry
                    await self._wait_before_retry(tries.retry)
                with attempt:
                    if seen:
                        yield CallRestart(why)
                        seen = False
                    await meter.allow_try()
                    try:
                        async with aclosing(self._stream_once(call, body, meter)) as pieces:
                            async for piece in pieces:
                                seen = seen or not isinstance(piece, CallBegun)
                                self.trouble = None
                                yield piece
                    except failure.FOREIGN as failed:
                        why = failure.classify_failure(failed).value
                        log.warning("call to the model failed", kind=why, error=type(failed).__name__)
                        raise

    async def _stream_once(
        self, call: Call, body: bytes, meter: UsageMeter
    ) -> AsyncGenerator[CallBegun | Delta | Reply, None]:
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._reply_limit_s
        answer = wire.StreamedReply(call.model)
        with meter.measure_try(answer, call):
            async with self._open_events(body) as events:
                async for event in events:
                    piece = answer.take_event(event.event, event.data)
                    if piece is not None:
                        yield piece
                    if clock() > deadline:
                        raise StreamBroken(
                            FailureKind.SERVER, f"no whole reply within {self._reply_limit_s:g} s"
                        )
            reply = answer.finish_reply()
        yield reply

    @asynccontextmanager
    async def _open_events(self, body: bytes) -> AsyncIterator[AsyncIterator[ServerSentEvent]]:
        async with asyncio.timeout(self._timeout_s):
            response = await self._sdk.post(
                _MESSAGES, cast_to=httpx2.Response, content=body, options=_AS_IT_COMES
            )
        try:
            yield anthropic.AsyncStream.raw_events(response)
        finally:
            await response.aclose()


@asynccontextmanager
async def open_client(
    claude: settings.ClaudeSettings, delays: RetryDelays | None = None
) -> AsyncIterator[ModelClient]:
    """Make a client that is closed at the end. It sends nothing before the first call."""
    client = ModelClient(claude, delays or RetryDelays())
    try:
        yield client
    finally:
        with suppress(TimeoutError):  # a connection that does not close is not worth waiting for
            async with asyncio.timeout(_CLOSE_S):
                await client.close()


_MESSAGES = "/v1/messages"
_AS_IT_COMES: anthropic.RequestOptions = {
    "headers": {"Content-Type": "application/json", "X-Stainless-Raw-Response": "stream"}
}
_COUNTED = frozenset(("model", "messages", "system"))
