"""The life of a turn, arrow by arrow."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccn import errors
from ccn.core import turn
from ccn.core.turn import TurnStatus

ARROWS = {
    ("accepted", "running"),
    ("accepted", "failed"),
    ("accepted", "cancelled"),
    ("running", "running"),
    ("running", "committed"),
    ("running", "failed"),
    ("running", "cancelled"),
}


@pytest.mark.parametrize(("now", "to"), list(itertools.product(TurnStatus, TurnStatus)))
def test_a_turn_moves_along_the_arrows_and_nowhere_else(now: TurnStatus, to: TurnStatus) -> None:
    if (now.value, to.value) in ARROWS:
        assert turn.move_status(now, to) is to
    else:
        with pytest.raises(errors.TransitionRefused, match=f"{now.value} cannot become {to.value}"):
            turn.move_status(now, to)


@given(wishes=st.lists(st.sampled_from(TurnStatus), max_size=30))
def test_a_turn_is_committed_at_most_once_and_never_after_its_end(wishes: list[TurnStatus]) -> None:
    now, reached = TurnStatus.ACCEPTED, list[TurnStatus]()
    for wish in wishes:
        if wish in turn.NEXT[now]:
            now = turn.move_status(now, wish)
            reached.append(now)
    ends = [status for status in reached if turn.is_ended(status)]
    assert len(ends) <= 1
    assert not ends or reached[-1] is ends[0]
    assert TurnStatus.COMMITTED not in reached or TurnStatus.RUNNING in reached


@pytest.mark.parametrize("status", TurnStatus)
def test_a_turn_has_ended_when_nothing_can_follow(status: TurnStatus) -> None:
    assert turn.is_ended(status) == (status.value in {"committed", "failed", "cancelled"})
