"""A budget for one day: what may still be spent, and when the next day begins.

    left ──reserve (at most what the call can cost)──> held ──settle (what it did cost)──> spent
                                                        ├──release (the call was never made)──> left
                                                        └──expire (nobody came back)──> spent, all of it

Reserved money counts as gone. So spent and held together exceed the limit only if a call cost more than was
reserved for it, and the bound in `price` rules that out. The arrows are triggers in `schema/`, which run
under the lock of the day's row; a test compares them with a model of these rules. A node reserves in
`ccn.node.spending.reservation`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo


@dataclass(frozen=True, slots=True)
class Day:
    """The state of a day's budget in microdollars. Without a limit everything fits."""

    limit: int | None
    spent: int = 0
    held: int = 0

    @property
    def left(self) -> int | None:
        """Return what may still be reserved, or None if there is no limit."""
        return None if self.limit is None else max(0, self.limit - self.spent - self.held)


def day_of(now: datetime, zone: tzinfo) -> date:
    """Return the day that a moment belongs to. Budgets begin anew at midnight of this time zone."""
    return now.astimezone(zone).date()


def renewed_after(now: datetime, zone: tzinfo) -> datetime:
    """Return when the budgets of the following day begin."""
    following = day_of(now, zone) + timedelta(days=1)
    return datetime.combine(following, time(), zone)
