"""A word is found however its letters are disguised, and nothing else is taken for it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccn.core.prompts import lookalike

MARK = "ccn:"


@pytest.mark.parametrize(
    "disguised",
    [
        "ccn:",
        "CCN:",
        "c c n :",
        "с\u0441n:",  # Cyrillic
        "ｃｃｎ：",  # full width
        "c\u200bc\u200bn\u200b:",  # characters without width
        "c\u0301cn:",  # accents
        "\U0001f1e8\U0001f1e8\U0001f1f3:",  # letters that flags are made of
        "\U000e0063\U000e0063\U000e006e\U000e003a",  # tags
        "/ccn:",
    ],
)
def test_a_reader_reads_the_word(disguised: str) -> None:
    assert lookalike.spells_word(disguised, MARK, 0)


@pytest.mark.parametrize("other", ["", "ccn", "cn:", "can:", "html", "c-cn:", "xccn:"])
def test_another_word_is_not_taken_for_it(other: str) -> None:
    assert not lookalike.spells_word(other, MARK, 0)


def test_reading_begins_at_the_place_and_not_before() -> None:
    assert lookalike.spells_word("x<ccn:", MARK, 2)
    assert not lookalike.spells_word("ccn:x", MARK, 1)


@given(
    st.lists(
        st.sampled_from(["", " ", "\t", "\u200d", "\u2060", "/", "\\", "\u3164"]), min_size=4, max_size=4
    )
)
def test_what_a_hasty_reader_passes_over_hides_nothing(between: list[str]) -> None:
    spread = "".join(gap + letter for gap, letter in zip(between, MARK, strict=True))
    assert lookalike.spells_word(spread, MARK, 0)


@given(st.text(alphabet="abdefghijklm", max_size=20))
def test_letters_that_do_not_occur_in_a_word_never_spell_it(text: str) -> None:
    assert not lookalike.spells_word(text, MARK, 0)
