"""Weights are a file of numbers that fit each other, or no weights at all."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pytest

from ccn import errors
from ccn.core.axes import AXES
from ccn.core.character.scoring import features, linear

EACH = [1.0] * len(AXES)
BY_AXIS: dict[str, Sequence[object]] = {
    "unit": [*EACH],
    "lexicon": [*EACH],
    "middle": [EACH, EACH],
    "spread": [EACH, EACH],
}
TABLE = np.zeros((features.TABLE, len(AXES)), dtype=np.int8)
WORDS = ["i", "am", "glad", "that", "you", "are", "here", "today"]


def dump(**change: Sequence[object]) -> bytes:
    return linear.dump_weights("test", TABLE, {**BY_AXIS, **change}, {"of": "a test"})


def change_header(**change: object) -> bytes:
    header, body = dump()[len(linear.MAGIC) :].split(b"\n", 1)
    return linear.MAGIC + json.dumps({**json.loads(header), **change}).encode() + b"\n" + body


def test_weights_of_nothing_leave_every_axis_as_far_from_the_middle_as_nothing_is() -> None:
    weights = linear.parse_weights(dump(lexicon=[0.0] * len(AXES), middle=[[0.0] * len(AXES)] * 2))
    assert linear.score_words(weights, WORDS) == [0.5] * len(AXES)


def test_a_sum_beyond_all_bounds_is_a_score_all_the_same() -> None:
    far = [[1e300] * len(AXES)] * 2
    weights = linear.parse_weights(dump(middle=far, spread=[[1e-300] * len(AXES)] * 2))
    with np.errstate(over="ignore"):
        assert all(0 <= score < 1e-12 for score in linear.score_words(weights, WORDS))


@pytest.mark.parametrize("name", BY_AXIS)
@pytest.mark.parametrize(
    "numbers", [[], [1.0], EACH[:-1], [*EACH, 1.0], [EACH], [EACH, EACH, EACH], [EACH, EACH[:-1]], 1.0]
)
def test_a_number_too_few_or_too_many_for_the_axes_is_refused(name: str, numbers: object) -> None:
    with pytest.raises(errors.InputInvalid, match="no file of scorer weights"):
        linear.parse_weights(change_header(**{name: numbers}))


@pytest.mark.parametrize("number", [float("nan"), float("inf"), None, "x", {}])
@pytest.mark.parametrize("name", ["unit", "lexicon"])
def test_what_is_no_number_is_refused(name: str, number: object) -> None:
    with pytest.raises(errors.InputInvalid, match="no file of scorer weights"):
        linear.parse_weights(change_header(**{name: [number, *EACH[1:]]}))


@pytest.mark.parametrize("spread", [0.0, -1.0, float("nan")])
def test_a_spread_that_nothing_can_be_measured_in_is_refused(spread: float) -> None:
    with pytest.raises(errors.InputInvalid, match="no file of scorer weights"):
        linear.parse_weights(dump(spread=[EACH, [spread, *EACH[1:]]]))


@pytest.mark.parametrize(
    "change",
    [
        {"axes": list(AXES[:-1])},
        {"axes": [*AXES[1:], AXES[0]]},
        {"axes": None},
        {"places": features.TABLE - 1},
        {"places": float("inf")},
        {"places": "many"},
        {"unit": None},
    ],
)
def test_weights_for_other_axes_or_another_table_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(errors.InputInvalid, match="no file of scorer weights"):
        linear.parse_weights(change_header(**change))


def test_a_table_that_was_cut_off_or_has_more_behind_it_is_refused() -> None:
    for content in (dump()[:-1], dump() + b"\0", dump()[: -len(AXES)], b"\0" + dump(), dump()[1:]):
        with pytest.raises(errors.InputInvalid):
            linear.parse_weights(content)


def test_a_header_that_is_nested_without_end_is_refused() -> None:
    with pytest.raises(errors.InputInvalid):
        linear.parse_weights(linear.MAGIC + b"[" * 100_000 + b"\n")


def test_one_number_more_in_the_table_is_another_hash() -> None:
    table = TABLE.copy()
    table[-1, -1] = 1
    first = linear.parse_weights(dump())
    second = linear.parse_weights(linear.dump_weights("test", table, BY_AXIS, {"of": "a test"}))
    assert first.version == second.version
    assert first.sha256 != second.sha256
