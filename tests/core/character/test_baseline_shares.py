"""Nobody says alone what is usual where others talk with the character too."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccn.core.chain.result import SHARED
from ccn.core.character import baseline_shares

counts = st.lists(st.integers(0, 480), max_size=12)


@given(replies=counts)
def test_nobody_gives_more_than_their_portion(replies: list[int]) -> None:
    needed, each = baseline_shares.owners_needed(replies), baseline_shares.largest_portion(replies)
    taken = [min(each, count) for count in replies]
    assert all(given * needed <= sum(taken) for given in taken)
    more = [min(each + 1, count) for count in replies]
    assert more == taken or max(more) * needed > sum(more), "and no more could be taken"


@given(replies=counts)
def test_who_has_most_gets_no_larger_portion_by_saying_more(replies: list[int]) -> None:
    others = [*replies, baseline_shares.QUIET]
    before = baseline_shares.largest_portion([*others, 10_000])
    assert baseline_shares.largest_portion([*others, 1_000_000]) == before


@pytest.mark.parametrize(
    ("replies", "needed", "each"),
    [
        ([], 1, 0),
        ([480], 1, 480),
        ([480, baseline_shares.QUIET - 1], 1, 480),
        ([480, 10, 9], 1, 480),
        ([480, baseline_shares.QUIET], 2, 20),
        ([480, 120], 2, 120),
        ([480, 10, 10], 3, 10),
        ([480, 160, 160], 3, 160),
        ([1] * 30, 3, 1),
        ([480, *[1] * 29], 3, 14),
    ],
)
def test_how_many_people_it_takes(replies: list[int], needed: int, each: int) -> None:
    assert (baseline_shares.owners_needed(replies), baseline_shares.largest_portion(replies)) == (
        needed,
        each,
    )
    assert needed <= SHARED
