"""A message on its way in: who came before it, and what becomes of it when its host dies meanwhile."""

from __future__ import annotations

from uuid import UUID

from ccn.core.ids import ConversationId, TurnId
from ccn.node.acceptance import Arrivals

TALK, OTHER = ConversationId(UUID(int=1)), ConversationId(UUID(int=2))
FIRST, SECOND, THIRD = (TurnId(UUID(int=number)) for number in (11, 12, 13))


def test_each_arrival_is_told_of_those_before_it_in_its_conversation() -> None:
    arrivals = Arrivals()
    with arrivals.announce(TALK, FIRST) as before_first, arrivals.announce(OTHER, THIRD) as before_third:
        with arrivals.announce(TALK, SECOND) as before_second:
            assert before_first == before_third == frozenset()
            assert before_second == frozenset({FIRST})
            assert (arrivals.count(TALK), arrivals.count(OTHER)) == (2, 1)
        assert arrivals.count(TALK) == 1


def test_who_was_let_in_or_refused_is_no_arrival_any_more() -> None:
    arrivals = Arrivals()
    try:
        with arrivals.announce(TALK, FIRST):
            raise ZeroDivisionError
    except ZeroDivisionError:
        assert arrivals.count(TALK) == 0
    with arrivals.announce(TALK, SECOND) as before:
        assert before == frozenset()
