"""The stand-in's prompt cache: which beginnings of prompts it has seen, and what their tokens count as.

It follows the API's documentation. A prompt has up to four marks. A prefix is written where a mark is if
it is long enough, and read where an earlier one ended, at most twenty parts before a mark. It lives for
five minutes from its last use. Tokens are not counted but estimated at four bytes each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import orjson

from ccn.core.bounded import Recent

LIFE_S = 300.0
MARKS = 4
LOOK_BACK = 20
_KEPT = 10_000
_BYTES_PER_TOKEN = 4
_AROUND = 4

# https://platform.claude.com/docs/en/build-with-claude/prompt-caching
_SHORTEST: Mapping[str, int] = {"claude-opus-4-5": 4096, "claude-opus-4-6": 4096, "claude-haiku-4-5": 4096}
_SHORTEST_OTHERWISE = 1024


@dataclass(frozen=True, slots=True)
class PromptTokens:
    """The tokens of a prompt, by what they cost."""

    input: int
    cache_write: int
    cache_read: int


class PrefixCache:
    """The prefixes that were seen, and when each was last used."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._used = Recent[bytes, float](_KEPT)

    def count_tokens(self, request: Mapping[str, Any]) -> PromptTokens:
        """Count the tokens of a request, and remember its marked beginnings."""
        ends = list(_prefix_ends(request))
        marks = [
            number
            for number, end in enumerate(ends)
            if end.marked and end.tokens >= shortest_prefix(request)
        ]
        total = ends[-1].tokens if ends else 0
        if not marks:
            return PromptTokens(total, 0, 0)
        written = ends[marks[-1]].tokens
        read = max((ends[number].tokens for number in self._find_hits(ends, marks)), default=0)
        self._remember_prefixes(ends[number].prefix for number in marks)
        return PromptTokens(total - written, written - read, read)

    def _find_hits(self, ends: list[_PrefixEnd], marks: list[int]) -> list[int]:
        alive = self._now() - LIFE_S
        reached = {n for mark in marks for n in range(max(0, mark - LOOK_BACK), mark + 1)}
        hits = [number for number in reached if self._used.get(ends[number].prefix, alive) > alive]
        self._remember_prefixes(ends[number].prefix for number in hits)
        return hits

    def _remember_prefixes(self, prefixes: Iterator[bytes]) -> None:
        for prefix in prefixes:
            self._used[prefix] = self._now()


def total_tokens(request: Mapping[str, Any]) -> int:
    """Count the tokens of a request, cached or not."""
    return max((end.tokens for end in _prefix_ends(request)), default=0)


def estimate_tokens(text: str) -> int:
    """Estimate how many tokens a text has. No text has none."""
    return -(-len(text.encode()) // _BYTES_PER_TOKEN)


def shortest_prefix(request: Mapping[str, Any]) -> int:
    """Return below how many tokens a prefix is not kept, for the model that is asked."""
    return _SHORTEST.get(request["model"], _SHORTEST_OTHERWISE)


def count_marks(request: Mapping[str, Any]) -> int:
    """Count the marks of a request."""
    return sum(bool(part.get("cache_control")) for _, part in _prompt_parts(request))


@dataclass(frozen=True, slots=True)
class _PrefixEnd:
    prefix: bytes
    tokens: int
    marked: bool


def _prefix_ends(request: Mapping[str, Any]) -> Iterator[_PrefixEnd]:
    """Yield the prompt after each of its parts."""
    digest, total = sha256(request["model"].encode()), 0
    for role, part in _prompt_parts(request):
        plain = {key: value for key, value in part.items() if key != "cache_control"}
        digest.update(orjson.dumps([role, plain]))
        total += estimate_tokens(part.get("text", "")) + _AROUND
        yield _PrefixEnd(digest.digest(), total, bool(part.get("cache_control")))


def _prompt_parts(request: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for tool in request.get("tools", ()):
        yield "tool", {**tool, "text": orjson.dumps(tool).decode()}
    for role, content in (
        ("system", request.get("system", ())),
        *((message["role"], message["content"]) for message in request["messages"]),
    ):
        for part in [{"type": "text", "text": content}] if isinstance(content, str) else content:
            yield role, part
