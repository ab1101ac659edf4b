"""Single reservations: what the queue of a node does for many calls at once, for tests that want one."""

from __future__ import annotations

from uuid import UUID

from ccn.core.calls.call import TokenUsage
from ccn.store.connection.pool import Pool
from ccn.store.spending import spend
from ccn.store.spending.spend import EndedReservation, Reservation


async def reserve_amount(pool: Pool, reservation: Reservation, amount: int) -> None:
    """Reserve this amount for a call, or raise its reservation to it; refuse if it does not fit."""
    await spend.change_reservations(pool, [], [(reservation, amount)])


async def settle_reservation(pool: Pool, reservation: UUID, usage: TokenUsage, cost: int) -> bool:
    """Count what a call used and free the rest; whether there was something to settle."""
    return bool(await spend.change_reservations(pool, [EndedReservation(reservation, usage, cost)], []))


async def release_reservation(pool: Pool, reservation: UUID) -> bool:
    """Free all of it: the call was never made."""
    ended = EndedReservation(reservation, TokenUsage(), 0, made=False)
    return bool(await spend.change_reservations(pool, [ended], []))
