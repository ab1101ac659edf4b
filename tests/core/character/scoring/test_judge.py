"""What the judge is asked, what it is not told, and how answers become one judgement."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccn import errors
from ccn.core.axes import AXES
from ccn.core.character.scoring import judge
from ccn.core.character.scoring.scorer import TextScores

answers = st.lists(
    st.tuples(*[st.none() | st.floats(0, 1)] * len(AXES)).map(lambda scores: TextScores(scores, {})),
    min_size=1,
    max_size=5,
)


def told(**scores: object) -> TextScores:
    return judge.scores_from_answer(dict.fromkeys(AXES) | scores)


def test_the_question_holds_every_rubric_and_the_messages_and_nothing_else() -> None:
    call = judge.make_question("model-1", ["Hello there.", 'She said "no".'])
    assert all(f"{axis}: " in call.system[0].text for axis in AXES)
    assert [said.text for said in call.messages] == ['["Hello there.", "She said \\"no\\"."]']


@pytest.mark.parametrize("count", [0, 11])
def test_a_window_has_one_to_ten_messages(count: int) -> None:
    with pytest.raises(errors.InputInvalid, match="1 to 10"):
        judge.make_question("model-1", ["x"] * count)


@pytest.mark.parametrize("nonsense", [None, True, "0.5", -0.1, 1.1, float("nan"), [0.5]])
def test_what_is_no_score_counts_as_not_observed(nonsense: object) -> None:
    assert told(honesty=nonsense).scores[0] is None
    assert "honesty" in told(honesty=nonsense).unobserved


def test_an_axis_counts_when_most_answers_observed_it() -> None:
    three = [told(honesty=0.9, humility=0.2), told(honesty=0.1, humility=None), told(honesty=0.8)]
    assert judge.agree_scores(three).scores[:3] == (0.8, None, None)
    assert "humility" in judge.agree_scores(three).unobserved


@given(given_answers=answers)
def test_a_judgement_lies_within_its_answers(given_answers: list[TextScores]) -> None:
    for axis, score in enumerate(judge.agree_scores(given_answers).scores):
        seen = [value for each in given_answers if (value := each.scores[axis]) is not None]
        assert score is None or min(seen) <= score <= max(seen)


def test_no_answer_is_no_judgement() -> None:
    with pytest.raises(errors.InputInvalid):
        judge.agree_scores([])
