"""Histories of one database follow each other; those of two have nothing to do with each other."""

from __future__ import annotations

import pytest

from ccn import errors
from ccn.core.rounds.database_timeline import DatabaseTimeline


def test_a_later_history_of_the_same_database_is_newer() -> None:
    first, second = DatabaseTimeline(-5, 1), DatabaseTimeline(-5, 2)
    assert second.is_newer_than(first)
    assert not first.is_newer_than(second)
    assert not first.is_newer_than(first)
    assert not DatabaseTimeline(6, 9).is_newer_than(first)
    assert not second.is_newer_than(None)


@pytest.mark.parametrize(("system", "timeline"), [(1, 0), (1, 2**32), (2**63, 1), (-(2**63) - 1, 1)])
def test_numbers_that_no_server_has_are_refused(system: int, timeline: int) -> None:
    with pytest.raises(errors.InputInvalid):
        DatabaseTimeline(system, timeline)
