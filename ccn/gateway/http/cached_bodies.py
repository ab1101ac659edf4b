"""Bodies that are made once and asked for often, with a digest by which clients ask for news only."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from fastapi.responses import Response

ASK_AGAIN = "no-cache"
_SHARE = 20
_LONGEST_S = 1.0


@dataclass(frozen=True)
class CachedBody:
    """A body that stays as it is."""

    content: bytes
    kind: str
    etag: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "etag", f'"{hashlib.sha256(self.content).hexdigest()[:32]}"')

    def make_response(
        self, known: str, how_long: str = ASK_AGAIN, headers: Mapping[str, str] = MappingProxyType({})
    ) -> Response:
        """The body, or only that it is what the client has."""
        told = {**headers, "ETag": self.etag, "Cache-Control": how_long}
        if known.strip() == "*" or self.etag in {
            each.strip().removeprefix("W/") for each in known.split(",")
        }:
            return Response(status_code=304, headers=told)
        return Response(self.content, headers=told | {"Content-Type": self.kind})


class FreshBodies:
    """Bodies that change, by kind: each is made again after twenty times as long as making it took.

    So however often they are asked for, no more than a twentieth of the time goes into them.
    """

    def __init__(
        self, make: Callable[[str], bytes], clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._make, self._clock = make, clock
        self._bodies = dict[str, tuple[float, bytes]]()

    def get_body(self, kind: str) -> bytes:
        """One that is new enough."""
        until, body = self._bodies.get(kind, (float("-inf"), b""))
        if (began := self._clock()) < until:
            return body
        body = self._make(kind)
        ended = self._clock()
        self._bodies[kind] = ended + min(_LONGEST_S, _SHARE * (ended - began)), body
        return body
