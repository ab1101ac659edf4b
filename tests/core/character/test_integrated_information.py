"""Phi against its closed form, against a slow search over all cuts, and on series that hold nothing."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest

from ccn.core.character import gaussian, integrated_information
from ccn.core.character.gaussian import Samples


@pytest.mark.parametrize("a", [0.1, 0.2, 0.3, 0.4])
def test_two_coupled_nodes_give_the_closed_form(a: float) -> None:
    found = integrated_information.find_minimum_cut(joint(a * np.ones((2, 2))))
    assert found.phi_e == pytest.approx(
        -0.5 * math.log(1 - 4 * a**2) + math.log(1 - (a / (1 - 2 * a**2)) ** 2)
    )


def test_the_published_example_is_met_with_and_without_the_redundancy() -> None:
    found = integrated_information.find_minimum_cut(joint(0.3 * np.ones((2, 2))))
    assert found.phi_e == pytest.approx(0.079448, abs=1e-6)
    assert found.phi_r == pytest.approx(0.1513, abs=1e-4)


@pytest.mark.parametrize("size", [2, 3, 4, 5, 6])
@pytest.mark.parametrize("seed", range(3))
def test_the_recursion_finds_what_a_slow_search_finds(size: int, seed: int) -> None:
    covariance = joint(coupling(size, seed))
    found, (part, phi_e, phi_r) = integrated_information.find_minimum_cut(covariance), slow(covariance)
    assert found.part == part
    assert (found.phi_e, found.phi_r) == pytest.approx((phi_e, phi_r))


def test_parts_that_do_not_touch_integrate_nothing() -> None:
    apart = np.diag([0.8, 0.5, 0.3, 0.6])
    assert integrated_information.find_minimum_cut(joint(apart)).phi_e == pytest.approx(0, abs=1e-12)


def test_a_coupled_series_scores_and_an_uncoupled_one_does_not() -> None:
    draw = np.random.default_rng(5)
    coupled = integrated_information.estimate_phi(series(coupling(6, 2), 200, draw), draw)
    alone = integrated_information.estimate_phi(series(np.diag([0.5] * 6), 200, draw), draw)
    assert coupled is not None
    assert alone is not None
    assert coupled.phi > 0.05 > abs(alone.phi)
    assert 0 <= alone.score < coupled.score <= 1


def test_phi_is_not_estimable_from_too_little() -> None:
    draw = np.random.default_rng(5)
    long = series(coupling(4, 1), 200, draw)
    assert integrated_information.estimate_phi(long[: integrated_information.LEAST - 1], draw) is None
    assert integrated_information.estimate_phi(long[:, :1], draw) is None
    assert integrated_information.estimate_phi(np.full((200, 16), 0.5), draw) is None
    gaps = np.where(np.arange(200)[:, None] % 3 == 0, long, np.nan)
    assert integrated_information.estimate_phi(gaps, draw) is None


def test_at_most_six_variables_are_taken_and_they_are_the_liveliest() -> None:
    draw = np.random.default_rng(7)
    window = draw.normal(size=(200, 16)) * np.where(np.arange(16) % 3 == 0, 1.0, 0.01)
    found = integrated_information.estimate_phi(window, draw)
    assert found is not None
    assert found.variables == (0, 3, 6, 9, 12, 15)
    assert set(found.part) < set(found.variables)


def joint(coupled: Samples) -> Samples:
    """The covariance of past and present of x' = A x + noise."""
    size = len(coupled)
    flat = np.linalg.solve(np.eye(size**2) - np.kron(coupled, coupled), np.eye(size).reshape(-1))
    still = flat.reshape(size, size)
    across = still @ coupled.T
    return np.block([[still, across], [across.T, still]])


def coupling(size: int, seed: int) -> Samples:
    drawn = np.random.default_rng(seed).normal(size=(size, size))
    return np.asarray(drawn * 0.8 / np.abs(np.linalg.eigvals(drawn)).max())


def series(coupled: Samples, length: int, draw: np.random.Generator) -> Samples:
    now, rows = np.zeros(len(coupled)), []
    for _ in range(length + 50):
        now = coupled @ now + draw.normal(size=len(coupled))
        rows.append(now)
    return np.array(rows[50:])


def slow(covariance: Samples) -> tuple[tuple[int, ...], float, float]:
    """Every cut, by its definition."""
    size = len(covariance) // 2
    everything = tuple(range(size))

    def told(one: tuple[int, ...], other: tuple[int, ...]) -> float:
        return gaussian.mutual_information(covariance, list(one), [size + each for each in other])

    def entropy(part: tuple[int, ...]) -> float:
        rows = [size + each for each in part]
        return 0.5 * float(np.linalg.slogdet(2 * math.pi * math.e * covariance[np.ix_(rows, rows)])[1])

    best: tuple[float, tuple[int, ...], float, float] | None = None
    for width in range(1, size):
        for part in combinations(everything[:-1], width):
            rest = tuple(each for each in everything if each not in part)
            phi_e = told(everything, everything) - told(part, part) - told(rest, rest)
            phi_r = phi_e + min(told(part, part), told(rest, rest), told(part, rest), told(rest, part))
            scaled = phi_r / min(entropy(part), entropy(rest))
            if best is None or scaled < best[0] - 1e-12:
                best = (scaled, part, phi_e, phi_r)
    assert best is not None
    return best[1:]
