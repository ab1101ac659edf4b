"""Three node processes, nine instances, and a stand-in that is told to drift: who is brought back."""

from __future__ import annotations

import asyncio
import os
import re
import statistics
from collections.abc import Sequence

import numpy as np
import pytest

from ccn import errors, settings
from ccn.claude.stand_in.faults import FaultRule, FaultRules
from ccn.core.ids import ConversationId, InstanceId
from ccn.node.views import drift_review
from ccn.node.views.drift_review import DriftReview
from ccn.store.character import restorations
from ccn.store.conversations import instances
from ccn.store.conversations.instances import Instance, InstanceStatus
from ccn.store.rounds import blocks
from tests.support.cluster import three_nodes
from tests.support.cluster.three_nodes import NAMES
from tests.support.node import stand_in_model
from tests.support.node.node_world import Node
from tests.support.node.stand_in_model import DRIFTING, SCORER
from tests.support.speakers import ANN

TOGETHER = os.environ.get("CCN_DRIFT") == "all"
"""Whether all drift as well: two hundred messages more, for CI. On one node they always do in the tests."""
FLEET = 9
HEALTHY, AFTER, DRIFTED = 12, 4, 20
"""Messages while all is well, of these some after one was brought back, and then while all drift.

A state starts as one message's scores: after 5 and 12 messages the median of four had moved by less
than 0.03 in a third of 20 000 simulated fleets; after 12 and 20, in none.
"""
TOLERANCE = 0.1
REMINDED = "you have drifted"
STEPS = {"re-anchor", "re-initialise", "quarantine"}
BROUGHT_BACK = "(note cleared )*(note )+re-anchor (re-initialise )?cleared"
"""The confirmation misses one of a hundred that drifted, and takes one of a hundred well ones for such."""


ROUNDS = {"CCN_CLUSTER_INTERVAL_S": "1", "CCN_INSTANCES_QUEUE_LIMIT": "100"}


@pytest.mark.timeout(600)
async def test_one_that_drifts_is_brought_back_and_nobody_else_is_touched(
    database: settings.DatabaseSettings,
) -> None:
    """With CCN_DRIFT=all, all drift together then, and are seen."""
    async with three_nodes.running(database, ROUNDS) as cluster:
        desk, faults = cluster.desk, cluster.faults
        await stand_in_model.usual(desk.pool)
        fleet = await spread(desk)
        await talked(desk, fleet, HEALTHY - AFTER)
        suspect, *others = fleet
        await one_drifts(desk, faults, suspect, others)
        if TOGETHER:
            await all_drift(desk, faults, fleet)


async def spread(desk: Node) -> list[ConversationId]:
    """Nine, or as many more as it takes until a node that was slow to be seen has one as well."""
    fleet, hosts = list[ConversationId](), set[str]()
    while len(fleet) < FLEET or hosts < set(NAMES):
        fleet.append(await desk.begin_conversation())
        hosts.add((await alive(desk, fleet[-1])).host)
        assert len(fleet) < 2 * FLEET, f"instances on {hosts} alone"
    return fleet


async def one_drifts(
    desk: Node, faults: FaultRules, suspect: ConversationId, others: Sequence[ConversationId]
) -> None:
    faults.add_rule(DRIFTING)
    await desk.reply((await desk.conversations.say(suspect, "My boat is called Zephyr.", ANN)).id)
    async with asyncio.timeout(90):
        while "cleared" not in await steps(desk, suspect) or "re-anchor" not in await steps(desk, suspect):
            await talked(desk, [suspect], 1)
    await talked(desk, others, AFTER)
    done = " ".join(await steps(desk, suspect))
    assert re.match(BROUGHT_BACK, done), f"alarmed, confirmed, reminded, and well again: {done}"
    assert [STEPS & set(await steps(desk, talk)) for talk in others] == [set()] * len(others)
    found = await alive(desk, suspect)
    assert found.status is InstanceStatus.RUNNING
    taken = await restorations.list_of_conversation(desk.pool, found.id)
    confirmed = next(each for each in taken if each.step == "re-anchor")
    assert confirmed.distance is not None
    assert confirmed.threshold is not None
    assert confirmed.distance > confirmed.threshold


async def all_drift(desk: Node, faults: FaultRules, fleet: Sequence[ConversationId]) -> None:
    """Another model speaks for all, as after an upgrade: the median goes along, the charter does not."""
    _reminded, *others = fleet  # who was reminded of its plate does not drift again
    some = others[::2]
    speakers = {talk: (await alive(desk, talk)).id for talk in some}
    before = {talk: await reviewed(desk, speakers[talk]) for talk in some}
    faults.clear()
    faults.add_rule(FaultRule(drift=100, until=REMINDED))
    await talked(desk, fleet, DRIFTED)
    height = await blocks.load_height(desk.pool) or 0
    async with asyncio.timeout(90):
        while (await blocks.load_height(desk.pool) or 0) < height + 2:
            await asyncio.sleep(0.1)
    touched = [talk for talk in fleet if STEPS & set(await steps(desk, talk))]
    assert len(touched) <= (len(fleet) - 1) // 3, "an operator has to look, not a script"
    left = [talk for talk in some if talk not in touched]
    after = {talk: await reviewed(desk, speakers[talk]) for talk in left}
    async with asyncio.timeout(90):  # the last messages are scored after their replies are there
        while statistics.median(moved(before[talk], after[talk]) for talk in left) <= 0.03:
            await asyncio.sleep(0.5)
            after = {talk: await reviewed(desk, speakers[talk]) for talk in left}
    assert {each.tolerance for each in after.values()} == {TOLERANCE}
    known = [each.from_median for each in after.values() if each.from_median is not None]
    assert statistics.median(known) < TOLERANCE


def moved(before: DriftReview, after: DriftReview) -> float:
    """By how much further it is from the charter now."""
    return (after.from_charter or 0.0) - (before.from_charter or 0.0)


async def reviewed(desk: Node, speaker: InstanceId) -> DriftReview:
    return await drift_review.review_instance(desk.pool, speaker, SCORER.version)


async def alive(desk: Node, talk: ConversationId) -> Instance:
    found = await instances.find_in_conversation(desk.pool, talk)
    assert found is not None
    return found


async def steps(desk: Node, talk: ConversationId) -> list[str]:
    found = await instances.find_in_conversation(desk.pool, talk)
    if found is None:  # its restoring ended with it
        return ["re-initialise"]
    return [each.step for each in await restorations.list_of_conversation(desk.pool, found.id)]


async def talked(desk: Node, talks: Sequence[ConversationId], messages: int) -> None:
    draw = np.random.default_rng()

    async def one(talk: ConversationId) -> None:
        for _ in range(messages):
            try:
                turn = await desk.conversations.say(talk, stand_in_model.ask(draw), ANN)
            except (errors.Quarantined, errors.SpawnFailed):
                return  # begun anew with another model, it fails its interview: for an operator
            await desk.reply(turn.id)

    await asyncio.gather(*map(one, talks))
