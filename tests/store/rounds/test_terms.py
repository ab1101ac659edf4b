"""The fence: an old leader's write never lands after another node took over."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from ccn import errors, settings
from ccn.core.ids import NodeId
from ccn.store.connection import pool
from ccn.store.connection.pool import Pool
from ccn.store.rounds import terms

ONE, TWO = NodeId("node-1"), NodeId("node-2")
LOG = """
    INSERT INTO consensus_log (log_index, term, command_type, data, committed)
    SELECT coalesce(max(log_index), 0) + 1, $1, 'test', '{}', true FROM consensus_log
"""


@pytest_asyncio.fixture(loop_scope="session")
async def nodes(database: settings.DatabaseSettings) -> AsyncIterator[tuple[Pool, Pool]]:
    """The pools of two nodes on one database."""
    async with pool.open(database, "node-1") as first, pool.open(database, "node-2") as second:
        yield first, second


async def written(leader: Pool, term: int, until: asyncio.Event | None = None) -> None:
    """Write two lines as the leader of a term, waiting between them."""
    async with terms.lead_transaction(leader, term) as connection:
        await connection.execute(LOG, term)
        if until is not None:
            await until.wait()
        await connection.execute(LOG, term)


async def locked(other: Pool) -> None:
    """Wait until a leader holds the fence."""
    while not await other.value("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted"):
        await asyncio.sleep(0.005)


async def test_terms_count_up_and_say_who_leads(nodes: tuple[Pool, Pool]) -> None:
    first, second = nodes
    assert (await terms.load_term(first)).leader is None
    assert await terms.take_over_term(first, ONE, 1) == 1
    assert await terms.take_over_term(second, TWO, 1) == 2
    now = await terms.load_term(first)
    assert (now.number, now.leader) == (2, TWO)


async def test_a_write_of_a_term_that_is_over_is_refused(nodes: tuple[Pool, Pool]) -> None:
    first, second = nodes
    old = await terms.take_over_term(first, ONE, 1)
    await terms.take_over_term(second, TWO, 1)
    with pytest.raises(errors.StaleTerm):
        await written(first, old)


async def test_taking_over_waits_for_the_writes_that_are_under_way(nodes: tuple[Pool, Pool]) -> None:
    first, second = nodes
    old = await terms.take_over_term(first, ONE, 1)
    async with terms.lead_transaction(first, old) as connection:
        taking = asyncio.create_task(terms.take_over_term(second, TWO, 30))
        await connection.execute(LOG, old)
        while not await second.value(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        ):
            assert not taking.done()
        await connection.execute(LOG, old)
    assert await taking == old + 1
    assert await second.value("SELECT count(*) FROM consensus_log WHERE term = $1", old) == 2


async def test_a_leader_that_is_stuck_in_a_transaction_is_ended_and_rolled_back(
    nodes: tuple[Pool, Pool],
) -> None:
    first, second = nodes
    old = await terms.take_over_term(first, ONE, 1)
    overtaken = asyncio.Event()
    stuck = asyncio.create_task(written(first, old, until=overtaken))
    await locked(second)
    assert await terms.take_over_term(second, TWO, 0.05) == old + 1
    overtaken.set()
    with pytest.raises(errors.DatabaseUnavailable):
        await stuck
    assert await second.value("SELECT count(*) FROM consensus_log") == 0
    assert await first.value("SELECT term FROM cluster_term") == old + 1


async def test_of_many_leaders_that_are_overtaken_none_commits_late(nodes: tuple[Pool, Pool]) -> None:
    first, second = nodes
    dice, late, committed = random.Random(60), 0, 0
    for _ in range(60):
        old = await terms.take_over_term(first, ONE, 5)
        taken = asyncio.Event()

        async def overtake(taken: asyncio.Event = taken) -> None:
            await asyncio.sleep(dice.random() * 0.01)
            await terms.take_over_term(second, TWO, 5)
            taken.set()

        overtaking = asyncio.create_task(overtake())
        try:
            async with terms.lead_transaction(first, old) as connection:
                await asyncio.sleep(dice.random() * 0.01)
                late += taken.is_set()
                await connection.execute(LOG, old)
            committed += 1
        except errors.StaleTerm:
            assert taken.is_set() or not overtaking.done()
        await overtaking
    assert late == 0
    assert await first.value("SELECT count(*) FROM consensus_log") == committed
