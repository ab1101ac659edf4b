"""Three node processes, nine instances, and a stand-in that is told to drift: who is brought back."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

from ccn import errors, settings
from ccn.claude import stand_in
from ccn.claude.faults import Faults, Rule
from ccn.core.ids import ConversationId, NodeId
from ccn.embedded import etcd
from ccn.etcd import client, members
from ccn.node import reviewing
from ccn.node.reviewing import Review
from ccn.peers import client as peers
from ccn.store import drains, instances, restorations, rounds
from ccn.store.instances import Instance, Status
from tests import living, standing_in
from tests.cluster.test_turns import NAMES, Cluster
from tests.living import Node, World
from tests.standing_in import DRIFTING, SCORER

FLEET = 9
REMINDED = "you have drifted"
STEPS = {"re-anchor", "re-initialise", "quarantine"}


@asynccontextmanager
async def cluster(database: settings.Database, folder: Path) -> AsyncIterator[tuple[Node, Faults]]:
    """Three nodes, a desk in this process that hosts nothing, and what the stand-in does wrong."""
    world = await living.founded(database)
    async with AsyncExitStack() as stack:
        coordination = await stack.enter_async_context(etcd.running())
        model = await stack.enter_async_context(stand_in.running())
        nodes = Cluster(
            folder,
            {
                "CCN_DATABASE_URL": database.url.get_secret_value(),
                "CCN_ETCD_ENDPOINTS": ",".join(coordination.endpoints),
                "CCN_CLUSTER_INTERVAL_S": "1",
                "CCN_CLAUDE_BASE_URL": model.url,
                "CCN_INSTANCES_QUEUE_LIMIT": "100",
                **{f"CCN_{door}_PORT": "0" for door in ("HTTP", "GRPC", "PEERS")},
            },
        )
        stack.callback(nodes.close)
        nodes.start(*NAMES)
        others = await stack.enter_async_context(peers.opened(NodeId("desk"), None))
        seen = await stack.enter_async_context(client.opened(coordination.endpoints))
        watching = asyncio.create_task(_know(seen, others, world))
        stack.callback(watching.cancel)
        desk = await stack.enter_async_context(world.node("desk", peers=others))
        await until(lambda: len(world.processes) == len(NAMES))
        await drains.begin(desk.pool, desk.id, "test", [NodeId(name) for name in NAMES])
        await until(lambda: desk.living.adoption.draining)
        await standing_in.usual(desk.pool)
        yield desk, model.faults
        nodes.stop()


@pytest.mark.timeout(300)
async def test_one_that_drifts_is_brought_back_and_all_that_drift_together_are_seen(
    database: settings.Database,
) -> None:
    with tempfile.TemporaryDirectory(prefix="ccn drift ") as folder:
        async with cluster(database, Path(folder)) as (desk, faults):
            fleet = [await desk.begun() for _ in range(FLEET)]
            hosts = {(await alive(desk, talk)).host for talk in fleet}
            assert hosts == set(NAMES), "instances on every node"
            await talked(desk, fleet, 3)
            suspect, *others = fleet
            await one_drifts(desk, faults, suspect, others)
            await all_drift(desk, faults, fleet)


async def one_drifts(
    desk: Node, faults: Faults, suspect: ConversationId, others: Sequence[ConversationId]
) -> None:
    faults.add(DRIFTING)
    await desk.reply((await desk.doors.say(suspect, "My boat is called Zephyr.")).id)
    async with asyncio.timeout(90):
        while "cleared" not in await steps(desk, suspect) or "re-anchor" not in await steps(desk, suspect):
            await talked(desk, [suspect], 1)
    await talked(desk, others, 2)
    first = (await steps(desk, suspect))[:3]
    assert first == ["note", "re-anchor", "cleared"], "alarmed, confirmed, reminded, and well again"
    assert [STEPS & set(await steps(desk, talk)) for talk in others] == [set()] * len(others)
    found = await alive(desk, suspect)
    assert found.status is Status.RUNNING
    done = await restorations.of_conversation(desk.pool, found.id)
    confirmed = next(each for each in done if each.step == "re-anchor")
    assert confirmed.distance is not None
    assert confirmed.threshold is not None
    assert confirmed.distance > confirmed.threshold


async def all_drift(desk: Node, faults: Faults, fleet: Sequence[ConversationId]) -> None:
    """Another model speaks for all, as after an upgrade: the median goes along, the charter does not."""
    some = fleet[::2]
    before = [await reviewed(desk, talk) for talk in some]
    faults.clear()
    faults.add(Rule(drift=100, until=REMINDED))
    await talked(desk, fleet, 12)
    height = await rounds.height(desk.pool) or 0
    async with asyncio.timeout(30):
        while (await rounds.height(desk.pool) or 0) < height + 2:
            await asyncio.sleep(0.1)
    after = [await reviewed(desk, talk) for talk in some]
    tolerance = after[0].tolerance
    assert tolerance == 0.1
    assert typical(after, lambda each: each.from_median) < tolerance
    moved = typical(after, lambda each: each.from_charter) - typical(before, lambda each: each.from_charter)
    assert moved > 0.03
    touched = [talk for talk in fleet if STEPS & set(await steps(desk, talk))]
    assert len(touched) <= (FLEET - 1) // 3, "an operator has to look, not a script"


def typical(found: Sequence[Review], of: Callable[[Review], float | None]) -> float:
    return statistics.median(value for each in found if (value := of(each)) is not None)


async def reviewed(desk: Node, talk: ConversationId) -> Review:
    return await reviewing.review(desk.pool, (await alive(desk, talk)).id, SCORER.version)


async def alive(desk: Node, talk: ConversationId) -> Instance:
    found = await instances.of_conversation(desk.pool, talk)
    assert found is not None
    return found


async def steps(desk: Node, talk: ConversationId) -> list[str]:
    found = await alive(desk, talk)
    return [each.step for each in await restorations.of_conversation(desk.pool, found.id)]


async def talked(desk: Node, talks: Sequence[ConversationId], messages: int) -> None:
    draw = np.random.default_rng()

    async def one(talk: ConversationId) -> None:
        for _ in range(messages):
            try:
                turn = await desk.doors.say(talk, standing_in.ask(draw))
            except errors.Quarantined:
                return
            await desk.reply(turn.id)

    await asyncio.gather(*map(one, talks))


async def _know(seen: client.Client, others: peers.Client, world: World) -> None:
    async for present in members.watch(seen):
        world.processes = [each.node for each in present]
        await others.know({each.node: each.grpc for each in present})


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(90):
        while not holds():
            await asyncio.sleep(0.02)
