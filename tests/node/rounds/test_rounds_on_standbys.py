"""A block that the primary shows and no standby has: nobody stands on it until one has it."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from ccn import errors, settings
from ccn.embedded.postgres import service
from ccn.node.rounds import consensus_round as story
from ccn.node.rounds.consensus_round import SealedRound
from ccn.store.connection import migrate
from ccn.store.rounds import blocks
from tests.support import databases
from tests.support.node.round_world import NODES, World


@pytest.fixture
async def database() -> AsyncIterator[settings.DatabaseSettings]:
    """On a server of its own, because the setting is the whole server's; patient for a second."""
    with tempfile.TemporaryDirectory(prefix="ccn-rounds-", dir=databases.place()) as made:
        Path(made).chmod(0o755)
        async with service.run_postgres(Path(made) / "postgres", ephemeral=True, fsync=False) as server:
            await migrate.apply_pending(server.url)
            yield settings.DatabaseSettings(url=SecretStr(server.url), statement_timeout_s=1.0)


async def _standby(world: World, name: str) -> None:
    url = world.database.url.get_secret_value()
    await databases.execute(url, f"ALTER SYSTEM SET synchronous_standby_names = '{name}'")
    await databases.execute(url, "SELECT pg_reload_conf()")
    while await world.pool.value("SHOW synchronous_standby_names") != name:
        continue


async def test_nobody_cosigns_a_block_that_is_on_no_standby(world: World) -> None:
    leading = await world.lead(NODES[0])
    assert isinstance(await story.run_round(leading), SealedRound)
    await _standby(world, "nobody")
    with pytest.raises((errors.Unavailable, errors.OutcomeUnknown)):
        await story.run_round(leading)
    assert await blocks.load_height(world.pool) == 2  # it stands there, and its leader saw the wait end
    for node in NODES[:2]:
        with pytest.raises((errors.Unavailable, errors.OutcomeUnknown)):
            await world.peers.votings[node].catch_up()
        assert world.disks[node].state.height == world.peers.votings[node].tip.height == 1
    await _standby(world, "")
    assert {(await world.peers.votings[node].catch_up()).height for node in NODES} == {2}
