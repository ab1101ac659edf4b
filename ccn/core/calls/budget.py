"""A budget for a day, as it is kept: nothing is spent that was not reserved before.

    left ──reserve (at most what the call can cost)──> held ──settle (what it did cost)──> spent
                                                        ├──release (the call was never made)──> left
                                                        └──expire (nobody came back)──> spent, all of it

What is held counts as gone. So spent and held together exceed the limit only by what a call cost beyond its
own reservation, which the bound in `price` rules out. The store runs the same arithmetic in SQL, under the
lock of the day's row.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta, tzinfo


@dataclass(frozen=True, slots=True)
class Day:
    """What a day's budget stands at, in microdollars; without a limit everything fits."""

    limit: int | None
    spent: int = 0
    held: int = 0

    @property
    def left(self) -> int | None:
        """What may still be reserved; None if there is no limit."""
        return None if self.limit is None else max(0, self.limit - self.spent - self.held)


@dataclass(frozen=True, slots=True)
class Shortfall:
    """A reservation that does not fit."""

    wanted: int
    left: int


def reserve(day: Day, amount: int) -> Day | Shortfall:
    """Hold an amount, if all of it fits into what is left."""
    if day.left is not None and amount > day.left:
        return Shortfall(amount, day.left)
    return replace(day, held=day.held + amount)


def settle(day: Day, held: int, cost: int) -> Day:
    """Exchange what was held for what it did cost; a cost of nothing is a release."""
    return replace(day, held=day.held - held, spent=day.spent + cost)


def expire(day: Day, held: int) -> Day:
    """Count as spent what nobody settled: whoever held it is dead, and may have used all of it."""
    return settle(day, held, held)


def correct(day: Day, expired: int, cost: int) -> Day:
    """Settle what had expired: its holder was only slow."""
    return replace(day, spent=day.spent - expired + cost)


def day_of(now: datetime, zone: tzinfo) -> date:
    """The day that a moment belongs to; budgets begin anew at midnight there."""
    return now.astimezone(zone).date()


def renewed_after(now: datetime, zone: tzinfo) -> datetime:
    """When the budgets of the day begin anew."""
    following = day_of(now, zone) + timedelta(days=1)
    return datetime.combine(following, time(), zone)
