"""Baselines come back as they were observed, and steps of the ladder in the order they were taken."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import asyncpg
import numpy as np
import pytest

from ccn.core.axes import Vector
from ccn.core.chain import owner_pseudonym
from ccn.store.character import baselines, restorations, vectors
from ccn.store.character.baselines import Baseline, BaselineKind
from ccn.store.character.restorations import RestorationStep
from ccn.store.character.vectors import RecordScore
from ccn.store.conversations import instances
from tests.support.store.open_store import ADA

if TYPE_CHECKING:
    from tests.support.store.open_store import Store

SCORER, MODEL = "tier-1/v1", "model-1"


async def test_a_baseline_comes_back_to_the_millionth_with_what_was_not_seen(store: Store) -> None:
    drawn = np.random.default_rng(1).integers(0, 1_000_001, size=(300, 16))
    scores = np.where(drawn % 7 == 0, np.nan, drawn / 1_000_000)
    kept = Baseline(ADA, BaselineKind.MESSAGES, SCORER, MODEL, store.clock.now, 1, 42, scores, owners=3)
    await baselines.keep_baseline(store.pool, kept)
    found = await baselines.load_newest(store.pool, ADA, BaselineKind.MESSAGES, scorer=SCORER, model=MODEL)
    assert found is not None
    assert np.array_equal(found.scores, scores, equal_nan=True)
    assert (found.made_at, found.plate_version, found.seed, found.owners) == (store.clock.now, 1, 42, 3)


async def test_another_scorer_or_model_makes_a_baseline_void_and_the_newest_holds(store: Store) -> None:
    for number in (1, 2):
        at = store.clock.forward(hours=1)
        await baselines.keep_baseline(
            store.pool, Baseline(ADA, BaselineKind.PROBES, SCORER, MODEL, at, 1, number, np.ones((40, 16)))
        )
    newest = await baselines.load_newest(store.pool, ADA, BaselineKind.PROBES, scorer=SCORER, model=MODEL)
    assert newest is not None
    assert newest.seed == 2
    for scorer, model in ((SCORER, "model-2"), ("tier-1/v2", MODEL)):
        assert (
            await baselines.load_newest(store.pool, ADA, BaselineKind.PROBES, scorer=scorer, model=model)
            is None
        )
    assert [each.seed for each in await baselines.list_of_character(store.pool, ADA)] == [2, 1]


async def test_a_baseline_is_never_changed(store: Store) -> None:
    kept = Baseline(ADA, BaselineKind.PROBES, SCORER, MODEL, store.clock.now, 1, 1, np.ones((40, 16)))
    await baselines.keep_baseline(store.pool, kept)
    with pytest.raises(asyncpg.PostgresError, match="its rows are history"):
        await _raw(store, "UPDATE character_baselines SET seed = 2")


async def test_steps_are_numbered_and_notes_touch_nobody(store: Store) -> None:
    one, other = await store.host(await store.conversation()), await store.host(await store.conversation())
    for step in ("note", "re-anchor", "cleared"):
        at = store.clock.forward(minutes=1)
        await restorations.keep_step(
            store.pool, RestorationStep(one.id, at, step, "why", "node-1", 60.0, 54.0)
        )
    await restorations.keep_step(store.pool, RestorationStep(other.id, at, "note", "why", "node-1"))
    assert [each.step for each in await restorations.list_of_instance(store.pool, one.id)] == [
        "note",
        "re-anchor",
        "cleared",
    ]
    taken = RestorationStep(other.id, store.clock.now, "re-anchor", "why", "node-1")
    since = store.clock.now - timedelta(hours=1)
    assert not await restorations.keep_step_within(store.pool, taken, ADA, since, 1), "one was touched"
    assert await restorations.keep_step_within(store.pool, taken, ADA, store.clock.now, 1), "not of late"


async def test_of_many_nodes_that_look_at_once_no_more_take_a_step_than_there_is_room_for(
    store: Store,
) -> None:
    hosted = [await store.host(await store.conversation()) for _ in range(12)]
    since = store.clock.now - timedelta(hours=1)
    steps = [RestorationStep(each.id, store.clock.now, "re-anchor", "why", "node-1") for each in hosted]
    kept = await asyncio.gather(
        *(restorations.keep_step_within(store.pool, step, ADA, since, 3) for step in steps)
    )
    assert sum(kept) == 3
    noted = [len(await restorations.list_of_instance(store.pool, each.id)) for each in hosted]
    assert noted == [int(each) for each in kept]


async def test_raw_scores_are_kept_beside_the_state_and_read_by_scorer(store: Store) -> None:
    instance = await store.host(await store.conversation())
    for seq, scorer in enumerate((SCORER, SCORER, "tier-0/v1"), 1):
        raw = Vector((seq, None) * 8)
        await store.writer.submit(
            RecordScore(instance.conversation, seq, Vector((9,) * 16), scorer, instance.id, raw)
        )
    found = await vectors.load_scored(store.pool, instance.conversation, SCORER, last=10)
    assert [(each.seq, each.vector) for each in found] == [
        (1, Vector((1, None) * 8)),
        (2, Vector((2, None) * 8)),
    ]
    newest = await vectors.load_newest_by(store.pool, instance.conversation, "tier-0/v1")
    assert newest is not None
    assert newest.seq == 3
    nobodys = [(owner_pseudonym.NOBODY, each) for each in reversed(found)]
    assert await vectors.load_scored_by(store.pool, ADA, SCORER, MODEL, last=10) == nobodys
    assert await vectors.load_scored_by(store.pool, ADA, SCORER, "model-2", last=10) == []


async def test_scores_of_many_people_come_in_turns(store: Store) -> None:
    owners = [await store.user(), await store.user()]
    for who, count in zip(owners, (4, 2), strict=True):
        for _ in range(2):
            instance = await store.host(await store.conversation(who))
            for seq in range(1, count + 1):
                store.clock.forward(seconds=1)
                state = Vector((9,) * 16)
                await store.writer.submit(
                    RecordScore(instance.conversation, seq, state, SCORER, instance.id, state)
                )
    found = await vectors.load_scored_by(store.pool, ADA, SCORER, MODEL, last=6)
    assert [who for who, _ in found] == [owners[1], owners[0]] * 3
    assert [each.at for _, each in found[1::2]] == sorted(
        (each.at for _, each in found[1::2]), reverse=True
    )


async def test_scores_of_instances_that_something_was_done_to_make_no_baseline(store: Store) -> None:
    instance = await store.host(await store.conversation())
    score = RecordScore(instance.conversation, 1, Vector((9,) * 16), SCORER, instance.id, Vector((5,) * 16))
    await store.writer.submit(score)
    assert len(await vectors.load_scored_by(store.pool, ADA, SCORER, MODEL, last=10)) == 1
    await restorations.keep_step(
        store.pool, RestorationStep(instance.id, store.clock.now, "re-anchor", "why", "node-1")
    )
    assert await vectors.load_scored_by(store.pool, ADA, SCORER, MODEL, last=10) == []
    fresh = await store.host(await store.conversation())
    await store.writer.submit(
        RecordScore(fresh.conversation, 1, Vector((9,) * 16), SCORER, fresh.id, Vector((5,) * 16))
    )
    running = instances.ChangeInstance(fresh, instances.InstanceStatus.QUARANTINED, "an operator said so")
    await store.writer.submit(running)
    assert await vectors.load_scored_by(store.pool, ADA, SCORER, MODEL, last=10) == []


async def _raw(store: Store, sql: str) -> None:
    connection = await asyncpg.connect(store.database.url.get_secret_value())
    try:
        await connection.execute(sql)
    finally:
        await connection.close()
