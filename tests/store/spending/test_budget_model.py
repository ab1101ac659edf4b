"""The database's budget against a model of its rules: whatever calls do, both keep the same sums."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import pytest

from ccn import errors
from ccn.core.calls.call import TokenUsage
from ccn.core.ids import CharacterId
from ccn.store.spending import spend
from ccn.store.spending.spend import Reservation
from tests.support.store import reservations

if TYPE_CHECKING:
    from tests.support.store.open_store import Store

LIMIT = 200
DAYS = (date(2028, 1, 1) + timedelta(days=number) for number in itertools.count())
STEPS = ("reserve", "reserve", "settle", "release", "expire")


@dataclass
class BudgetModel:
    """A day's budget as plain arithmetic. An expired reservation counts as spent until its call ends."""

    limit: int
    spent: int = 0
    held: dict[UUID, int] = field(default_factory=dict)
    expired: dict[UUID, int] = field(default_factory=dict)

    @property
    def sums(self) -> tuple[int, int]:
        return self.spent + sum(self.expired.values()), sum(self.held.values())

    def reserve(self, reservation: UUID, amount: int) -> bool:
        fits = sum(self.sums) + amount <= self.limit
        if fits:
            self.held[reservation] = amount
        return fits

    def end(self, reservation: UUID, cost: int) -> bool:
        known = reservation in self.held or reservation in self.expired
        self.held.pop(reservation, None)
        self.expired.pop(reservation, None)
        self.spent += cost if known else 0
        return known

    def expire(self) -> int:
        count = len(self.held)
        self.expired |= self.held
        self.held.clear()
        return count


@pytest.mark.parametrize("seed", range(4))
async def test_the_database_keeps_the_sums_of_the_model_whatever_calls_do(store: Store, seed: int) -> None:
    dice, day, model = random.Random(seed), next(DAYS), BudgetModel(LIMIT)
    known = [uuid4()]
    for _ in range(80):
        step, amount = dice.choice(STEPS), dice.randrange(60)
        some = dice.choice(known)
        if step == "reserve":
            known.append(uuid4())
            assert await _reserve(store, known[-1], day, amount) == model.reserve(known[-1], amount)
        elif step == "settle":
            settled = await reservations.settle_reservation(store.pool, some, TokenUsage(1), amount // 2)
            assert settled == model.end(some, amount // 2)
        elif step == "release":
            assert await reservations.release_reservation(store.pool, some) == model.end(some, 0)
        else:
            late = store.clock.forward(hours=5)
            assert await spend.expire_held(store.pool, late) == model.expire()
        total = await spend.day_total(store.pool, day)
        assert (total.spent, total.held) == model.sums


async def _reserve(store: Store, reservation: UUID, day: date, amount: int) -> bool:
    """Whether the amount fitted into what was left of the day."""
    wanted = Reservation(reservation, day, store.clock.now, CharacterId("ada"), None, "model-1", LIMIT)
    try:
        await reservations.reserve_amount(store.pool, wanted, amount)
    except errors.BudgetSpent:
        return False
    return True
