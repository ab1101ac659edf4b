"""The till: holds and settlements of one node that travel together, and are judged one by one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from ccn import errors
from ccn.core.calls.call import TokenUsage
from ccn.store.connection import pool
from ccn.store.spending import spend
from ccn.store.spending.reservation_queue import ReservationQueue
from ccn.store.spending.spend import EndedReservation
from tests.support.store.days_of_spend import again, standing, used, wanted

if TYPE_CHECKING:
    from ccn.store.connection.pool import Record
    from tests.support.store.open_store import Store


class Counted:
    """A pool that counts statements, and can be broken."""

    def __init__(self, inner: pool.Pool) -> None:
        self.inner, self.statements, self.broken = inner, 0, False

    async def rows(self, sql: str, *values: object) -> list[Record]:
        self.statements += 1
        if self.broken:
            raise errors.DatabaseUnavailable("gone")
        return await self.inner.rows(sql, *values)


def opened(store: Store) -> tuple[ReservationQueue, Counted]:
    counted = Counted(store.pool)
    return ReservationQueue(counted), counted  # type: ignore[arg-type]  # the one method of a pool that it takes


async def test_calls_that_come_together_share_statements(shared: Store) -> None:
    till, counted = opened(shared)
    one = await wanted(shared, 10_000)
    many = [again(one) for _ in range(40)]
    await asyncio.gather(*(till.reserve_amount(each, 10) for each in many))
    assert await standing(shared, one) == (0, 400)
    ended = await asyncio.gather(
        *(till.end_reservation(EndedReservation(each.id, TokenUsage(1, 2), 7)) for each in many)
    )
    assert all(ended)
    assert counted.statements <= 4
    assert await standing(shared, one) == (280, 0)
    assert await standing(shared, one, spend.scope_of_character(one.character)) == (280, 0)
    assert await used(shared, one.conversation) == spend.UsageTotal(40, TokenUsage(40, 80), 280)


async def test_of_holds_that_travel_together_as_many_fit_as_would_one_by_one(shared: Store) -> None:
    till, _ = opened(shared)
    one = await wanted(shared, 100)
    tries = [till.reserve_amount(again(one), 30) for _ in range(8)]
    outcomes = await asyncio.gather(*tries, return_exceptions=True)
    assert outcomes.count(None) == 3
    assert {type(each) for each in outcomes if each is not None} == {errors.BudgetSpent}
    assert await standing(shared, one) == (0, 90)


async def test_what_was_settled_before_is_free_for_what_is_held_after(shared: Store) -> None:
    till, _ = opened(shared)
    one = await wanted(shared, 100)
    await till.reserve_amount(one, 90)
    for nth in range(20):
        other = again(one)
        ending = asyncio.ensure_future(
            till.end_reservation(EndedReservation(one.id, TokenUsage(1), 1) if nth else _never(one.id))
        )
        await till.reserve_amount(other, 70)
        assert await ending
        one = other
    assert await standing(shared, one) == (19, 70)


async def test_each_reservation_ends_once_whoever_it_travels_with(shared: Store) -> None:
    till, _ = opened(shared)
    one, other = await wanted(shared), await wanted(shared)
    await asyncio.gather(till.reserve_amount(one, 60), till.reserve_amount(other, 60))
    assert await till.end_reservation(EndedReservation(one.id, TokenUsage(1), 10))
    repeated, first = await asyncio.gather(
        till.end_reservation(EndedReservation(one.id, TokenUsage(1), 10)),
        till.end_reservation(_never(other.id)),
    )
    assert first
    assert not repeated
    assert await standing(shared, one) == (10, 0)


async def test_whoever_leaves_before_the_statement_holds_nothing(shared: Store) -> None:
    till, _ = opened(shared)
    one = await wanted(shared)
    staying, leaving = (asyncio.create_task(till.reserve_amount(each, 10)) for each in (one, again(one)))
    await asyncio.sleep(0)
    leaving.cancel()
    await staying
    assert leaving.cancelled()
    assert await standing(shared, one) == (0, 10)


async def test_a_database_that_is_gone_is_told_to_all_at_once_and_asked_again_later(shared: Store) -> None:
    till, counted = opened(shared)
    one = await wanted(shared)
    counted.broken = True
    outcomes = await asyncio.gather(
        *(till.reserve_amount(again(one), 1) for _ in range(5)), return_exceptions=True
    )
    assert {type(each) for each in outcomes} == {errors.DatabaseUnavailable}
    assert counted.statements == 1
    counted.broken = False
    await till.reserve_amount(one, 1)
    assert await standing(shared, one) == (0, 1)


async def test_two_tills_at_the_last_cent_hold_no_more_than_there_is(shared: Store) -> None:
    async with pool.open(shared.database, "node-2") as connections:
        tills = (ReservationQueue(shared.pool), ReservationQueue(connections))
        for _ in range(5):
            one = await wanted(shared, 100)
            tries = [till.reserve_amount(again(one), 30) for till in tills for _ in range(6)]
            outcomes = await asyncio.gather(*tries, return_exceptions=True)
            assert outcomes.count(None) == 3
            assert await standing(shared, one) == (0, 90)


@pytest.mark.parametrize("travelling", [1, 5])
async def test_a_hold_that_grows_beyond_the_limit_keeps_what_it_had(shared: Store, travelling: int) -> None:
    till, _ = opened(shared)
    one = await wanted(shared, 100)
    await till.reserve_amount(one, 50)
    others = [till.reserve_amount(again(one), 1) for _ in range(travelling - 1)]
    outcomes = await asyncio.gather(till.reserve_amount(one, 101), *others, return_exceptions=True)
    assert isinstance(outcomes[0], errors.BudgetSpent)
    assert outcomes[1:] == [None] * (travelling - 1)
    assert await standing(shared, one) == (0, 50 + travelling - 1)


def _never(reservation: UUID) -> EndedReservation:
    return EndedReservation(reservation, TokenUsage(), 0, made=False)
