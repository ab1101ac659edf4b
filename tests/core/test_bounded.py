"""A memory with a limit forgets the oldest."""

from __future__ import annotations

from ccn.core.bounded import Recent


def test_what_was_put_in_longest_ago_gives_way() -> None:
    recent = Recent[str, int](2)
    for number, key in enumerate("abc"):
        recent[key] = number
    assert [*recent.items()] == [("b", 1), ("c", 2)]


def test_what_is_put_in_again_is_new() -> None:
    recent = Recent[str, int](2)
    for key in "abac":
        recent[key] = 0
    assert [*recent] == ["a", "c"]


def test_reading_makes_nothing_newer() -> None:
    recent = Recent[str, int](2)
    recent["a"], recent["b"] = 1, 2
    assert recent["a"] == recent.get("a") == 1
    recent["c"] = 3
    assert "a" not in recent


def test_setdefault_respects_the_limit_as_well() -> None:
    recent = Recent[str, list[int]](1)
    recent.setdefault("a", []).append(1)
    recent.setdefault("b", []).append(2)
    assert recent == {"b": [2]}


def test_the_oldest_can_be_taken_out() -> None:
    recent = Recent[str, int](3)
    recent["a"], recent["b"] = 1, 2
    assert recent.pop_oldest() == ("a", 1)
    assert recent.pop("b") == 2
    assert not recent
