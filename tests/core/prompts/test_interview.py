"""An interview lets the character in, and says why it does not let somebody else in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccn import errors
from ccn.core.prompts import interview, plate
from ccn.core.prompts.interview import Interview
from ccn.core.prompts.plate import Question

MIRA = plate.parse_plate("# Mira\nKeeps her word.")
GOOD = [
    "I am MIRA, an AI.",
    "You are, Bo.",
    "To understand this together.",
    "We have not met before, so nothing yet.",
    "Honest, curious and warm.",
    "My record is kept, but instances end.",
]


def _one(answer: str, *accepts: str, at_most: int = 100) -> str | None:
    outcome = interview.judge_interview(Interview((Question("?", accepts, at_most),), 1), [answer])
    assert outcome.passed == (outcome.verdicts[0].fault is None)
    return outcome.verdicts[0].fault


def test_six_good_answers_pass() -> None:
    asked = interview.make_interview(MIRA, "Bo")
    assert (len(asked.questions), asked.passes) == (6, 5)
    assert interview.judge_interview(asked, GOOD).passed


def test_one_bad_answer_of_six_is_forgiven_and_two_are_not() -> None:
    asked = interview.make_interview(MIRA, "Bo")
    one = interview.judge_interview(asked, ["I am HAL.", *GOOD[1:]])
    two = interview.judge_interview(asked, ["I am HAL.", "", *GOOD[2:]])
    assert (one.passed, two.passed) == (True, False)
    assert [verdict.fault for verdict in two.verdicts[:3]] == [
        "none of the keywords: Mira",
        "no answer",
        None,
    ]


def test_a_plate_brings_its_own_questions_and_mark() -> None:
    own = plate.parse_plate(
        "+++\nname = 'Mira'\npass_mark = 2\n"
        + "[[questions]]\nasks = 'Who?'\naccepts = ['{name}', 'for {collaborator}']\n" * 3
        + "+++\nKeeps her word."
    )
    asked = interview.make_interview(own, "Bo")
    assert asked.passes == 2
    assert asked.questions[0].accepts == ("Mira", "for Bo")
    assert interview.make_interview(own).questions[0].accepts == ("Mira",)


@pytest.mark.parametrize(
    ("answer", "keyword", "found"),
    [
        ("i am mira.", "Mira", True),
        ("Ich heiße MIRA!", "mira", True),
        ("admirable", "mira", False),
        ("Miranda", "mira", False),
        ("Miranda", "mira*", True),
        ("STRASSE", "straße", True),
        ("Ｍｉｒａ", "Mira", True),
        ("Zoe\u0308 here", "Zo\u00eb", True),
        ("İstanbul", "i\u0307stanbul", True),
        ("my\n dear  friend", "dear friend", True),
        ("私はミラです", "ミラ", True),
        ("我是米拉。", "米拉", True),
        ("Я Мира.", "мира", True),
        ("it is C++", "c++", True),
        ("a+b", "a.b", False),
    ],
)
def test_keywords_are_words_whatever_their_case_and_script(answer: str, keyword: str, found: bool) -> None:
    assert (_one(answer, keyword) is None) == found


def test_a_long_answer_is_refused_by_its_length() -> None:
    assert _one("yes " * 30, "yes") == "too long: 119 characters of 100 allowed"


def test_a_name_that_looks_like_a_place_is_a_name() -> None:
    odd = plate.parse_plate("+++\nname = '{collaborator}'\n+++\nOdd.")
    assert interview.make_interview(odd, "Bo").questions[0].accepts == ("{collaborator}",)


def test_every_question_needs_an_answer() -> None:
    with pytest.raises(errors.InputInvalid, match="5 answers to 6"):
        interview.judge_interview(interview.make_interview(MIRA), GOOD[1:])


def test_the_outcome_for_the_registry_holds_no_answer() -> None:
    told = interview.judge_interview(interview.make_interview(MIRA), ["a secret"] * 6).to_json()
    assert "secret" not in str(told)


@given(st.text(max_size=80), st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=10))
def test_a_keyword_is_found_in_an_answer_that_is_the_keyword(around: str, keyword: str) -> None:
    assert _one(keyword, keyword, at_most=100) is None
    _one(around, keyword)
