"""What is done about drift, step by step, and never to too many at once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccn.core.character import ladder
from ccn.core.character.ladder import LadderStep


def test_the_ladder_is_climbed_from_the_gentlest_step() -> None:
    done: list[LadderStep] = [LadderStep.NOTE]
    for _ in range(6):
        done.append(ladder.next_step(done))
    assert done[1:] == [
        LadderStep.REANCHOR,
        *[LadderStep.REINITIALISE] * 3,
        LadderStep.QUARANTINE,
        LadderStep.QUARANTINE,
    ]


@pytest.mark.parametrize(("instances", "room"), [(0, 0), (1, 0), (3, 0), (4, 1), (7, 2), (9, 2), (10, 3)])
def test_at_most_a_third_less_one_may_be_touched(instances: int, room: int) -> None:
    assert ladder.count_touchable(instances, 0) == room


@given(st.integers(0, 1000), st.integers(0, 1000))
def test_those_who_would_be_touched_stay_a_minority(instances: int, touched: int) -> None:
    more = ladder.count_touchable(instances, touched)
    assert more >= 0
    assert more == 0 or 3 * (touched + more) < instances
