"""The alarm and its confirmation on scores drawn from a character that is known."""

from __future__ import annotations

import numpy as np
import pytest

from ccn import errors
from ccn.core.character import alarm, confirmation
from ccn.core.character.gaussian import Samples

AXES = tuple(range(11))
MIXED = np.random.default_rng(0).normal(size=(16, 16)) * 0.05


def test_a_healthy_instance_hardly_ever_alarms() -> None:
    draw = np.random.default_rng(1)
    baseline = alarm.learn_baseline(spoken(draw, 480), AXES, draw)
    alarmed = sum(first(baseline, spoken(draw, alarm.RUN)) is not None for _ in range(100))
    assert alarmed <= 15  # 5 are due; 15 and more come about once in five thousand times


@pytest.mark.parametrize(("share", "within"), [(1.0, 8), (0.5, 25), (0.25, 80)])
def test_an_instance_out_of_character_alarms_soon(share: float, within: int) -> None:
    draw = np.random.default_rng(2)
    baseline = alarm.learn_baseline(spoken(draw, 480), AXES, draw)
    delays = [first(baseline, spoken(draw, 200, off=share)) for _ in range(21)]
    found = sorted(each for each in delays if each is not None)
    assert len(found) >= 20
    assert found[len(found) // 2] <= within


def test_what_a_message_does_not_show_is_no_evidence() -> None:
    draw = np.random.default_rng(3)
    baseline = alarm.learn_baseline(spoken(draw, 300), AXES, draw)
    silent = np.full(16, np.nan)
    watch = alarm.Watch.start(baseline)
    assert not alarm.is_raised(watch, baseline)
    for _ in range(50):
        watch = alarm.follow_message(watch, baseline, silent)
    assert alarm.measure_distance(watch, baseline) == 0


def test_axes_that_do_not_count_move_nothing() -> None:
    draw = np.random.default_rng(4)
    baseline = alarm.learn_baseline(spoken(draw, 300), AXES, draw)
    said, other = spoken(draw, 1)[0], None
    other = said.copy()
    other[11:] = 0.0
    one, two = (alarm.follow_message(alarm.Watch.start(baseline), baseline, each) for each in (said, other))
    assert alarm.measure_distance(one, baseline) == alarm.measure_distance(two, baseline)


def test_a_narrow_baseline_is_refused() -> None:
    draw = np.random.default_rng(5)
    with pytest.raises(errors.InputInvalid, match="needs 240 scored messages, not 239"):
        alarm.learn_baseline(spoken(draw, 239), AXES, draw)


def test_probes_confirm_who_changed_and_clear_who_did_not() -> None:
    draw = np.random.default_rng(6)
    topics = draw.normal(size=(8, 1, 16)) * 0.15  # what a question is about moves its answers
    baseline = confirmation.learn_baseline(topics + spoken(draw, 40).reshape(8, 5, 16), AXES, draw)
    healthy = [confirmation.judge_answers(baseline, topics[:, 0] + spoken(draw, 8)) for _ in range(200)]
    changed = [
        confirmation.judge_answers(baseline, topics[:, 0] + spoken(draw, 8, off=1)) for _ in range(200)
    ]
    assert sum(each.drifted for each in healthy) <= 10  # 2 are due
    assert sum(each.drifted for each in changed) >= 196


def test_probes_that_could_not_be_scored_are_left_out_until_too_few_are_left() -> None:
    draw = np.random.default_rng(7)
    baseline = confirmation.learn_baseline(spoken(draw, 40).reshape(8, 5, 16), AXES, draw)
    answers = spoken(draw, 8)
    answers[:3] = np.nan
    assert not confirmation.judge_answers(baseline, answers).drifted
    answers[:4] = np.nan
    with pytest.raises(errors.InputInvalid, match="only 4 of 8 answers"):
        confirmation.judge_answers(baseline, answers)


def test_an_incomplete_baseline_of_probes_is_refused() -> None:
    draw = np.random.default_rng(8)
    with pytest.raises(errors.InputInvalid, match="5 answers to each of 8 questions, not 4 to 8"):
        confirmation.learn_baseline(spoken(draw, 32).reshape(8, 4, 16), AXES, draw)
    holes = spoken(draw, 40).reshape(8, 5, 16)
    holes[3, 2, 1] = np.nan
    with pytest.raises(errors.InputInvalid, match="could not be scored"):
        confirmation.learn_baseline(holes, AXES, draw)


def spoken(draw: np.random.Generator, messages: int, off: float = 0.0) -> Samples:
    """Scores whose axes move together; a share of the messages is of somebody else."""
    scores = 0.6 + draw.normal(size=(messages, 16)) @ MIXED + 0.05 * draw.normal(size=(messages, 16))
    other = draw.uniform(size=(messages, 1)) < off
    return np.where(other, scores - 0.25, scores)


def first(baseline: alarm.AlarmBaseline, scores: Samples) -> int | None:
    """After how many messages the alarm was raised."""
    watch = alarm.Watch.start(baseline)
    for number, row in enumerate(scores, 1):
        watch = alarm.follow_message(watch, baseline, row)
        if alarm.is_raised(watch, baseline):
            return number
    return None
