"""Covariances that can be inverted, and information with its analytic values."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ccn.core.character import gaussian


@pytest.mark.parametrize("correlation", [0.0, 0.3, -0.8])
def test_two_variables_share_what_their_correlation_says(correlation: float) -> None:
    covariance = np.array([[1.0, correlation], [correlation, 1.0]])
    expected = -0.5 * math.log(1 - correlation**2)
    assert gaussian.mutual_information(covariance, [0], [1]) == pytest.approx(expected)


def test_information_does_not_depend_on_units() -> None:
    covariance = np.array([[4.0, 1.0], [1.0, 9.0]])
    scaled = covariance * np.outer([10, 0.1], [10, 0.1])
    assert gaussian.mutual_information(covariance, [0], [1]) == pytest.approx(
        gaussian.mutual_information(scaled, [0], [1])
    )


def test_fewer_samples_than_variables_still_have_an_inverse() -> None:
    samples = np.random.default_rng(1).normal(size=(5, 20))
    covariance = gaussian.shrink_covariance(samples)
    assert np.linalg.matrix_rank(np.cov(samples.T)) < 20
    assert np.allclose(gaussian.invert_covariance(covariance) @ covariance, np.eye(20))


def test_many_samples_are_hardly_shrunk() -> None:
    truth = np.array([[1.0, 0.6], [0.6, 2.0]])
    samples = np.random.default_rng(2).multivariate_normal([0, 0], truth, size=20_000)
    assert np.allclose(gaussian.shrink_covariance(samples), truth, atol=0.06)


def test_a_stack_is_shrunk_one_by_one() -> None:
    stack = np.random.default_rng(3).normal(size=(4, 30, 3))
    each = [gaussian.shrink_covariance(samples) for samples in stack]
    assert np.allclose(gaussian.shrink_covariance(stack), each)


def test_each_moment_stands_beside_the_one_before_it() -> None:
    series = np.array([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]])
    assert gaussian.pair_with_past(series).tolist() == [[1, 10, 2, 20], [2, 20, 3, 30]]


def test_a_column_that_never_moves_stays_zero() -> None:
    standard = gaussian.standardise_columns(np.array([[1.0, 5.0], [3.0, 5.0]]))
    assert standard.tolist() == [[-1, 0], [1, 0]]
