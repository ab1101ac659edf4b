"""Measurements, their hourly means, and what late rows and slow clocks do to them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from ccn import errors
from ccn.core import series_names
from ccn.store.character import measures
from ccn.store.character.measures import ConversationMeasure

if TYPE_CHECKING:
    from tests.support.store.open_store import Store

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)


def _minutes(count: float) -> datetime:
    return NOON + timedelta(minutes=count)


async def test_measurements_are_kept_once_and_read_in_order(shared: Store) -> None:
    here = await shared.conversation()
    assert await measures.load_latest(shared.pool, here) is None
    some = [ConversationMeasure(here, _minutes(n), n, phi=n / 10, trust=None) for n in range(5)]
    await measures.keep_measures(shared.pool, some)
    await measures.keep_measures(
        shared.pool,
        [ConversationMeasure(here, _minutes(4), 4, phi=9.0), ConversationMeasure(here, _minutes(5), 5)],
    )
    await measures.keep_measures(shared.pool, [])
    assert await measures.load_window(shared.pool, here, last=3) == [
        *some[3:],
        ConversationMeasure(here, _minutes(5), 5),
    ]
    newest = await measures.load_latest(shared.pool, here)
    assert newest is not None
    assert newest.seq == 5
    with pytest.raises(errors.StoreBroken):
        await measures.keep_measures(shared.pool, [ConversationMeasure(here, _minutes(6), 6, trust=1.5)])


async def test_hourly_means_count_late_rows_and_survive_a_slow_clock(store: Store) -> None:
    here = await store.conversation()

    async def means() -> list[tuple[int, int, float | None]]:
        hourly = await measures.load_hourly(store.pool, here, NOON)
        return [(each.at.hour, each.seq, each.phi) for each in hourly]

    await measures.keep_measures(
        store.pool,
        [ConversationMeasure(here, _minutes(10), 1, phi=1.0), ConversationMeasure(here, _minutes(50), 2)],
    )
    await measures.roll_up_hours(store.pool, _minutes(55))
    assert await means() == [(12, 2, 1.0)]
    await measures.roll_up_hours(store.pool, _minutes(20))  # a node whose clock is behind
    assert await means() == [(12, 2, 1.0)]
    await measures.keep_measures(store.pool, [ConversationMeasure(here, _minutes(70), 3, phi=5.0)])
    await measures.roll_up_hours(store.pool, _minutes(75))
    await measures.keep_measures(store.pool, [ConversationMeasure(here, _minutes(40), 4, phi=2.0)])  # late
    await measures.roll_up_hours(store.pool, _minutes(80))
    assert await means() == [(12, 3, 1.5), (13, 1, 5.0)]
    await measures.roll_up_hours(store.pool, _minutes(600))
    await measures.keep_measures(
        store.pool, [ConversationMeasure(here, _minutes(41), 5, phi=9.0)]
    )  # too late: below the watermark
    assert await measures.roll_up_hours(store.pool, _minutes(600)) == 0
    assert await means() == [(12, 3, 1.5), (13, 1, 5.0)]


async def test_buckets_begin_on_the_hour_and_weeks_on_mondays_in_every_mode(shared: Store) -> None:
    ask = "SELECT ccn_bucket($1::text::interval, $2)"
    assert await shared.pool.value(ask, "1 hour", _minutes(59.9)) == NOON
    assert (await shared.pool.value(ask, "7 days", NOON)).weekday() == 0


async def test_a_cluster_has_one_key_for_the_names_of_series(shared: Store) -> None:
    key = await measures.load_series_key(shared.pool)
    assert len(key) == 32
    assert await measures.load_series_key(shared.pool) == key
    here, there = await shared.conversation(), await shared.conversation()
    assert series_names.name_series(key, here) != series_names.name_series(key, there)
    assert series_names.name_series(bytes(32), here) != series_names.name_series(key, here), (
        "an id alone tells nothing"
    )
    for forbidden in (
        "UPDATE series_key SET secret = sha256('')",
        "DELETE FROM series_key",
        "TRUNCATE series_key",
        "INSERT INTO series_key VALUES (true)",
        "INSERT INTO series_key VALUES (false)",
    ):
        with pytest.raises((errors.StoreBroken, errors.Conflict)):
            await shared.pool.rows(forbidden)
    assert await measures.load_series_key(shared.pool) == key
