"""The state follows the scores, exactly and alike everywhere."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ccn.core.axes import UNIT, Vector
from ccn.core.character import state

values = st.none() | st.integers(0, UNIT)
vectors = st.tuples(*[values] * 16).map(Vector)


def test_the_first_scores_are_the_state() -> None:
    scores = Vector((400_000, None) * 8)
    assert state.follow_scores(None, scores) == scores


def test_a_tenth_of_the_difference_is_taken() -> None:
    before, now = Vector((500_000,) * 16), Vector((700_000,) * 16)
    assert state.follow_scores(before, now) == Vector((520_000,) * 16)


def test_an_axis_that_is_not_observed_stays_and_one_seen_first_begins() -> None:
    before, now = Vector((500_000, None) * 8), Vector((None, 300_000) * 8)
    assert state.follow_scores(before, now) == Vector((500_000, 300_000) * 8)


@given(vectors, vectors)
def test_the_state_lies_between_what_it_was_and_the_scores(before: Vector, now: Vector) -> None:
    after = state.follow_scores(before, now)
    for was, seen, moved in zip(before.millionths, now.millionths, after.millionths, strict=True):
        known = [each for each in (was, seen) if each is not None]
        assert moved is None if not known else moved is not None and min(known) <= moved <= max(known)


@given(vectors, vectors)
def test_up_and_down_are_alike(before: Vector, now: Vector) -> None:
    upside_down = state.follow_scores(_mirrored(before), _mirrored(now))
    assert upside_down == _mirrored(state.follow_scores(before, now))


def _mirrored(vector: Vector) -> Vector:
    return Vector(tuple(None if each is None else UNIT - each for each in vector.millionths))
