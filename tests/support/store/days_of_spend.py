"""Reservations that each have a day of their own, and what the database counts of them."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import date, timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

from ccn.core.calls.call import TokenUsage
from ccn.core.ids import CharacterId, ConversationId
from ccn.store.spending import spend
from ccn.store.spending.spend import Reservation, UsageTotal

if TYPE_CHECKING:
    from tests.support.store.open_store import Store

ADA = CharacterId("ada")
NOTHING = UsageTotal(0, TokenUsage(), 0)
DAYS = (date(2027, 1, 1) + timedelta(days=number) for number in itertools.count())
"""Each for one reservation: what another test spent is of another day."""


async def wanted(
    store: Store, limit: int | None = None, *, day: date | None = None, character_limit: int | None = None
) -> Reservation:
    here = await store.conversation()
    at = day or next(DAYS)
    return Reservation(uuid4(), at, store.clock.now, ADA, here, "model-1", limit, character_limit)


def again(reservation: Reservation) -> Reservation:
    return replace(reservation, id=uuid4())


async def standing(store: Store, reservation: Reservation, scope: str = spend.CLUSTER) -> tuple[int, int]:
    day = await spend.day_total(store.pool, reservation.day, scope)
    return day.spent, day.held


async def used(store: Store, conversation: ConversationId | None) -> UsageTotal:
    if conversation is not None:
        return await spend.load_of_conversation(store.pool, conversation)
    of_none = await store.pool.rows(
        "SELECT calls, cost_microdollars FROM usage WHERE conversation_id IS NULL AND calls > 0"
    )
    return UsageTotal(
        sum(each["calls"] for each in of_none), TokenUsage(), sum(each[1] for each in of_none)
    )
