"""Words that come in pieces are broken into lines that fit, and the rows they take are counted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from ccn.cli.chat.wrapping import WordWrapper

WIDTH = 12

# Narrow, wide and combining letters, the blanks of several kinds, and ends of lines.
TEXTS = st.text(st.sampled_from("abc漢字é\u0301 \t\n\u3000"), max_size=80)


def wrap_text(text: str, width: int = WIDTH) -> tuple[str, int]:
    wrapper = WordWrapper(width)
    return wrapper.feed(text) + wrapper.flush(), wrapper.rows


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("one", "one"),
        ("one two three", "one two\nthree"),
        ("one\ntwo", "one\ntwo"),
        ("one\n\n\ntwo", "one\n\n\ntwo"),
        ("exactlytwelv", "exactlytwelv"),
        ("six    of ab", "six    of ab"),
        ("six    of abc", "six    of\nabc"),
        ("abcdefghijklmnop", "abcdefghijkl\nmnop"),
        ("ab cdefghijklmnopqrst", "ab\ncdefghijklmn\nopqrst"),
        ("a\tb", "a    b"),
        ("漢字漢字漢字漢字", "漢字漢字漢字\n漢字"),
        ("blanks at the end   ", "blanks at\nthe end"),
        ("   indented", "   indented"),
    ],
)
def test_lines_end_between_words_where_they_can(text: str, shown: str) -> None:
    assert wrap_text(text) == (shown, shown.count("\n") + 1)


def test_a_word_is_held_back_until_it_is_whole() -> None:
    wrapper = WordWrapper(WIDTH)
    assert wrapper.feed("hal") == ""
    assert wrapper.feed("f a") == "half"
    assert wrapper.feed("nd") == ""
    assert wrapper.flush() == " and"
    assert wrapper.flush() == ""


def test_a_word_longer_than_a_line_is_shown_before_it_ends() -> None:
    wrapper = WordWrapper(WIDTH)
    assert wrapper.feed("x" * WIDTH) == "x" * WIDTH
    assert wrapper.feed("yz ") == "\nyz"
    assert wrapper.rows == 2


def test_an_end_of_a_line_is_shown_at_once() -> None:
    wrapper = WordWrapper(WIDTH)
    assert wrapper.feed("a\n") == "a\n"
    assert wrapper.rows == 2


@pytest.mark.parametrize("width", [-1, 0, 1, 7, 8])
def test_a_terminal_that_tells_no_width_gets_lines_of_eight(width: int) -> None:
    shown, rows = wrap_text("abcdefghij", width)
    assert (shown, rows) == ("abcdefgh\nij", 2)


@pytest.mark.parametrize("blanks", [9, 12, 13, 40])
def test_a_word_far_to_the_right_is_not_broken_into_letters(blanks: int) -> None:
    shown, rows = wrap_text(" " * blanks + "hello")
    assert shown.split() == ["hello"]
    assert rows == 1


def test_a_word_of_wide_letters_far_to_the_right_is_broken_between_them() -> None:
    shown, rows = wrap_text(" " * (WIDTH - 1) + "漢字漢字漢字漢字")
    assert all(cell_len(line) <= WIDTH for line in shown.split("\n"))
    assert rows <= 3


@given(TEXTS, st.integers(8, 20))
def test_no_line_is_wider_than_the_terminal_and_every_row_is_counted(text: str, width: int) -> None:
    shown, rows = wrap_text(text, width)
    assert all(cell_len(line) <= width for line in shown.split("\n"))
    assert rows == shown.count("\n") + 1


@given(TEXTS)
def test_every_letter_is_shown_in_its_order(text: str) -> None:
    assert "".join(wrap_text(text)[0].split()) == "".join(text.split())


@given(TEXTS)
def test_lines_of_the_text_stay_lines(text: str) -> None:
    assert wrap_text(text)[1] >= text.count("\n") + 1


@given(st.lists(TEXTS, max_size=6))
def test_pieces_show_the_same_letters_as_the_whole_in_lines_that_fit(pieces: list[str]) -> None:
    wrapper = WordWrapper(WIDTH)
    shown = "".join(map(wrapper.feed, pieces)) + wrapper.flush()
    assert "".join(shown.split()) == "".join("".join(pieces).split())
    assert all(cell_len(line) <= WIDTH for line in shown.split("\n"))
    assert wrapper.rows == shown.count("\n") + 1
