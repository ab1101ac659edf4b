"""How many runs, and which: `--runs N` of each kind, or `--seed N` to see one again."""

from __future__ import annotations

import os
from collections.abc import Sequence

import pytest

RUNS = 24
"""Runs of each kind, unless --runs or CCN_SIMULATION_RUNS asks for more, as CI does."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options for whoever looks for rare things, or at one of them."""
    group = parser.getgroup("simulation")
    group.addoption("--runs", type=int, help="runs of each kind in the simulation of rounds")
    group.addoption("--seed", type=int, help="the one run of each kind to look at")


@pytest.fixture(scope="session")
def seeds(request: pytest.FixtureRequest) -> Sequence[int]:
    """The seeds to run. pytest knows the options only where it was asked for this folder by name."""
    one: int | None = request.config.getoption("--seed", default=None)
    runs: int | None = request.config.getoption("--runs", default=None)
    return range(runs or int(os.environ.get("CCN_SIMULATION_RUNS", RUNS))) if one is None else (one,)
