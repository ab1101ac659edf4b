"""The shapes in which the stand-in answers: a message, its events, and errors, as the API has them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from ccn.claude.stand_in.prompt_cache import PromptTokens


@dataclass(frozen=True, slots=True)
class StandInReply:
    """A reply, ready to be sent in either form."""

    id: str
    model: str
    parts: Sequence[str]
    stop: str
    prompt: PromptTokens
    output: int
    tool: str | None = None  # the name of a tool whose input the parts are

    def to_message(self) -> dict[str, Any]:
        """Write it whole, as one message."""
        whole = "".join(self.parts)
        content = (
            {"type": "text", "text": whole} if self.tool is None else self._tool_block(orjson.loads(whole))
        )
        return {**self._message_head([content], self.stop), "usage": self._usage_fields(self.output)}

    def begin_events(self) -> bytes:
        """Write the events before the first delta."""
        message = {**self._message_head([], None), "usage": self._usage_fields(1)}
        block = {"type": "text", "text": ""} if self.tool is None else self._tool_block({})
        return b"".join(
            (
                encode_event("message_start", message=message),
                encode_event("content_block_start", index=0, content_block=block),
                encode_event("ping"),
            )
        )

    def delta_events(self) -> Iterator[bytes]:
        """Yield one event for each part."""
        for part in self.parts:
            yield encode_event("content_block_delta", index=0, delta=self._delta_fields(part))

    def end_events(self) -> bytes:
        """Write the events after the last delta."""
        return b"".join(
            (
                encode_event("content_block_stop", index=0),
                encode_event(
                    "message_delta",
                    delta={"stop_reason": self.stop, "stop_sequence": None},
                    usage=self._usage_fields(self.output),
                ),
                encode_event("message_stop"),
            )
        )

    def _message_head(self, content: list[dict[str, Any]], stop: str | None) -> dict[str, Any]:
        return {
            "id": self.id,
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": content,
            "stop_reason": stop,
            "stop_sequence": None,
        }

    def _usage_fields(self, output: int) -> dict[str, Any]:
        return {
            "input_tokens": self.prompt.input,
            "cache_creation_input_tokens": self.prompt.cache_write,
            "cache_read_input_tokens": self.prompt.cache_read,
            "output_tokens": output,
        }

    def _tool_block(self, tool_input: object) -> dict[str, Any]:
        return {"type": "tool_use", "id": f"toolu_{self.id[4:]}", "name": self.tool, "input": tool_input}

    def _delta_fields(self, part: str) -> dict[str, str]:
        if self.tool is None:
            return {"type": "text_delta", "text": part}
        return {"type": "input_json_delta", "partial_json": part}


def encode_event(name: str, **fields: object) -> bytes:
    """Write one server-sent event."""
    return b"event: %s\ndata: %s\n\n" % (name.encode(), orjson.dumps({"type": name, **fields}))


def error_body(name: str, words: str) -> dict[str, object]:
    """Write the body of an error, which is also the data of an `error` event."""
    return {"type": "error", "error": {"type": name, "message": words}, "request_id": None}


def model_entry(name: str) -> Mapping[str, object]:
    """Write how the list of models describes one."""
    return {
        "type": "model",
        "id": name,
        "display_name": name.replace("-", " ").title(),
        "created_at": "2026-01-01T00:00:00Z",
        "lifecycle": "active",
    }
