"""Estimates of tokens: by kinds of characters, never above the free bound."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccn.core.calls import tokens


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("word", 2),
        ("words", 2),
        ("two words", 4),
        ("3.14", 4),
        ("a\nb", 3),
        ("é", 1),
        ("字", 2),
        ("\U0001f600", 4),
    ],
)
def test_letters_digits_signs_and_foreign_characters_are_counted(text: str, count: int) -> None:
    assert tokens.estimate_tokens(text) == tokens.PER_BLOCK + count


@given(st.text(max_size=400))
def test_no_estimate_exceeds_the_bound(text: str) -> None:
    assert tokens.estimate_tokens(text) <= tokens.bound_tokens(text)


@given(st.text(max_size=100), st.text(max_size=100))
def test_a_longer_text_never_takes_fewer_tokens(one: str, other: str) -> None:
    assert tokens.estimate_tokens(one) <= tokens.estimate_tokens(one + "\n" + other)


@given(
    st.text(
        alphabet=st.characters(min_codepoint=0xD800, max_codepoint=0xDFFF, categories=["Cs"]), max_size=9
    )
)
def test_halves_of_surrogate_pairs_are_counted_as_well(text: str) -> None:
    assert tokens.estimate_tokens(text) >= tokens.PER_BLOCK + len(text)
