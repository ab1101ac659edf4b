"""Real nodes with real services in storms, and an auditor after each.

Which storms there are is in `choice`. Every one ends with all nodes voting again; what must hold then is in
`auditor`.

Each size has a file of its own that names these tests and its number of NODES, so that sizes can run side
by side: a storm is mostly waiting.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from tests.cluster.chaos import choice, storms
from tests.cluster.chaos import cluster as clusters
from tests.cluster.chaos.auditor import Auditor
from tests.cluster.chaos.cluster import Cluster

MARKS = [pytest.mark.timeout(1800), pytest.mark.asyncio(loop_scope="module")]


class Weather:
    """A cluster, its auditor, and how long rounds stood still in which storm."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster, self.auditor = cluster, Auditor(cluster)
        self.chosen = choice.made(len(cluster.nodes))
        self.outages: dict[str, float] = {}

    @asynccontextmanager
    async def storm(self, name: str, *, mended: bool = True) -> AsyncIterator[Cluster]:
        """Whatever happens inside, all nodes vote in the end; unless `mended`, a later storm waits."""
        began = time.monotonic()
        try:
            yield self.cluster
            if mended:
                await self.cluster.whole()
        except AssertionError as failed:
            raise AssertionError(f"{name} (seed {self.chosen.seed}): {failed}") from failed
        self.outages[name] = self.cluster.outage_s(began)

    def told(self) -> str:
        worst = max(self.outages, key=lambda name: self.outages[name])
        blocks = self.cluster.blocks[-1][1]
        return (
            f"chaos, {len(self.cluster.nodes)} nodes: {len(self.outages)} storms, {blocks} blocks, "
            f"longest outage {self.outages[worst]:.1f} s ({worst}), seed {self.chosen.seed}"
        )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def weather(request: pytest.FixtureRequest) -> AsyncIterator[Weather]:
    """A fresh cluster of the size that the module names; its figures are told at the end."""
    with tempfile.TemporaryDirectory(prefix="ccn chaos ") as folder:
        Path(folder).chmod(0o755)  # root's database runs as another user
        async with clusters.running(request.module.NODES, Path(folder)) as cluster:
            made = Weather(cluster)
            yield made
            if not made.outages:
                return
            capture = request.config.pluginmanager.getplugin("capturemanager")
            with capture.global_and_fixture_disabled():  # in a worker, too, this reaches the terminal
                sys.stderr.write(f"\n{made.told()}\n")


async def test_rounds_survive_whoever_dies_or_stands_still_at_any_step(weather: Weather) -> None:
    for each in weather.chosen.struck:
        async with weather.storm(str(each), mended=False) as cluster:
            await each.strike(cluster)
    await weather.auditor.check()


async def test_the_majority_goes_on_behind_any_partition(weather: Weather) -> None:
    """Healed again, what was sent meanwhile arrives late, or never."""
    size = len(weather.cluster.nodes)
    for number, name in enumerate(weather.chosen.cut, size // 2):
        async with weather.storm(f"cut {name}") as cluster:
            leader, follower = await cluster.leader(), await cluster.follower()
            cluster.network.cut(*storms.PARTITIONS[name](cluster, leader.name, follower.name))
            await cluster.goes_on()
            cluster.network.heal(late=number % 2 == 0)
    await weather.auditor.check()


async def test_without_a_majority_nothing_is_decided_until_it_is_back(weather: Weather) -> None:
    async with weather.storm("kill a majority") as cluster:
        dead = list(cluster.nodes.values())[: cluster.quorum]
        for node in dead:
            await node.kill()
        await cluster.stands_still()
        for node in dead:
            await node.comes_back()
    if weather.chosen.apart:
        async with weather.storm("cut everybody from everybody") as cluster:
            cluster.network.cut(*cluster.around(*cluster.nodes))
            await cluster.stands_still()
            cluster.network.heal(late=True)
    await weather.auditor.check()


async def test_an_etcd_that_lost_everything_costs_nothing_of_the_history(weather: Weather) -> None:
    for step in weather.chosen.wiped:
        async with weather.storm(f"wipe etcd at {step}") as cluster:
            leader, _ = await cluster.stopped_at(step)
            await cluster.coordination.wipe()
            await leader.thaw()
            await cluster.goes_on()
    await weather.auditor.check()


async def test_one_clock_that_jumps_stops_nobody_else(weather: Weather) -> None:
    for who, ahead_s in weather.chosen.jumps:
        async with weather.storm(f"clock of the {who} {ahead_s:+g} s") as cluster:
            node = await (cluster.leader() if who == "leader" else cluster.follower())
            node.set_clock(ahead_s)
            await cluster.goes_on()
            node.set_clock(0)
    await weather.auditor.check()


async def test_rounds_wait_until_time_has_caught_up_with_clocks_that_were_ahead(weather: Weather) -> None:
    """A block is later than the one before, and within the tolerance of a quorum's clocks."""
    async with weather.storm("all clocks 4 s ahead, and back") as cluster:
        for node in cluster.nodes.values():
            node.set_clock(4)
        await cluster.goes_on()
        for node in cluster.nodes.values():
            node.set_clock(0)
        await cluster.goes_on()
    await weather.auditor.check()


async def test_whatever_happens_at_once_the_record_holds(weather: Weather) -> None:
    """Faults drawn by lot, several at a time."""
    chance = random.Random(weather.chosen.seed)
    for number in range(weather.chosen.at_once):
        async with weather.storm(f"all at once, number {number}") as cluster:
            await storms.all_at_once(cluster, chance)
    await weather.auditor.check()
