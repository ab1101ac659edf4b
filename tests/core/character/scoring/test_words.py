"""A text becomes words: of prose alone, of its beginning, with what a negation reaches marked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccn.core.character.scoring import words
from ccn.core.character.scoring.words import MOST, NEGATED

# What can go wrong between letters: marks of code and prose, blanks, numbers, halves of pairs, fences.
TEXTS = st.text(st.sampled_from("aBé'\u2019`~\n .!?-—1²_#(漢\u0301\ud800\0"), max_size=60)


@pytest.mark.parametrize(
    ("text", "split"),
    [
        ("", []),
        ("I'm HERE.", ["i'm", "here", "."]),
        ("don\u2019t", ["don't"]),
        ("wait... what?!", ["wait", "...", "what", "?!"]),
        ("1024 bytes", ["1024", "bytes"]),
        ("snake_case", ["snake", "_", "case"]),
        ("one `rm -rf /` two", ["one", "two"]),
        ("one ```\ncode\n``` two", ["one", "two"]),
        ("one ~~~\ncode\n~~~ two", ["one", "two"]),
        ("one ```\ncode without an end", ["one"]),
        ("a lone ` in a text", ["a", "lone", "`", "in", "a", "text"]),
        ("ÄRGER und Œuvre", ["ärger", "und", "œuvre"]),
    ],
)
def test_a_text_is_split_into_words_numbers_and_marks(text: str, split: list[str]) -> None:
    assert words.split_words(text) == split


def test_code_without_a_fence_is_no_prose_and_prose_with_a_formula_is() -> None:
    assert words.split_words("def f(x):\n    return {a: b}[x]; g(y); h(z)") == []
    assert words.split_words("I looked at f(x) = y once, and it was a long walk back home to my family.")


def test_only_the_beginning_of_a_text_is_read() -> None:
    assert len(words.split_words("word " * (MOST + 10))) == MOST
    assert words.split_words("x " * 30_000 + "end")[-1] == "x"


@given(TEXTS)
def test_no_word_is_empty_or_has_a_blank_or_a_capital(text: str) -> None:
    for word in words.split_words(text):
        assert word
        assert not any(letter.isspace() for letter in word)
        assert word == word.lower()


@given(TEXTS)
def test_marking_keeps_every_word_in_its_place(text: str) -> None:
    split = words.split_words(text)
    assert [each.removeprefix(NEGATED) for each in words.mark_negated(split)] == [
        each.removeprefix(NEGATED) for each in split
    ]


@pytest.mark.parametrize(
    ("said", "marked"),
    [
        ("i never worry", "i never ~worry"),
        ("never worry . fine", "never ~worry . fine"),
        ("never worry , fine", "never ~worry , fine"),
        ("never a b c d e f g", "never ~a ~b ~c ~d ~e ~f g"),
        ("never a not b", "never ~a not ~b"),
        ("not a b c never d e f g h i j", "not ~a ~b ~c never ~d ~e ~f ~g ~h ~i j"),
        ("i don't and mustn't", "i don't ~and mustn't"),
        ("notable", "notable"),
        ("never 7 days", "never ~7 ~days"),
        ("", ""),
    ],
)
def test_a_negation_reaches_six_words_and_no_further_than_its_clause(said: str, marked: str) -> None:
    assert words.mark_negated(said.split()) == marked.split()


@pytest.mark.parametrize(
    ("text", "enough"),
    [
        ("one two three four five", True),
        ("one two three four", False),
        ("1 2 3 4 5 6 7 one two three four", False),
        ("one, two! three? four... - ## five", True),
    ],
)
def test_numbers_and_marks_are_not_words_enough(text: str, enough: bool) -> None:
    assert words.are_enough(words.split_words(text)) is enough
