"""What is usual for a character is learnt from all who talk with it, and from nobody alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import numpy as np
import pytest

from ccn import settings
from ccn.core.axes import AXES, UNIT, Vector
from ccn.core.character.alarm import AlarmBaseline
from ccn.core.ids import UserId
from ccn.node.character.drift_watch import CONVERSATIONS, DriftAlarm, DriftWatch
from ccn.node.character.scoring import ScoredReply
from ccn.node.views import drift_review
from ccn.store.character import baselines
from ccn.store.character.baselines import BaselineKind
from ccn.store.character.vectors import RecordScore
from ccn.store.conversations import instances
from ccn.store.conversations.instances import Instance
from tests.support.gateway import grpc_door
from tests.support.node import node_world
from tests.support.node.node_world import ADA, Node

SCORER = "reading/v1"
USUAL, ODD = 0.6, 0.9
ENOUGH = 66
"""Replies of each of four conversations that make a baseline."""


@pytest.fixture
async def here(database: settings.DatabaseSettings) -> AsyncIterator[Node]:
    world = await node_world.found_world(database)
    async with world.node("node-1", without={"restoring", "heeding", "measuring"}) as node:
        yield node


async def test_of_one_person_alone_a_baseline_is_theirs(here: Node) -> None:
    instance = await spoke(here, await somebody(here), ODD, ENOUGH)
    learnt = await usual(here, instance)
    assert learnt is not None
    assert learnt.messages == CONVERSATIONS * ENOUGH
    await spoke(here, await somebody(here), USUAL, 4)
    assert await usual(here, instance) is not None, "a greeting does not void it"


async def test_who_came_first_does_not_say_what_is_usual_for_those_who_come_later(here: Node) -> None:
    first = await spoke(here, await somebody(here), ODD, ENOUGH)
    assert await usual(here, first) is not None
    ann = await somebody(here)
    instance = await spoke(here, ann, USUAL, 10)
    assert await usual(here, instance) is None, "of two people it needs two"
    [kept] = await drift_review.load_baselines(here.pool, ADA, SCORER)
    assert kept.void == "of fewer people than speak with the character now"
    await spoke(here, ann, USUAL, 20)
    half = await usual(here, instance)
    assert half is not None
    assert half.messages == 2 * 120
    assert half.centre == pytest.approx(np.full(len(half.axes), (ODD + USUAL) / 2), abs=0.02)
    for _ in range(2):
        await spoke(here, await somebody(here), USUAL, 30)
    third = await usual(here, instance)
    assert third is not None
    assert third.centre == pytest.approx(np.full(len(third.axes), USUAL + (ODD - USUAL) / 4), abs=0.02)
    newest = await baselines.load_newest(
        here.pool, ADA, BaselineKind.MESSAGES, scorer=SCORER, model=instance.model
    )
    assert newest is not None
    assert newest.owners == 4


async def test_who_said_most_gives_no_more_than_a_third(here: Node) -> None:
    for _ in range(12):
        instance = await spoke(here, await somebody(here), USUAL, 24, conversations=1)
    await spoke(here, await somebody(here), ODD, 100)
    learnt = await usual(here, instance)
    assert learnt is not None
    assert learnt.messages == 12 * 24 + 12 * 24 / 2
    assert learnt.centre == pytest.approx(np.full(len(learnt.axes), USUAL + (ODD - USUAL) / 3), abs=0.02)


async def test_a_node_that_goes_on_sees_who_else_talks_and_begins_its_watch_anew(here: Node) -> None:
    alarms = list[DriftAlarm]()
    watching = watched(here, alarms)
    instance = await spoke(here, await somebody(here), ODD, ENOUGH)
    assert await watching.find_baseline(instance) is not None
    other = await spoke(here, await somebody(here), USUAL, 10)
    for _ in range(20):
        assert await watching.find_baseline(other) is not None, "it does not look at every message"
    assert await watching.find_baseline(other) is None
    scores = scored(1, USUAL)[0]
    for _ in range(9):
        await watching.watch_reply(ScoredReply(other, 9, scores, scores))
    assert alarms == []


def watched(here: Node, alarms: list[DriftAlarm]) -> DriftWatch:
    return DriftWatch(here.pool, SCORER, lambda: datetime.now(UTC), lambda: 1, alarms.append)


async def usual(here: Node, instance: Instance) -> AlarmBaseline | None:
    """As a node sees it that has seen nothing yet."""
    return await watched(here, []).find_baseline(instance)


async def somebody(here: Node) -> UserId:
    return (await grpc_door.user(here.pool)).id


async def spoke(
    here: Node, owner: UserId, middle: float, replies: int, conversations: int = CONVERSATIONS
) -> Instance:
    """Conversations in each of which so many replies were scored; one of the instances."""
    for _ in range(conversations):
        begun = await here.conversations.start(ADA, owner)
        who, talk = begun.instance, begun.conversation.id
        writing = (
            here.writer.submit(RecordScore(talk, nth, each, SCORER, who.id, each))
            for nth, each in enumerate(scored(replies, middle), 1)
        )
        await asyncio.gather(*writing)
    return await instances.load_instance(here.pool, who.id)


def scored(count: int, middle: float) -> list[Vector]:
    draw = np.random.default_rng(count)
    rows = np.clip(middle + 0.03 * draw.normal(size=(count, len(AXES))), 0, 1)
    return [Vector(tuple(round(UNIT * each) for each in row)) for row in rows]
