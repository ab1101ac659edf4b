"""Converts between our values and the Messages API: a call to its wire format, events to pieces."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from ccn import errors
from ccn.claude import failure
from ccn.claude.failure import FailureKind, StreamBroken
from ccn.core.calls.call import Call, CallBegun, CallBlock, CallMessage, Delta, Reply, TokenUsage

_MARK = {"type": "ephemeral"}


def call_to_params(call: Call) -> dict[str, Any]:
    """Write the parameters of a call, in an order and form that never changes: caches compare bytes."""
    params: dict[str, Any] = {
        "model": call.model,
        "max_tokens": call.max_tokens,
        "messages": [_message_to_param(message) for message in call.messages],
    }
    if call.system:
        params["system"] = [_text_to_block(block) for block in call.system]
    if call.temperature is not None:
        # The newest models refuse sampling parameters, and the SDK has dropped them from its signature.
        params["extra_body"] = {"temperature": call.temperature}
    return params


def call_to_body(call: Call, form: Mapping[str, object]) -> bytes:
    """Write the bytes of a request that streams. `form` is what else it asks for.

    The SDK would walk through all of it three times before it becomes bytes, which takes longer than to
    build the prompt.
    """
    params = call_to_params(call)
    more = params.pop("extra_body", {})
    try:
        return orjson.dumps({**params, **more, **form, "stream": True})
    except orjson.JSONEncodeError as unsendable:
        raise errors.InputInvalid(f"the prompt cannot be sent: {unsendable}") from None


class StreamedReply:
    """Puts the events of one stream together."""

    def __init__(self, model: str) -> None:
        self.usage = TokenUsage()
        self.begun = False
        self._model = model
        self._texts: list[str] = []
        self._stop: str | None = None
        self._over = False

    @property
    def ended(self) -> bool:
        """Whether the API has said how the reply ended, and with that all that was used."""
        return self._stop is not None

    @property
    def text(self) -> str:
        """The text that came so far."""
        return "".join(self._texts)

    def take_event(self, event: str | None, data: str) -> CallBegun | Delta | None:
        """Return what readers are told of an event: the text in it, or that it is the first."""
        try:
            return self._read_event(event, data)
        except (ValueError, KeyError, TypeError, AttributeError) as nonsense:
            raise StreamBroken(FailureKind.SERVER, f"a {event} event that makes no sense") from nonsense

    def finish_reply(self) -> Reply:
        """Return the reply, if its stream came to its end."""
        if self._stop is None or not self._over:
            raise StreamBroken(FailureKind.NETWORK, "the stream ended in the middle of the reply")
        return Reply(self.text, self._stop, self.usage, self._model)

    def _read_event(self, event: str | None, data: str) -> CallBegun | Delta | None:
        if event == "content_block_delta":
            # Thoughts, signatures and other blocks that a model may send are not part of what it says.
            text: str | None = orjson.loads(data)["delta"].get("text")
            if not text:
                return None
            self._texts.append(text)
            return Delta(text)
        if event == "message_start":
            message = orjson.loads(data)["message"]
            self._model = message["model"]
            self.usage = _usage_from_event(message["usage"], TokenUsage())
            self.begun = True
            return CallBegun(self.usage)
        if event == "message_delta":
            change = orjson.loads(data)
            self._stop = change["delta"].get("stop_reason")
            self.usage = _usage_from_event(change["usage"], self.usage)
        elif event == "message_stop":
            self._over = True
        elif event == "error":
            raise failure.failure_from_event(orjson.loads(data))
        return None


def _usage_from_event(counts: dict[str, int | None], before: TokenUsage) -> TokenUsage:
    """Read what the API counts. A later event repeats only some of the counts."""
    return TokenUsage(
        _known_or_before(counts.get("input_tokens"), before.input),
        _known_or_before(counts.get("output_tokens"), before.output),
        _known_or_before(counts.get("cache_read_input_tokens"), before.cache_read),
        _known_or_before(counts.get("cache_creation_input_tokens"), before.cache_write),
    )


def _known_or_before(count: int | None, before: int) -> int:
    return before if count is None else count


def _message_to_param(message: CallMessage) -> dict[str, object]:
    return {"role": message.role.value, "content": [_text_to_block(message)]}


def _text_to_block(part: CallBlock | CallMessage) -> dict[str, object]:
    plain: dict[str, object] = {"type": "text", "text": part.text}
    return {**plain, "cache_control": _MARK} if part.mark else plain
