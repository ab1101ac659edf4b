"""Reservations under the lock of their day: sums that hold, at the last cent and after a death."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from datetime import date, timedelta
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import asyncpg
import pytest

from ccn import errors
from ccn.core.calls.call import TokenUsage
from ccn.core.ids import ConversationId
from ccn.store.connection import pool
from ccn.store.spending import spend
from ccn.store.spending.reservation_queue import ReservationQueue
from ccn.store.spending.spend import Reservation, UsageTotal
from tests.support.store import reservations
from tests.support.store.days_of_spend import ADA, DAYS, NOTHING, again, standing, used, wanted

if TYPE_CHECKING:
    from tests.support.store.open_store import Store


async def test_what_is_held_is_settled_by_what_was_used(shared: Store) -> None:
    one = await wanted(shared, 100)
    await reservations.reserve_amount(shared.pool, one, 60)
    assert await standing(shared, one) == (0, 60)
    assert await used(shared, one.conversation) == NOTHING
    assert await reservations.settle_reservation(shared.pool, one.id, TokenUsage(1, 2, 3, 4), 10)
    assert await standing(shared, one) == (10, 0)
    assert await standing(shared, one, spend.scope_of_character(ADA)) == (10, 0)
    assert await used(shared, one.conversation) == UsageTotal(1, TokenUsage(1, 2, 3, 4), 10)


async def test_nothing_is_settled_twice(shared: Store) -> None:
    one = await wanted(shared)
    await reservations.reserve_amount(shared.pool, one, 60)
    assert await reservations.settle_reservation(shared.pool, one.id, TokenUsage(1), 10)
    assert not await reservations.settle_reservation(shared.pool, one.id, TokenUsage(1), 10)
    assert not await reservations.release_reservation(shared.pool, one.id)
    assert not await reservations.settle_reservation(shared.pool, uuid4(), TokenUsage(1), 10)
    with pytest.raises(errors.TransitionRefused):
        await reservations.reserve_amount(shared.pool, one, 70)
    assert await standing(shared, one) == (10, 0)


async def test_a_call_that_was_never_made_leaves_no_trace_in_the_sums(shared: Store) -> None:
    one = await wanted(shared, 100)
    await reservations.reserve_amount(shared.pool, one, 60)
    assert await reservations.release_reservation(shared.pool, one.id)
    assert await standing(shared, one) == (0, 0)
    assert await used(shared, one.conversation) == NOTHING


async def test_what_does_not_fit_is_refused_by_the_name_of_its_setting(shared: Store) -> None:
    one = await wanted(shared, 100)
    await reservations.reserve_amount(shared.pool, one, 60)
    with pytest.raises(errors.BudgetSpent, match=r"CCN_CLAUDE_DAILY_BUDGET_DOLLARS leaves \$0\.000040 of"):
        await reservations.reserve_amount(shared.pool, again(one), 41)
    poor = replace(again(one), character_limit=99)
    with pytest.raises(errors.BudgetSpent, match="CCN_CLAUDE_CHARACTER_BUDGET_DOLLARS"):
        await reservations.reserve_amount(shared.pool, poor, 40)
    await reservations.reserve_amount(shared.pool, again(one), 40)
    assert await standing(shared, one) == (0, 100)


async def test_a_call_that_is_made_again_holds_more_if_that_fits(shared: Store) -> None:
    one = await wanted(shared, 100)
    await reservations.reserve_amount(shared.pool, one, 40)
    await reservations.reserve_amount(shared.pool, one, 90)
    await reservations.reserve_amount(shared.pool, one, 50)
    assert await standing(shared, one) == (0, 90)
    with pytest.raises(errors.BudgetSpent):
        await reservations.reserve_amount(shared.pool, one, 101)
    assert await standing(shared, one) == (0, 90)


async def test_what_a_call_did_cost_is_charged_even_beyond_the_limit(shared: Store) -> None:
    one = await wanted(shared, 100)
    await reservations.reserve_amount(shared.pool, one, 60)
    await reservations.settle_reservation(shared.pool, one.id, TokenUsage(1), 130)
    assert await standing(shared, one) == (130, 0)
    with pytest.raises(errors.BudgetSpent, match=r"leaves \$0\.000000"):
        await reservations.reserve_amount(shared.pool, again(one), 1)


async def test_what_a_dead_node_held_is_spent_until_it_turns_out_to_be_slow(store: Store) -> None:
    dead, slow, young = await wanted(store, 1000), await wanted(store), await wanted(store)
    slow, young = replace(slow, day=dead.day), replace(young, day=dead.day)
    await reservations.reserve_amount(store.pool, dead, 60)
    await reservations.reserve_amount(store.pool, slow, 30)
    await reservations.reserve_amount(
        store.pool, replace(young, at=store.clock.now + timedelta(hours=3)), 5
    )
    assert await spend.expire_held(store.pool, store.clock.now + spend.HELD_FOR) == 0
    assert await spend.expire_held(store.pool, store.clock.forward(hours=4, seconds=1)) == 2
    assert await standing(store, dead) == (90, 5)
    assert await used(store, dead.conversation) == UsageTotal(1, TokenUsage(), 60)
    assert await reservations.settle_reservation(store.pool, slow.id, TokenUsage(output=7), 10)
    assert await standing(store, dead) == (70, 5)
    assert await used(store, slow.conversation) == UsageTotal(1, TokenUsage(output=7), 10)
    assert await reservations.release_reservation(store.pool, dead.id)
    assert await standing(store, dead) == (10, 5)
    assert await used(store, dead.conversation) == NOTHING


async def test_a_call_may_be_held_for_while_its_conversation_is_begun_or_fails_to_be(store: Store) -> None:
    begun = await wanted(store)
    never = replace(again(begun), conversation=ConversationId(uuid4()))
    for one in (begun, never):
        await reservations.reserve_amount(store.pool, one, 60)
    assert await spend.expire_held(store.pool, store.clock.forward(hours=5)) == 2
    assert await standing(store, begun) == (120, 0)
    assert (
        await used(store, begun.conversation) == await used(store, None) == UsageTotal(1, TokenUsage(), 60)
    )
    assert await reservations.release_reservation(store.pool, never.id)
    assert await used(store, None) == NOTHING
    assert await used(store, never.conversation) == NOTHING


async def test_old_reservations_are_forgotten_and_their_sums_are_not(store: Store) -> None:
    over, held = await wanted(store), await wanted(store)
    await reservations.reserve_amount(store.pool, over, 60)
    await reservations.reserve_amount(store.pool, held, 60)
    await reservations.settle_reservation(store.pool, over.id, TokenUsage(1), 10)
    assert await spend.forget_ended(store.pool, store.clock.forward(days=8)) == 1
    assert await standing(store, over) == (10, 0)
    assert await standing(store, held) == (0, 60)
    with pytest.raises(errors.StoreBroken):
        await store.pool.rows("DELETE FROM spend_reservations")


async def test_totals_are_told_by_conversation_character_and_day(store: Store) -> None:
    first = await wanted(store, day=date(2026, 1, 5))
    second = replace(await wanted(store), day=date(2026, 1, 6), model="model-2")
    for one, cost in ((first, 10), (again(first), 5), (second, 3)):
        await reservations.reserve_amount(store.pool, one, 60)
        await reservations.settle_reservation(store.pool, one.id, TokenUsage(cost), cost)
    assert await used(store, first.conversation) == UsageTotal(2, TokenUsage(15), 15)
    of_ada = await spend.list_usage(store.pool, first.day, second.day, spend.UsageFilter(character=ADA))
    assert {entry.day: entry.total for entry in of_ada} == {
        first.day: UsageTotal(2, TokenUsage(15), 15),
        second.day: UsageTotal(1, TokenUsage(3), 3),
    }


async def test_nodes_that_race_for_the_last_cent_never_hold_more_than_there_is(shared: Store) -> None:
    async with pool.open(shared.database, "node-2") as other:
        for _ in range(10):
            one = await wanted(shared, 100)
            tries = [(connections, again(one)) for connections in (shared.pool, other) for _ in range(6)]
            outcomes = await asyncio.gather(
                *[reservations.reserve_amount(connections, each, 30) for connections, each in tries],
                return_exceptions=True,
            )
            assert outcomes.count(None) == 3
            assert {type(each) for each in outcomes if each is not None} == {errors.BudgetSpent}
            assert await standing(shared, one) == (0, 90)


async def test_the_day_is_the_sum_of_its_reservations_whatever_two_nodes_do_at_once(shared: Store) -> None:
    one, dice = await wanted(shared, 500), random.Random(7)
    async with pool.open(shared.database, "node-2") as other:
        lives = [
            _live(dice.choice((shared.pool, other)), again(one), dice.randrange(60), dice.randrange(3))
            for _ in range(120)
        ]
        ends = await asyncio.gather(*lives)
    held = sum(amount for kind, amount in ends if kind == "held")
    spent = sum(amount for kind, amount in ends if kind == "settled")
    assert await standing(shared, one) == (spent, held)
    assert await standing(shared, one, spend.scope_of_character(ADA)) == (spent, held)
    assert (await used(shared, one.conversation)).microdollars == spent
    assert spent + held <= 500


async def _live(connections: pool.Pool, one: Reservation, amount: int, end: int) -> tuple[str, int]:
    try:
        await reservations.reserve_amount(connections, one, amount)
    except errors.BudgetSpent:
        return "refused", 0
    if end == 0:
        await reservations.settle_reservation(connections, one.id, TokenUsage(1), amount // 2)
        return "settled", amount // 2
    if end == 1:
        await reservations.release_reservation(connections, one.id)
        return "released", 0
    return "held", amount


async def test_a_user_has_an_allowance_of_a_day_that_nobody_else_is_refused_for(shared: Store) -> None:
    ada, eve = await shared.user(), await shared.user()
    one = replace(await wanted(shared), owner=ada, owner_limit=100)
    other = replace(again(one), owner=eve)
    stateless = replace(again(one), conversation=None)
    await reservations.reserve_amount(shared.pool, one, 60)
    with pytest.raises(errors.AllowanceSpent, match=r"CCN_LIMITS_DAILY_DOLLARS leaves \$0\.000040 of"):
        await reservations.reserve_amount(shared.pool, again(stateless), 41)
    await reservations.reserve_amount(shared.pool, stateless, 40)
    await reservations.reserve_amount(shared.pool, other, 100)
    assert await standing(shared, one, spend.scope_of_user(ada)) == (0, 100)
    assert await reservations.settle_reservation(shared.pool, stateless.id, TokenUsage(1), 30)
    assert await reservations.settle_reservation(shared.pool, one.id, TokenUsage(2), 5)
    assert await standing(shared, one, spend.scope_of_user(ada)) == (35, 0)
    assert await standing(shared, one, spend.scope_of_user(eve)) == (0, 100)
    assert await spend.load_of_owner(shared.pool, ada, one.day) == UsageTotal(2, TokenUsage(3), 35)
    assert await spend.load_of_owner(shared.pool, eve, one.day) == NOTHING
    assert (await spend.load_of_owner(shared.pool, ada, one.day + timedelta(days=1))).calls == 0


async def test_what_is_listed_can_be_split_by_user_and_be_one_user_s_only(shared: Store) -> None:
    ada, eve, day = await shared.user(), await shared.user(), next(DAYS)
    one = replace(await wanted(shared, day=day), owner=ada)
    calls = [one, again(one), replace(again(one), conversation=None), replace(again(one), owner=eve)]
    for cost, each in enumerate([*calls, replace(again(one), owner=None)], 1):
        await reservations.reserve_amount(shared.pool, each, 60)
        await reservations.settle_reservation(shared.pool, each.id, TokenUsage(1), cost)

    async def listed(which: spend.UsageFilter) -> list[tuple[str | None, ConversationId | None, int]]:
        lines = await spend.list_usage(shared.pool, day, day, which)
        return [(each.user, each.conversation, each.total.microdollars) for each in lines]

    assert await listed(spend.UsageFilter()) == [(None, None, 15)]
    assert await listed(spend.UsageFilter(by_user=True)) == [
        (f"{ada}", None, 6), (None, None, 5), (f"{eve}", None, 4),
    ]  # fmt: skip
    assert await listed(spend.UsageFilter(owner=ada, by_conversation=True)) == [
        (None, one.conversation, 3), (None, None, 3),
    ]  # fmt: skip


async def test_nodes_that_race_for_a_user_s_last_cent_never_hold_more_than_that(shared: Store) -> None:
    ada, eve = await shared.user(), await shared.user()
    async with pool.open(shared.database, "node-2") as other:
        tills = [ReservationQueue(connections) for connections in (shared.pool, other)]
        for _ in range(5):
            one = replace(await wanted(shared), owner=ada, owner_limit=100)
            mine = [till.reserve_amount(again(one), 30) for till in tills for _ in range(6)]
            theirs = [
                till.reserve_amount(replace(again(one), owner=eve), 10) for till in tills for _ in range(4)
            ]
            outcomes = await asyncio.gather(*mine, *theirs, return_exceptions=True)
            assert outcomes.count(None) == 3 + 8
            assert {type(each) for each in outcomes if each is not None} == {errors.AllowanceSpent}
            assert await standing(shared, one, spend.scope_of_user(ada)) == (0, 90)
            assert await standing(shared, one, spend.scope_of_user(eve)) == (0, 80)


async def test_the_sums_survive_a_restart(shared: Store) -> None:
    one = await wanted(shared, 100)
    async with pool.open(shared.database, "before") as before:
        await reservations.reserve_amount(before, one, 60)
    async with pool.open(shared.database, "after") as after:
        with pytest.raises(errors.BudgetSpent):
            await reservations.reserve_amount(after, again(one), 41)
        assert await reservations.settle_reservation(after, one.id, TokenUsage(1), 10)


@pytest.mark.parametrize(
    ("sql", "state"),
    [
        ("UPDATE spend_reservations SET day = day + 1 WHERE id = $1", "CCN04"),
        ("UPDATE spend_reservations SET amount = 1, status = 'expired' WHERE id = $1", "CCN04"),
        ("UPDATE spend_reservations SET cost = 1 WHERE id = $1", "23514"),
        ("DELETE FROM spend_reservations WHERE id = $1", "CCN01"),
        ("DELETE FROM spend_days WHERE $1::uuid IS NOT NULL", "CCN01"),
    ],
)
async def test_the_database_refuses_what_would_make_the_sums_wrong(
    shared: Store, direct: asyncpg.Connection[asyncpg.Record], sql: str, state: str
) -> None:
    one = await wanted(shared)
    await reservations.reserve_amount(shared.pool, one, 60)
    with pytest.raises(asyncpg.PostgresError) as refused:
        await direct.execute(sql, _id(one))
    assert refused.value.sqlstate == state


def _id(reservation: Reservation) -> UUID:
    return reservation.id
