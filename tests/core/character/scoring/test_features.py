"""Which features a text has, and that each of them has two places in the table."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccn.core.character.scoring import features
from ccn.core.character.scoring.words import split_words

WORDS = st.lists(
    st.sampled_from(
        ["never", "worry", "curious", "curiosity", "i", "?", "!", ".", ",", "…", "42", '"', "can't"]
    ),
    max_size=30,
)


@given(WORDS)
def test_the_places_of_a_text_are_those_of_its_features_each_once(words: list[str]) -> None:
    places = features.find_places(words).tolist()
    of_features = {
        place for key in features.name_features(words) for place in features.places_of(key, words)
    }
    assert places == sorted(of_features)
    assert all(0 <= place < features.TABLE for place in places)


def test_nothing_has_no_features() -> None:
    assert list(features.name_features([])) == []
    assert features.find_places([]).tolist() == []


@given(WORDS)
def test_a_word_that_occurs_twice_counts_once(words: list[str]) -> None:
    named = list(features.name_features(words))
    assert len(named) == len({*named})


@pytest.mark.parametrize(
    ("text", "has", "lacks"),
    [
        ("I worry", {"i", "worry", "i worry"}, {"worry*", "."}),
        ("curiosity", {"curiosity", "curio*"}, set()),
        ("curious", {"curious", "curio*"}, set()),
        ("honest", {"honest"}, {"hones*"}),
        ("I never worry", {"never", "~worry", "never ~worry"}, {"worry"}),
        ("never curiously", {"~curiously", "~curio*"}, {"curio*"}),
        ("one. two", {"one", "two"}, {".", "one .", ". two", "one two"}),
        ("why?", {"?", "why ?", "<asks 5>"}, {"<exclaims 5>"}),
    ],
)
def test_words_pairs_and_beginnings_of_long_words_are_named(
    text: str, has: set[str], lacks: set[str]
) -> None:
    named = {*features.name_features(split_words(text))}
    assert has <= named
    assert not lacks & named


def test_the_same_word_has_another_second_place_in_a_message_than_in_a_statement() -> None:
    statement, message = ["i", "worry"], ["i", "worry", ".", "you", "hope", "."]
    first, second = features.places_of("worry", statement), features.places_of("worry", message)
    assert first[0] == second[0]
    assert first[1] != second[1]


@pytest.mark.parametrize(
    ("text", "statement"),
    [
        ("", True),
        ("I am here", True),
        ("I am here.", True),
        ("I am here. You too.", False),
        ("Am I? Yes!", False),
        ("word " * 40, True),
        ("word " * 41, False),
        ("7 " * 80, True),
        ("7 " * 81, False),
        ("Well... yes", True),
        ("Well… yes.", False),
    ],
)
def test_a_statement_is_one_short_sentence(text: str, statement: bool) -> None:
    assert features.is_statement(split_words(text)) is statement


@pytest.mark.parametrize(
    ("marks", "among", "step"), [(1, 1000, 1), (1, 200, 2), (1, 83, 3), (1, 40, 4), (1, 20, 5), (7, 7, 5)]
)
def test_marks_are_counted_by_their_share_in_a_few_steps(marks: int, among: int, step: int) -> None:
    words = ["!"] * marks + ["word"] * (among - marks)
    assert f"<exclaims {step}>" in features.name_features(words)
