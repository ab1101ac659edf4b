"""How many replies of each person a baseline may use, so that no single person decides what is usual.

A baseline is learnt from replies. Replies to the person it was learnt from never look unusual. So one
person's replies make a baseline only if nobody else talks with the character. Of two people, each gives
half. Of three or more, nobody gives more than a third. Others count only once they have said enough
together. Otherwise one greeting of a second person would leave a laptop without a baseline.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence

from ccn.core.chain.result import SHARED

QUIET = 20
"""Replies that all others together must have before they count."""


def owners_needed(replies: Sequence[int]) -> int:
    """Return how many people a baseline must have. `replies` has the number of replies of each person."""
    alone = sum(replies) - max(replies, default=0) < QUIET
    return 1 if alone else min(SHARED, sum(count > 0 for count in replies))


def largest_portion(replies: Sequence[int]) -> int:
    """Return how many replies may be taken of each person, so that none gives more than a share."""
    needed = owners_needed(replies)

    def too_many(each: int) -> bool:
        """True from some number on: what is taken in all grows ever more slowly."""
        return each * needed > sum(min(each, count) for count in replies)

    return bisect.bisect_left(range(1, max(replies, default=0) + 1), True, key=too_many)
