"""Psi on series whose answer is known: copies, strangers, and a whole that its parts hide."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ccn.core.character import emergence
from ccn.core.character.gaussian import Samples

LONG = 20_000


def test_copies_of_one_series_are_each_counted() -> None:
    one = autoregressive(0.8, LONG, np.random.default_rng(1))
    copies = 4
    expected = (1 - copies) * -0.5 * math.log(1 - 0.8**2)
    assert emergence.compute_psi(one, [one] * copies) == pytest.approx(expected, abs=0.05)


def test_the_mean_of_strangers_says_more_than_they_do_one_by_one() -> None:
    draw = np.random.default_rng(2)
    alone = [autoregressive(math.sqrt(0.5), LONG, draw) for _ in range(4)]
    whole = np.mean(alone, axis=0)
    expected = 0.5 * math.log(2) - 4 * 0.5 * math.log(8 / 7)  # 0.080
    assert emergence.compute_psi(whole, alone) == pytest.approx(expected, abs=0.02)


def test_a_whole_that_its_parts_hide_is_emergent() -> None:
    draw = np.random.default_rng(3)
    kept, hiding = autoregressive(0.8, LONG, draw), 5 * draw.normal(size=LONG)
    parts = [kept + hiding, kept - hiding]
    assert emergence.compute_psi(np.mean(parts, axis=0), parts) > 0.4


def test_an_estimate_says_what_chance_would_give_and_stays_in_its_range() -> None:
    draw = np.random.default_rng(4)
    alike = draw.normal(size=(150, 1)).cumsum(axis=0)
    fleet = [alike + 0.1 * draw.normal(size=(150, 16)) for _ in range(3)]
    found = emergence.estimate_psi(np.median(fleet, axis=0), fleet, draw)
    assert found is not None
    assert found.psi < found.by_chance
    assert 0 <= found.score < 0.5


def test_psi_is_not_estimable_from_too_little() -> None:
    draw = np.random.default_rng(5)
    fleet = [draw.normal(size=(emergence.LEAST, 16)) for _ in range(3)]
    whole = np.median(fleet, axis=0)
    assert emergence.estimate_psi(whole, fleet, draw) is not None
    assert emergence.estimate_psi(whole[1:], [each[1:] for each in fleet], draw) is None
    assert emergence.estimate_psi(whole, fleet[:1], draw) is None
    assert emergence.estimate_psi(np.zeros_like(whole), fleet, draw) is None
    fleet[0][7, 3] = np.nan  # one moment less
    assert emergence.estimate_psi(whole, fleet, draw) is None


def autoregressive(weight: float, length: int, draw: np.random.Generator) -> Samples:
    noise, now, values = draw.normal(size=length), 0.0, np.zeros(length)
    for each in range(length):
        now = weight * now + noise[each]
        values[each] = now
    return values
