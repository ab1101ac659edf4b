"""CCC between identical instances and strangers."""

from __future__ import annotations

import numpy as np
import pytest

from ccn.core.character import consistency
from ccn.core.character.gaussian import Samples

STRANGERS = 0.104


def test_instances_that_say_the_same_are_wholly_consistent() -> None:
    window = np.random.default_rng(1).uniform(size=(20, 16))
    found = consistency.estimate_ccc([window, window[::-1], window], STRANGERS)
    assert found is not None
    assert found.ccc == pytest.approx(1)
    assert found.ccc > consistency.ALARM


def test_instances_as_far_apart_as_strangers_score_nothing() -> None:
    step = np.sqrt(STRANGERS)
    found = consistency.estimate_ccc([np.full((20, 16), 0.3), np.full((20, 16), 0.3 + step)], STRANGERS)
    assert found is not None
    assert found.ccc == pytest.approx(0)
    assert found.score == pytest.approx(0)
    assert found.ccc < consistency.ALARM


def test_one_flipped_instance_among_eight_alarms_and_is_named() -> None:
    draw = np.random.default_rng(2)
    fleet = [healthy(draw) for _ in range(8)]
    calm = consistency.estimate_ccc(fleet, STRANGERS)
    fleet[5] = 1 - fleet[5]
    flipped = consistency.estimate_ccc(fleet, STRANGERS)
    assert calm is not None
    assert flipped is not None
    assert calm.ccc > consistency.ALARM
    assert flipped.ccc < consistency.ALARM
    assert flipped.furthest == 5
    assert flipped.score >= 0


def test_only_the_last_messages_count_and_too_few_of_them_do_not() -> None:
    draw = np.random.default_rng(3)
    one, other = healthy(draw), healthy(draw)
    past = np.vstack([np.zeros((50, 16)), one])
    assert consistency.estimate_ccc([past, other], STRANGERS) == consistency.estimate_ccc(
        [one, other], STRANGERS
    )
    assert consistency.estimate_ccc([one, other[: consistency.LEAST - 1]], STRANGERS) is None


def test_an_axis_that_one_of_two_never_shows_takes_no_part() -> None:
    draw = np.random.default_rng(4)
    one, other = healthy(draw), healthy(draw)
    blind = other.copy()
    blind[:, 3] = np.nan
    found = consistency.estimate_ccc([one, blind], STRANGERS)
    fewer = consistency.estimate_ccc([np.delete(one, 3, axis=1), np.delete(other, 3, axis=1)], STRANGERS)
    assert found is not None
    assert fewer is not None
    assert found.ccc == pytest.approx(fewer.ccc)
    assert consistency.estimate_ccc([one, np.full_like(one, np.nan)], STRANGERS) is None


def healthy(draw: np.random.Generator) -> Samples:
    return np.clip(np.linspace(0.3, 0.9, 16) + 0.1 * draw.normal(size=(20, 16)), 0, 1)
