"""What the stand-in refuses, for the same reasons as the API: a prompt that passes here is well formed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from ccn.claude.stand_in import prompt_cache
from ccn.claude.stand_in.faults import STATUSES

BODY_LIMIT = 32 * 1024 * 1024
MAX_TOKENS = 128_000


class RequestRefused(Exception):
    """The request is answered with a status and its error."""

    def __init__(self, status: int, words: str, retry_after: float | None = None) -> None:
        super().__init__(words)
        self.status = status
        self.words = words
        self.retry_after = retry_after

    @property
    def name(self) -> str:
        """The API's name for the status."""
        return STATUSES[self.status]


def check_headers(headers: Mapping[bytes, bytes]) -> None:
    """Refuse requests without a key or a version. Any key is good but `invalid`."""
    key = headers.get(b"x-api-key") or headers.get(b"authorization", b"").removeprefix(b"Bearer ")
    if not key or key == b"invalid":
        raise RequestRefused(401, "invalid x-api-key")
    if b"anthropic-version" not in headers:
        raise RequestRefused(400, "anthropic-version: header is required")


def read_request(body: bytes, models: Mapping[str, object], *, counting: bool = False) -> dict[str, Any]:
    """Read the request in a body, or refuse it."""
    try:
        request = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise RequestRefused(400, "the request body is not valid JSON") from None
    if not isinstance(request, dict):
        raise RequestRefused(400, "the request body is not an object")
    _check_fields(request, counting=counting)
    if request["model"] not in models:
        raise RequestRefused(404, f"model: {request['model']}")
    _check_messages(request["messages"])
    _check_texts(request.get("system", []), "system")
    if prompt_cache.count_marks(request) > prompt_cache.MARKS:
        raise RequestRefused(
            400, f"a maximum of {prompt_cache.MARKS} blocks with cache_control may be provided"
        )
    return request


def _check_fields(request: dict[str, Any], *, counting: bool) -> None:
    for field, kind in (("model", str), ("messages", list), ("max_tokens", int)):
        if field == "max_tokens" and counting:
            continue
        if field not in request:
            raise RequestRefused(400, f"{field}: Field required")
        if not isinstance(request[field], kind) or isinstance(request[field], bool):
            raise RequestRefused(400, f"{field}: Input should be a valid {kind.__name__}")
    if not counting and not 1 <= request["max_tokens"] <= MAX_TOKENS:
        raise RequestRefused(400, f"max_tokens: {request['max_tokens']} is not from 1 to {MAX_TOKENS}")


def _check_messages(messages: list[Any]) -> None:
    if not messages:
        raise RequestRefused(400, "messages: at least one message is required")
    for place, message in enumerate(messages):
        if not isinstance(message, dict) or message.get("role") not in ("user", "assistant"):
            raise RequestRefused(400, f"messages.{place}.role: Input should be 'user' or 'assistant'")
        if not message.get("content"):
            raise RequestRefused(400, f"messages.{place}: all messages must have non-empty content")
        _check_texts(message["content"], f"messages.{place}.content")
    if messages[-1]["role"] != "user":
        raise RequestRefused(400, "messages: the conversation must end with a user message")


def _check_texts(content: object, where: str) -> None:
    if isinstance(content, str):
        return
    if not isinstance(content, list) or not all(isinstance(block, dict) for block in content):
        raise RequestRefused(400, f"{where}: Input should be a string or a list of blocks")
    for place, block in enumerate(content):
        text = block.get("text")
        if block.get("type") == "text" and not (isinstance(text, str) and text.strip()):
            raise RequestRefused(
                400, f"{where}.{place}: text content blocks must contain non-whitespace text"
            )
