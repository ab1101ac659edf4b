"""The pins are what pyproject.toml asks for, and a change of one without the other is noticed."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts import pins


@pytest.fixture
def project(root: Path) -> str:
    return (root / "pyproject.toml").read_text()


@pytest.fixture
def constraints(root: Path) -> str:
    return (root / "scripts/constraints.txt").read_text()


def test_the_pins_fit_the_project(project: str, constraints: str) -> None:
    assert list(pins.complaints(project, constraints)) == []


def test_a_new_dependency_without_a_pin_is_noticed(project: str, constraints: str) -> None:
    asked = project.replace('    "aetcd>=1.0",', '    "aetcd>=1.0",\n    "a-new-library>=1",')
    assert list(pins.complaints(asked, constraints)) == ["a-new-library>=1 is not pinned"]


def test_a_raised_minimum_without_a_new_pin_is_noticed(project: str, constraints: str) -> None:
    asked = project.replace('"aetcd>=1.0"', '"aetcd>=99"')
    (complaint,) = pins.complaints(asked, constraints)
    assert complaint.startswith("aetcd>=99 is pinned at")


def test_a_pin_without_a_hash_is_noticed(project: str, constraints: str) -> None:
    loosened = constraints.replace("aetcd==", "six==1.17.0\naetcd==", 1)
    assert list(pins.complaints(project, loosened)) == ["no hash: six==1.17.0"]


def test_a_pin_that_nothing_needs_any_more_is_noticed(project: str, constraints: str) -> None:
    asked = project.replace('    "import-linter>=2.1",\n', "")
    assert "nothing needs import-linter" in list(pins.complaints(asked, constraints))
