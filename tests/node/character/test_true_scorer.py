"""The scorer that ships, on what the stand-in really says: who drifts is found, and nobody else touched."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator

import numpy as np
import pytest
from structlog.testing import capture_logs
from typer.testing import CliRunner

from ccn import cli, settings
from ccn.core.ids import ConversationId
from ccn.store.character import restorations, vectors
from ccn.store.conversations import instances
from tests.support.node import node_world, stand_in_model
from tests.support.node.node_world import Node
from tests.support.node.stand_in_model import SCORER, StandIn
from tests.support.speakers import ANN

MESSAGES = int(os.environ.get("CCN_HEALTHY_MESSAGES", "80"))
ROOMY = settings.InstancesSettings(heartbeat_s=0.5, adopt_after_s=5, chunk_ms=5, queue_limit=100)
FLEET = 8


@pytest.fixture
async def here(database: settings.DatabaseSettings) -> AsyncIterator[Node]:
    world = await node_world.found_world(database)
    async with world.node("node-1", StandIn(), ROOMY, scorer=SCORER) as node:
        await stand_in_model.usual(node.pool)
        yield node


@pytest.mark.timeout(300 + MESSAGES)
async def test_with_nobody_drifting_nobody_is_restored(
    here: Node, capsys: pytest.CaptureFixture[str]
) -> None:
    talks = [await here.begin_conversation() for _ in range(FLEET)]
    await asyncio.gather(*(talked(here, talk, MESSAGES // FLEET, nth) for nth, talk in enumerate(talks)))
    await quiet(here)
    scored = [len(await vectors.load_window(here.pool, talk, last=10_000)) for talk in talks]
    taken = [step for talk in talks for step in await steps(here, talk)]
    with capsys.disabled():
        said = f"{sum(scored)} healthy replies scored, {taken.count('note')} alarms, all cleared"
        print(f"\n{said}")  # noqa: T201 - people want to see it
    assert sum(scored) == MESSAGES // FLEET * FLEET
    assert set(taken) <= {"note", "cleared"}
    assert taken.count("note") == taken.count("cleared")


async def test_who_drifts_is_brought_back_and_people_can_see_why(
    here: Node, database: settings.DatabaseSettings
) -> None:
    suspect, *others = [await here.begin_conversation() for _ in range(5)]
    await asyncio.gather(*(talked(here, talk, 12, nth) for nth, talk in enumerate([suspect, *others])))
    assert isinstance(here.model, StandIn)
    here.model.faults.add_rule(stand_in_model.DRIFTING)
    await here.reply((await here.conversations.say(suspect, "My boat is called Zephyr.", ANN)).id)
    for nth in range(6):
        await talked(here, suspect, 1, 100 + nth)
        await quiet(here)
    assert (await steps(here, suspect))[:3] == ["note", "re-anchor", "cleared"]
    assert not {"re-anchor", "re-initialise", "quarantine"} & {
        step for talk in others for step in await steps(here, talk)
    }

    found = json.loads(await command(database, "drift", str(suspect), "--json"))
    assert [each["step"] for each in found["done"]][:3] == ["note", "re-anchor", "cleared"]
    assert max(each["alarm_level"] for each in found["series"]) > found["threshold"]
    assert 0 < found["from_charter"] < 0.5
    assert found["usual_from_charter"] < 0.3
    assert found["from_median"] is None, "no round was held"
    shown = await command(database, "drift", found["instance"])
    assert "from the round's median  not estimable" in shown.replace("   ", "")
    assert "^" in shown
    assert "re-anchor" in shown

    kept = [json.loads(line) for line in (await command(database, "baseline", "--json")).splitlines()]
    assert {(each["kind"], each["messages"], each["void"]) for each in kept} == {
        ("messages", 480, None),
        ("probes", 40, None),
    }
    measures = json.loads(await command(database, "scorer", "--json"))
    assert measures == {"scorer": SCORER.version, "judge": None}
    assert "CCN_SCORING_JUDGE" in await command(database, "scorer")
    assert "T² up to" in await command(database, "baseline", "ada")


async def talked(here: Node, talk: ConversationId, messages: int, seed: int) -> None:
    """What is said is drawn by the seed, and every alarm is looked into before more is said.

    So each run of this file says, scores and asks the same: a confirmation is wrong about one healthy
    instance in a hundred, and whether one of these is among them does not change from run to run.
    """
    draw = np.random.default_rng(seed)
    for _ in range(messages):
        turn = await here.conversations.say(talk, stand_in_model.ask(draw), ANN)
        await here.reply(turn.id)
        await quiet(here)


async def quiet(here: Node) -> None:
    await here.living.scoring.wait_until_idle()
    await here.living.restoration.alarms.join()


async def steps(here: Node, talk: ConversationId) -> list[str]:
    found = await instances.find_in_conversation(here.pool, talk)
    assert found is not None
    return [each.step for each in await restorations.list_of_conversation(here.pool, found.id)]


async def command(database: settings.DatabaseSettings, *arguments: str) -> str:
    where = ("--database-url", database.url.get_secret_value())
    with capture_logs():
        done = await asyncio.to_thread(
            CliRunner().invoke, cli.app, ["character", *arguments, *where], catch_exceptions=False
        )
    assert done.exit_code == 0, done.output
    return done.stdout
