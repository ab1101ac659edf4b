"""The rules of a budget, and that no sequence of them loses or invents a microdollar."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from ccn.core.calls import budget
from ccn.core.calls.budget import Day, Shortfall


def test_a_reservation_that_fits_to_the_last_microdollar_is_held() -> None:
    day = budget.reserve(Day(limit=100, spent=40), 60)
    assert isinstance(day, Day)
    assert (day.held, day.left) == (60, 0)
    assert budget.reserve(day, 1) == Shortfall(wanted=1, left=0)
    assert budget.reserve(day, 0) == day


def test_without_a_limit_everything_fits() -> None:
    day = budget.reserve(Day(limit=None, spent=10**12), 10**12)
    assert isinstance(day, Day)
    assert day.left is None


def test_settling_frees_what_was_not_used() -> None:
    day = budget.settle(Day(limit=100, held=60), 60, 10)
    assert (day.spent, day.held, day.left) == (10, 0, 90)


def test_what_expired_is_spent_until_its_holder_comes_back() -> None:
    day = budget.expire(Day(limit=100, held=60), 60)
    assert (day.spent, day.left) == (60, 40)
    assert budget.correct(day, 60, 10).spent == 10


def test_a_limit_that_was_lowered_leaves_nothing_rather_than_less() -> None:
    assert Day(limit=10, spent=40).left == 0


def test_what_is_spent_is_renewed_at_the_next_midnight_of_the_zone_also_when_clocks_are_set() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    for now, hours in (((2026, 1, 5, 22, 59), 0), ((2026, 1, 5, 23, 0), 24), ((2026, 3, 28, 23, 0), 23)):
        moment = datetime(*now, tzinfo=UTC)
        renewed = budget.renewed_after(moment, berlin)
        assert renewed.timestamp() - moment.timestamp() in {hours * 3600, 60}
        assert budget.day_of(renewed, berlin) > budget.day_of(moment, berlin)


def test_a_day_begins_at_midnight_of_its_zone() -> None:
    late = datetime(2026, 1, 5, 23, 30, tzinfo=UTC)
    assert budget.day_of(late, ZoneInfo("UTC")) == date(2026, 1, 5)
    assert budget.day_of(late, ZoneInfo("Europe/Berlin")) == date(2026, 1, 6)
    assert budget.day_of(late, ZoneInfo("America/New_York")) == date(2026, 1, 5)


@dataclass
class Life:
    """Reservations and what became of them, counted apart from the day."""

    day: Day
    held: list[int] = field(default_factory=list)
    expired: list[int] = field(default_factory=list)
    costs: int = 0


STEPS = st.lists(
    st.tuples(st.sampled_from(("reserve", "settle", "release", "expire", "correct")), st.integers(0, 50)),
    max_size=60,
)


@given(st.integers(0, 200), STEPS)
def test_nothing_is_overspent_and_nothing_is_lost_whatever_happens(
    limit: int, steps: list[tuple[str, int]]
) -> None:
    life = Life(Day(limit))
    for what, number in steps:
        _step(life, what, number)
        assert life.day.held == sum(life.held)
        assert life.day.spent == life.costs + sum(life.expired)
        assert life.day.spent + life.day.held <= limit


def _step(life: Life, what: str, number: int) -> None:
    if what == "reserve":
        match budget.reserve(life.day, number):
            case Day() as day:
                life.day = day
                life.held.append(number)
            case Shortfall(wanted, left):
                assert wanted > left
    elif what == "correct" and life.expired:
        amount = life.expired.pop()
        cost = min(number, amount)
        life.day, life.costs = budget.correct(life.day, amount, cost), life.costs + cost
    elif what != "correct" and life.held:
        amount = life.held.pop(number % len(life.held))
        if what == "expire":
            life.day = budget.expire(life.day, amount)
            life.expired.append(amount)
        else:
            cost = min(number, amount) if what == "settle" else 0
            life.day, life.costs = budget.settle(life.day, amount, cost), life.costs + cost
