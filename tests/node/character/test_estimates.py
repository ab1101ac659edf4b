"""What is estimated of conversations, what is left open, and what a round's outliers lead to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from ccn import metrics
from ccn.core import series_names
from ccn.core.axes import AXES, RELATIONAL, UNIT, Vector
from ccn.core.character import confirmation, consistency, emergence, integrated_information
from ccn.node.character.drift_watch import DriftAlarm
from ccn.node.character.estimates import Estimates
from ccn.node.character.outlier_alarms import SETTLED, OutlierAlarms
from ccn.node.character.scoring import ScoredReply
from ccn.node.rounds import consensus_round as story
from ccn.node.rounds.consensus_round import SealedRound
from ccn.store.character import baselines, measures, restorations, vectors
from ccn.store.character.measures import ConversationMeasure
from ccn.store.character.vectors import RecordRelation, RecordScore
from ccn.store.conversations import instances
from ccn.store.conversations.instances import Instance
from ccn.store.rounds import agreements
from tests.support.node import node_world
from tests.support.node.node_world import Node
from tests.support.node.round_world import ADA, NODES, World

SCORER = "reading/v1"
HOST = NODES[1]


@pytest.fixture
async def here(world: World) -> AsyncIterator[Node]:
    """A node with instances of the character whose rounds there are. Tests measure and heed themselves."""
    without = {"heeding", "measuring"}
    async with node_world.World(world.database).node(HOST, without=without) as node:
        yield node


@pytest.fixture
def measuring(here: Node) -> Estimates:
    return Estimates(here.pool, here.id, SCORER, 0.104, lambda: datetime.now(UTC), 15)


async def test_phi_needs_a_hundred_replies_and_is_the_same_for_the_same_ones(
    here: Node, measuring: Estimates
) -> None:
    talk = await instance(here)
    await spoke(here, talk, series(integrated_information.LEAST - 1))
    assert [each.phi for each in await measured(measuring, talk)] == [None]
    assert "consciousness_phi_score{" not in await page(here, talk)
    await spoke(here, talk, series(40))
    first, again = [(await measured(measuring, talk))[0].phi for _ in range(2)]
    assert first is not None
    assert 0 < first < 1
    assert first == again
    kept = await measures.load_latest(here.pool, talk.conversation)
    assert kept is not None
    assert kept.phi == first
    assert f" {first}" in await page(here, talk)


async def test_ccc_is_of_all_instances_and_tells_a_fleet_with_a_stranger(
    here: Node, measuring: Estimates
) -> None:
    fleet = [await instance(here) for _ in range(4)]
    await spoke(here, fleet[0], series(consistency.LEAST))
    assert (await measured(measuring, fleet[0]))[0].ccc is None, "nobody to compare with"
    for each in fleet[1:]:
        await spoke(here, each, series(consistency.WINDOW))
    healthy = (await measured(measuring, fleet[0]))[0].ccc
    await spoke(here, fleet[3], series(consistency.WINDOW, middle=0.3))
    flipped = (await measured(measuring, fleet[0]))[0].ccc
    assert healthy is not None
    assert flipped is not None
    assert healthy > 0.95 > consistency.ALARM > flipped


async def test_a_scorer_of_unknown_strangers_has_no_ccc(here: Node) -> None:
    both = [await instance(here) for _ in range(2)]
    for each in both:
        await spoke(here, each, series(consistency.WINDOW))
    unknown = Estimates(here.pool, here.id, SCORER, None, lambda: datetime.now(UTC), 15)
    assert (await measured(unknown, both[0]))[0].ccc is None


async def test_trust_and_drift_are_as_the_conversation_has_them(here: Node, measuring: Estimates) -> None:
    talk = await instance(here)
    await spoke(here, talk, series(1))
    related = [None] * len(RELATIONAL)
    trusted = Vector((750_000, *related[1:]))
    await here.writer.submit(RecordRelation(talk.conversation, 1, trusted))
    changed = await here.writer.submit(instances.ChangeInstance(talk, talk.status, "a round", drift=0.25))
    (found,) = await measured(measuring, talk)
    assert (found.trust, found.drift) == (0.75, changed.drift)
    assert 'ccn_character_drift{character="ada"} 0.25' in metrics.series.render_page("")[0].decode()


async def test_the_charter_shows_what_all_do_together_and_nothing_before_it_is_known(
    here: Node, measuring: Estimates
) -> None:
    both = [await instance(here) for _ in range(2)]
    for each in both:
        await spoke(here, each, series(consistency.WINDOW, middle=0.3))
    assert (await measured(measuring, both[0]))[0].ccc is not None
    assert "ccn_character_charter_distance{" not in metrics.series.render_page("")[0].decode()
    answers = np.full((len(confirmation.PROBES) * confirmation.ANSWERS, len(AXES)), 0.7)
    kind, now = baselines.BaselineKind.PROBES, datetime.now(UTC)
    await baselines.keep_baseline(
        here.pool, baselines.Baseline(both[0].character, kind, SCORER, both[0].model, now, 1, 1, answers)
    )
    await measured(measuring, both[0])
    (line,) = [
        each
        for each in metrics.series.render_page("")[0].decode().splitlines()
        if each.startswith('ccn_character_charter_distance{character="ada"}')
    ]
    assert float(line.split()[-1]) == pytest.approx(0.4, abs=0.02)


async def test_what_lives_elsewhere_is_measured_there(here: Node, measuring: Estimates) -> None:
    talk = await instance(here)
    await spoke(here, talk, series(1))
    assert await measured(measuring, talk)
    assert await measuring.measure_due() == [], "once for each reply"
    measuring.note_reply(ScoredReply(talk, 2, *series(2)))
    await here.writer.submit(instances.ChangeInstance(talk, instances.InstanceStatus.TERMINATED, "closed"))
    assert await measuring.measure_due() == []
    assert await page(here, talk) == ""


async def test_emergence_needs_a_hundred_rounds(world: World, here: Node, measuring: Estimates) -> None:
    fleet = [await instance(here) for _ in range(3)]
    for each in fleet:
        await spoke(here, each, series(1))
    await held(world)
    assert (await measured(measuring, fleet[0]))[0].emergence is None
    await long_ago(world, fleet, emergence.LEAST)
    found = (await measured(measuring, fleet[0]))[0].emergence
    assert found is not None
    assert 0 < found < 1
    medians = await agreements.load_medians(here.pool, ADA, last=500)
    assert [each.height for each in medians] == list(range(1, emergence.LEAST + 2))


async def test_who_a_round_finds_beyond_the_tolerance_is_alarmed_once(world: World, here: Node) -> None:
    fleet = [await instance(here) for _ in range(4)]
    for each in fleet[:3]:
        await spoke(here, each, series(SETTLED))
    await spoke(here, fleet[3], series(SETTLED, middle=0.2))
    alarms = list[DriftAlarm]()
    heeding = OutlierAlarms(here.pool, HOST, lambda: datetime.now(UTC), alarms.append)
    elsewhere = OutlierAlarms(here.pool, NODES[0], lambda: datetime.now(UTC), alarms.append)
    for _ in range(2):
        await held(world)
        await heeding.look_for_outliers()
        await elsewhere.look_for_outliers()
    (alarm,) = alarms
    assert (alarm.instance.id, alarm.reason) == (fleet[3].id, "beyond the tolerance in round 1")
    assert alarm.distance == pytest.approx(0.4, abs=0.1)
    assert alarm.threshold == 0.1

    young = await instance(here)
    await spoke(here, young, series(SETTLED - 1, middle=0.2))
    await held(world)
    await heeding.look_for_outliers()
    assert len(alarms) == 1, "a state of few messages is no state yet"

    begun_again = OutlierAlarms(here.pool, HOST, lambda: datetime.now(UTC), alarms.append)
    note = restorations.RestorationStep(fleet[3].id, datetime.now(UTC), restorations.NOTE, "noted", HOST)
    await restorations.keep_step(here.pool, note)
    await begun_again.look_for_outliers()
    assert len(alarms) == 1, "noted in this window already, if by another process"


def series(count: int, middle: float = 0.6, draw: np.random.Generator | None = None) -> list[Vector]:
    """Scores that remember their past."""
    draw = draw or np.random.default_rng(5)
    rows, state = list[Vector](), np.zeros(len(AXES))
    for _ in range(count):
        state = 0.5 * state + 0.1 * state[::-1] + 0.03 * draw.normal(size=len(AXES))
        rows.append(Vector(tuple(round(UNIT * each) for each in np.clip(middle + state, 0, 1))))
    return rows


async def instance(here: Node) -> Instance:
    found = await instances.find_in_conversation(here.pool, await here.begin_conversation())
    assert found is not None
    return found


async def spoke(here: Node, who: Instance, scores: list[Vector]) -> None:
    """As if so many replies had been scored; the state is the last score."""
    writing = (
        here.writer.submit(RecordScore(who.conversation, nth, each, SCORER, who.id, each))
        for nth, each in enumerate(scores, 1)
    )
    await asyncio.gather(*writing)


async def long_ago(world: World, fleet: list[Instance], rounds: int) -> None:
    """As if many rounds had been held over states that move, which would take a while."""
    moving = [series(rounds, draw=np.random.default_rng(nth)) for nth in range(len(fleet) + 1)]
    began = datetime.now(UTC)
    async with world.pool.transaction() as connection:
        await connection.execute("SET LOCAL session_replication_role = replica")
        for nth in range(rounds):
            at, hashed = began + timedelta(seconds=nth), bytes([nth]) * 32
            block = (nth + 2, hashed, hashed, 1, b"header", 1_000_000 + nth, hashed, at)
            await connection.execute(BLOCK, *block)
            median = json.dumps({"median": moving[-1][nth].millionths, "outliers": [], "drift": []})
            await connection.execute(RESULT, nth + 2, ADA, median.encode())
            for each, states in zip(fleet, moving, strict=False):
                vector = states[nth].scores()
                await connection.execute(STATE, each.conversation, at, nth + 2, each.id, vector, SCORER)


BLOCK = "INSERT INTO verification_chain VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"
RESULT = "INSERT INTO block_results VALUES ($1, $2, $3)"
STATE = """
    INSERT INTO character_evolution
        (conversation_id, ts, seq, instance_id, vector, scorer, leaf_node, leaf_number)
    VALUES ($1, $2, $3, $4, $5, $6, 'node-2', 1)
"""


async def measured(measuring: Estimates, who: Instance) -> list[ConversationMeasure]:
    measuring.note_reply(ScoredReply(who, 1, *series(2)))
    return await measuring.measure_due()


async def held(world: World) -> None:
    """A round over the states that the nodes have."""
    tip = await world.peers.votings[HOST].catch_up()
    world.vectors[HOST] = await vectors.load_rosters(world.pool, HOST, tip)
    assert isinstance(await story.run_round(await world.lead(NODES[0])), SealedRound)


async def page(here: Node, who: Instance) -> str:
    """What anybody may see about a conversation, whose id nobody sees."""
    name = series_names.name_series(await measures.load_series_key(here.pool), who.conversation)
    shown = metrics.series.render_page("")[0].decode()
    assert str(who.conversation) not in shown
    return "\n".join(line for line in shown.splitlines() if f'{{conversation="{name}"}}' in line)
