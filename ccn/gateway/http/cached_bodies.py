"""Keeps bodies that are made once and asked for often. With a digest, clients fetch only changed ones."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from fastapi.responses import Response

ASK_AGAIN = "no-cache"
_TIMES_AS_LONG = 20  # as making a body took, it stays fresh
_LONGEST_S = 1.0


@dataclass(frozen=True)
class CachedBody:
    """A body that does not change."""

    content: bytes
    content_type: str
    etag: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "etag", f'"{hashlib.sha256(self.content).hexdigest()[:32]}"')

    def make_response(
        self,
        if_none_match: str,
        cache_control: str = ASK_AGAIN,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> Response:
        """Answer with the body, or with 304 if the client has it already."""
        all_headers = {**headers, "ETag": self.etag, "Cache-Control": cache_control}
        if if_none_match.strip() == "*" or self.etag in {
            each.strip().removeprefix("W/") for each in if_none_match.split(",")
        }:
            return Response(status_code=304, headers=all_headers)
        return Response(self.content, headers=all_headers | {"Content-Type": self.content_type})


class FreshBodies:
    """Bodies that change, by content type. A body is kept for twenty times as long as making it took.

    So making bodies takes a twentieth of the time at most, however often clients ask.
    """

    def __init__(
        self, make_body: Callable[[str], bytes], clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._make_body, self._clock = make_body, clock
        self._bodies = dict[str, tuple[float, bytes]]()

    def get_body(self, content_type: str) -> bytes:
        """Get the body of a content type, made again if it is not fresh any more."""
        fresh_until, body = self._bodies.get(content_type, (float("-inf"), b""))
        if (began := self._clock()) < fresh_until:
            return body
        body = self._make_body(content_type)
        ended = self._clock()
        self._bodies[content_type] = ended + min(_LONGEST_S, _TIMES_AS_LONG * (ended - began)), body
        return body
