"""What a judge's scores say: little is believed of few judgements, and nothing where nothing was seen."""

from __future__ import annotations

import numpy as np
import pytest

from ccn import errors
from ccn.core.axes import AXES, JUDGED
from ccn.core.character import judgement
from ccn.core.character.confirmation import ProbeVerdict
from ccn.core.character.gaussian import Samples
from ccn.core.character.judgement import JudgeVerdict

JUDGEMENTS = 5


def drawn(seed: int, rows: int, scatter: float, shift: float = 0.0) -> Samples:
    draw = np.random.default_rng(seed)
    scores = np.clip(0.6 + shift + scatter * draw.normal(size=(rows, len(AXES))), 0, 1)
    return np.asarray(scores)


def compare(usual: Samples, suspect: Samples) -> JudgeVerdict | None:
    return judgement.compare_judgements(usual, suspect, np.random.default_rng(5))


@pytest.mark.parametrize("scatter", [0.0, 0.02, 0.05, 0.1])
def test_who_is_as_usual_is_rarely_found_out_of_character(scatter: float) -> None:
    verdicts = [
        compare(drawn(nth, JUDGEMENTS, scatter), drawn(nth + 1000, 1, scatter)[0]) for nth in range(400)
    ]
    assert sum(each is not None and each.drifted for each in verdicts) <= 8


@pytest.mark.parametrize("scatter", [0.0, 0.02, 0.05])
def test_who_is_far_from_usual_is_found(scatter: float) -> None:
    verdicts = [
        compare(drawn(nth, JUDGEMENTS, scatter), drawn(nth + 1000, 1, scatter, -0.3)[0])
        for nth in range(100)
    ]
    assert sum(each is not None and each.drifted for each in verdicts) >= 99


def test_axes_that_a_scorer_of_texts_validates_are_left_to_it() -> None:
    suspect = drawn(1, 1, 0.0)[0]
    suspect[[place for place in range(len(AXES)) if place not in JUDGED]] = 0.0
    verdict = compare(drawn(2, JUDGEMENTS, 0.0), suspect)
    assert verdict is not None
    assert verdict.distance == pytest.approx(0.0)


def test_a_judge_that_saw_too_few_axes_says_nothing() -> None:
    usual, suspect = drawn(1, JUDGEMENTS, 0.02), drawn(2, 1, 0.02)[0]
    suspect[list(JUDGED[:3])] = np.nan
    assert compare(usual, suspect) is None
    assert compare(np.full_like(usual, np.nan), drawn(2, 1, 0.02)[0]) is None


def test_an_axis_that_was_not_seen_counts_for_nothing() -> None:
    usual, suspect = drawn(1, JUDGEMENTS, 0.02), drawn(2, 1, 0.02)[0]
    suspect[JUDGED[0]] = np.nan
    usual[:, JUDGED[1]] = np.nan
    verdict = compare(usual, suspect)
    assert verdict is not None
    assert not verdict.drifted


def test_one_judgement_has_no_scatter() -> None:
    with pytest.raises(errors.InputInvalid):
        compare(drawn(1, 1, 0.0), drawn(2, 1, 0.0)[0])


def test_either_the_scorer_or_the_judge_finds_who_drifted() -> None:
    near, far = JudgeVerdict(1.0, 2.0), JudgeVerdict(3.0, 2.0)
    assert not ProbeVerdict(1.0, 2.0, near).drifted
    assert ProbeVerdict(1.0, 2.0, far).drifted
    assert ProbeVerdict(3.0, 2.0, near).drifted
