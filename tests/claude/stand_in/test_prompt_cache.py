"""The stand-in's prompt cache: what is written, read, too short, too far back, and forgotten."""

from __future__ import annotations

from typing import Any

import pytest

from ccn.claude.stand_in.prompt_cache import PrefixCache, PromptTokens, total_tokens

LONG = "kind words " * 500


class Clock:
    """Stands still until moved."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def prefixes(clock: Clock) -> PrefixCache:
    return PrefixCache(clock)


def part(text: str, *, mark: bool = False) -> dict[str, Any]:
    plain: dict[str, Any] = {"type": "text", "text": text}
    return {**plain, "cache_control": {"type": "ephemeral"}} if mark else plain


def asked(
    *system: dict[str, Any], said: str = "Hello.", model: str = "claude-sonnet-5-5"
) -> dict[str, Any]:
    return {"model": model, "system": list(system), "messages": [{"role": "user", "content": said}]}


def test_tokens_are_counted_once_whatever_they_cost(prefixes: PrefixCache) -> None:
    request = asked(part(LONG, mark=True))
    for _ in range(2):
        counted = prefixes.count_tokens(request)
        assert counted.input + counted.cache_write + counted.cache_read == total_tokens(request)


def test_without_a_mark_nothing_is_cached(prefixes: PrefixCache) -> None:
    request = asked(part(LONG))
    assert (
        prefixes.count_tokens(request)
        == prefixes.count_tokens(request)
        == PromptTokens(total_tokens(request), 0, 0)
    )


def test_a_prefix_that_is_too_short_for_its_model_is_not_kept(prefixes: PrefixCache) -> None:
    assert prefixes.count_tokens(asked(part(LONG, mark=True))).cache_write > 0
    assert prefixes.count_tokens(asked(part(LONG, mark=True), model="claude-haiku-4-5")).cache_write == 0


def test_only_what_follows_an_unchanged_beginning_is_written(prefixes: PrefixCache) -> None:
    first = prefixes.count_tokens(asked(part(LONG, mark=True), part(LONG + "state", mark=True)))
    second = prefixes.count_tokens(asked(part(LONG, mark=True), part(LONG + "moved", mark=True)))
    assert first.cache_read == 0
    assert second.cache_read + second.cache_write == first.cache_write
    assert 0 < second.cache_read < first.cache_write


def test_one_changed_byte_at_the_beginning_loses_everything(prefixes: PrefixCache) -> None:
    prefixes.count_tokens(asked(part(LONG, mark=True)))
    assert prefixes.count_tokens(asked(part("!" + LONG, mark=True))).cache_read == 0
    assert prefixes.count_tokens(asked(part(LONG, mark=True), model="claude-opus-5-5")).cache_read == 0


def test_a_growing_conversation_reads_what_the_turn_before_wrote(prefixes: PrefixCache) -> None:
    said: list[dict[str, Any]] = []
    before = 0
    for turn in range(5):
        said += [{"role": "user", "content": [part(f"{LONG} {turn}", mark=True)]}]
        counted = prefixes.count_tokens({"model": "claude-sonnet-5-5", "messages": said})
        assert counted.cache_read == before
        before += counted.cache_write
        said[-1] = {"role": "user", "content": [part(f"{LONG} {turn}")]}


def test_a_prefix_is_not_looked_for_more_than_twenty_parts_back(prefixes: PrefixCache) -> None:
    prefixes.count_tokens(asked(part(LONG, mark=True)))
    few = [part(f"part {n}") for n in range(19)]
    assert prefixes.count_tokens(asked(part(LONG), *few, part("end", mark=True))).cache_read > 0
    many = [part(f"other {n}") for n in range(25)]
    assert prefixes.count_tokens(asked(part(LONG), *many, part("end", mark=True))).cache_read == 0


def test_a_prefix_lives_for_five_minutes_from_its_last_use(prefixes: PrefixCache, clock: Clock) -> None:
    request = asked(part(LONG, mark=True))
    prefixes.count_tokens(request)
    for _ in range(3):
        clock.now += 299
        assert prefixes.count_tokens(request).cache_read > 0
    clock.now += 300
    assert prefixes.count_tokens(request).cache_read == 0
