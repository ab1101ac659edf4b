"""How late a replica is follows from when the primary was seen beyond it, in one history at a time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ccn import errors
from ccn.store.replicas.primary_log import PrimaryLog


class Primary:
    """Says where its log is."""

    def __init__(self) -> None:
        self.row_: dict[str, Any] = {"system": 7, "standby": False, "timeline": "00000001", "byte": 100}

    async def rows(self, sql: str, *values: object) -> Any:
        return [self.row_]

    async def row(self, sql: str, *values: object) -> Any:
        return self.row_

    async def value(self, sql: str, *values: object) -> Any:
        return None


async def test_a_replica_is_late_since_the_primary_was_first_seen_beyond_it() -> None:
    primary = Primary()
    log = PrimaryLog(primary)
    await log.watch_position()
    await asyncio.sleep(0.05)
    primary.row_["byte"] = 200
    await log.watch_position()
    assert log.measure_lag(200) == 0
    assert 0 <= log.measure_lag(100) < log.measure_lag(99)
    assert log.measure_lag(99) >= 0.05


async def test_of_a_new_history_the_old_places_say_nothing() -> None:
    primary = Primary()
    log = PrimaryLog(primary)
    await log.watch_position()
    primary.row_ |= {"timeline": "00000002", "byte": 90}
    await log.watch_position()
    assert log.measure_lag(90) == 0


async def test_a_standby_has_no_place_to_wait_for() -> None:
    primary = Primary()
    primary.row_ |= {"standby": True, "timeline": None, "byte": None}
    with pytest.raises(errors.DatabaseUnavailable, match="standby itself"):
        await PrimaryLog(primary).ask_position()
