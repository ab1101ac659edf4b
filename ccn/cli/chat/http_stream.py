"""One request to a node's HTTP door, answered piece by piece.

Whoever chats waits for words in the middle of an answer, changes its mind, and changes nodes when one
dies. That takes a client which streams and can be cancelled, and nothing else of one: the parser is that of
our server, and every request has a connection of its own, because the next may go to another node.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httptools

import ccn
from ccn import errors
from ccn.certificates import trust
from ccn.core import error_codes

CONNECT_S = 3.0
SILENCE_S = 40.0
"""A stream of ours is never silent for longer than its pings are apart."""
BODY_LIMIT = 64 * 1024 * 1024
_CLOSE_S = 1.0
_READ = 64 * 1024
_IN_UTF_8 = "X-CCN-Reason:"


class ConnectionBroken(Exception):
    """The connection could not be made, or ended in the middle."""


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """What to ask; the same at every node."""

    method: str
    path: str
    body: object = None
    headers: Mapping[str, str] = field(default_factory=dict)


class HttpAnswer:
    """What a node answers: the head is there, the body comes."""

    def __init__(self, reader: asyncio.StreamReader, parsing: _ResponseParser) -> None:
        self._reader, self._parsing = reader, parsing

    @property
    def status(self) -> int:
        """The status code."""
        return self._parsing.status

    @property
    def headers(self) -> Mapping[str, str]:
        """By names in lower case."""
        return self._parsing.headers

    async def read_pieces(self) -> AsyncGenerator[bytes]:
        """The body as it comes; Broken if it does not come to its end."""
        while True:
            if said := self._parsing.take_body():
                yield said
            elif self._parsing.ended:
                return
            else:
                await _feed_more(self._reader, self._parsing)

    async def read_whole(self) -> bytes:
        """All of the body."""
        said = bytearray()
        async for piece in self.read_pieces():
            said += piece
            if len(said) > BODY_LIMIT:
                raise ConnectionBroken(f"the answer has more than {BODY_LIMIT} bytes")
        return bytes(said)


@asynccontextmanager
async def open_request(
    url: str, asking: HttpRequest, key: str, ca: Path | None = None
) -> AsyncIterator[HttpAnswer]:
    """Ask the node at this address; the answer is there until the block ends."""
    try:
        parts = urlsplit(url)
    except ValueError as nonsense:
        raise errors.InputInvalid(f"{url} is not an http address: {nonsense}") from nonsense
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise errors.InputInvalid(f"{url} is not an http address")
    secure = trust.make_client_context(ca) if parts.scheme == "https" else None
    try:
        async with asyncio.timeout(CONNECT_S):
            reader, writer = await asyncio.open_connection(
                parts.hostname, parts.port or (443 if secure else 80), ssl=secure
            )
    except (OSError, TimeoutError, ValueError) as failed:
        raise ConnectionBroken(_describe_failure(failed)) from failed
    try:
        writer.write(_encode_request(parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), asking, key))
        parsing = _ResponseParser()
        while not parsing.begun:
            await _feed_more(reader, parsing)
        yield HttpAnswer(reader, parsing)
    except OSError as failed:
        raise ConnectionBroken(_describe_failure(failed)) from failed
    finally:
        writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(_CLOSE_S):
                await writer.wait_closed()


def error_from_answer(status: int, headers: Mapping[str, str], body: bytes) -> errors.CCNError:
    """Make the error that an answer tells of, as if it had happened here."""
    try:
        problem: dict[str, Any] = json.loads(body)
        error_class = error_codes.error_from_code(str(problem["code"]))
        detail = str(problem.get("detail") or problem["title"])
    except (ValueError, KeyError, TypeError, RecursionError):
        error_class, detail = None, f"status {status} without a reason: is this a node?"
    if status == 401:
        return errors.Forbidden(f"{detail}; give a key with --api-key-file or CCN_CLIENT_API_KEY")
    if error_class is not None and issubclass(error_class, (errors.TooManyRequests, errors.BudgetSpent)):
        return error_class(detail, _read_wait(headers.get("retry-after", "")))
    if error_class is None and status == 503:
        error_class = errors.Unavailable
    return (error_class or errors.CCNError)(detail)


def _read_wait(header: str) -> float:
    """Read for how many seconds to wait: one, if a proxy wrote a date in the place of our number."""
    return float(header) if header.isdecimal() else 1.0


async def _feed_more(reader: asyncio.StreamReader, parsing: _ResponseParser) -> None:
    try:
        async with asyncio.timeout(SILENCE_S):
            said = await reader.read(_READ)
    except (OSError, TimeoutError) as failed:
        raise ConnectionBroken(_describe_failure(failed)) from failed
    if not said:
        raise ConnectionBroken("the connection ended in the middle of an answer")
    parsing.feed(said)


def _encode_request(host: str, prefix: str, asking: HttpRequest, key: str) -> bytes:
    body = b"" if asking.body is None else json.dumps(asking.body).encode()
    headers = {
        "Host": host,
        "User-Agent": f"ccn/{ccn.__version__}",
        "Accept": "application/json, text/event-stream",
        "Connection": "close",
        **({"Authorization": f"Bearer {key}"} if key else {}),
        **({"Content-Type": "application/json"} if body else {}),
        **({"Content-Length": str(len(body))} if body or asking.method != "GET" else {}),
        **asking.headers,
    }
    lines = [f"{asking.method} {prefix}{asking.path} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if any(not line.isprintable() or not (line.isascii() or line.startswith(_IN_UTF_8)) for line in lines):
        raise errors.InputInvalid("an address or a key has characters that no request can carry")
    return "\r\n".join((*lines, "", "")).encode() + body


def _describe_failure(failed: BaseException) -> str:
    if isinstance(failed, TimeoutError):
        return "no answer in time"
    if why := trust.describe_failure(failed):
        return why
    if isinstance(failed, OSError) and failed.errno is not None and failed.errno > 0:
        return os.strerror(failed.errno)  # asyncio puts words of its own in the place of the system's
    return getattr(failed, "strerror", None) or str(failed) or type(failed).__name__


class _ResponseParser:
    """What httptools calls back."""

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}
        self.begun = self.ended = False
        self.status = 0
        self._body = bytearray()
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, said: bytes) -> None:
        try:
            self._parser.feed_data(said)
        except httptools.HttpParserError as nonsense:
            raise ConnectionBroken("the answer is not HTTP: is this a node?") from nonsense

    def take_body(self) -> bytes:
        said, self._body = bytes(self._body), bytearray()
        return said

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self.begun, self.status = True, self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        self.ended = True
