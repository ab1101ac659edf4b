"""What is left of a day's budget, and where one day ends and the next begins."""

from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from ccn.core.calls import budget
from ccn.core.calls.budget import Day

ZONES = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Pacific/Chatham"])


def test_what_is_held_is_gone_like_what_is_spent() -> None:
    assert Day(limit=100, spent=40).left == 60
    assert Day(limit=100, spent=40, held=60).left == 0


def test_without_a_limit_nothing_says_what_is_left() -> None:
    assert Day(limit=None, spent=10**12).left is None


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


@given(st.integers(1_577_836_800, 2_208_988_800), ZONES)
def test_the_next_day_begins_within_a_day_and_an_hour(second: int, zone: str) -> None:
    moment = datetime.fromtimestamp(second, UTC)
    renewed = budget.renewed_after(moment, ZoneInfo(zone))
    assert 0 < renewed.timestamp() - moment.timestamp() <= 25 * 3600
    assert (budget.day_of(renewed, ZoneInfo(zone)) - budget.day_of(moment, ZoneInfo(zone))).days == 1
