"""What the pool promises to whoever reads: several statements can be of one moment."""

from __future__ import annotations

import pytest

from ccn import errors, settings
from ccn.store.connection import pool

_COUNT = "SELECT count(*) FROM node_drains"
_DRAIN = "INSERT INTO node_drains (node_id, by) SELECT node_id, 'test' FROM leaf_sources"


async def test_what_is_written_meanwhile_is_not_seen_within_a_moment(
    database: settings.DatabaseSettings,
) -> None:
    async with pool.open(database, "test") as connections:
        await connections.rows("INSERT INTO leaf_sources (node_id) VALUES ('node-1')")
        async with connections.open_moment() as moment:
            assert await moment.value(_COUNT) == 0
            await connections.rows(_DRAIN)
            assert await connections.value(_COUNT) == 1
            assert await moment.rows("SELECT node_id FROM node_drains") == []
            assert await moment.row("SELECT node_id FROM node_drains") is None


async def test_nothing_is_written_within_a_moment(database: settings.DatabaseSettings) -> None:
    async with pool.open(database, "test") as connections:
        with pytest.raises(errors.CCNError):
            async with connections.open_moment() as moment:
                await moment.rows("INSERT INTO node_drains (node_id, by) VALUES ('node-1', 'test')")
