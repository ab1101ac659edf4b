"""Rounds of three nodes that call each other directly, on a real database with real signatures."""

from __future__ import annotations

import secrets
from uuid import UUID

import pytest

from ccn import errors
from ccn.core import ids
from ccn.core.axes import Vector
from ccn.core.chain import checkpoint
from ccn.core.chain.roster import RosterRow
from ccn.core.ids import ConversationId, InstanceId
from ccn.core.ledger import proof
from ccn.node.rounds import consensus_round as story
from ccn.node.rounds.consensus_round import FailedRound, SealedRound
from ccn.node.views import round_history
from ccn.store.character import vectors
from ccn.store.conversations import conversations, instances
from ccn.store.rounds import blocks, consensus_log, ledger
from tests.support.core.keys import ed25519
from tests.support.core.rosters import pack_rows
from tests.support.node.round_world import ADA, NODES, World


async def test_a_round_seals_everything_that_was_written(world: World) -> None:
    await world.say("one", "two")
    outcome = await story.run_round(await world.lead(NODES[0]))
    assert isinstance(outcome, SealedRound)
    assert (outcome.tip.height, outcome.votes, outcome.refused) == (1, tuple(NODES), {})
    assert await ledger.count_waiting(world.pool) == 0
    assert {each.tip for each in world.peers.votings.values()} == {outcome.tip}


async def test_a_block_is_final_when_a_quorum_cosigned_its_checkpoint(world: World) -> None:
    await story.run_round(await world.lead(NODES[1]))
    head = await ledger.load_head(world.pool)
    assert head is not None
    assert checkpoint.is_final(head, world.genesis.rules, ed25519)
    assert len(head.signatures) == 3


async def test_a_checkpoint_that_nobody_cosigned_yet_is_not_shown(world: World) -> None:
    await story.run_round(await world.lead(NODES[0]))
    before = await ledger.load_head(world.pool)
    await story.run_round(await world.lead(NODES[0]))
    async with world.pool.transaction() as connection:
        await connection.execute("SET LOCAL session_replication_role = replica")  # as if none had come yet
        await connection.execute(
            "DELETE FROM cosignatures WHERE tree_size = (SELECT max(tree_size) FROM checkpoints)"
        )
    assert await ledger.load_head(world.pool) == before


async def test_an_outsider_can_check_a_message_and_the_growth_of_the_tree(world: World) -> None:
    await world.say("one")
    first = await story.run_round(await world.lead(NODES[0]))
    await world.say("two", "three")
    second = await story.run_round(await world.lead(NODES[2]))
    assert isinstance(first, SealedRound)
    assert isinstance(second, SealedRound)
    old, new = first.tip.checkpoint(), second.tip.checkpoint()
    node, number = await ledger.find_leaf(world.pool, world.here, 2)
    place = await ledger.find_place(world.pool, node, number)
    leaf = await world.pool.value(
        "SELECT hash FROM leaves WHERE node_id = $1 AND number = $2", node, number
    )
    assert proof.verify_inclusion(
        leaf, place, new.size, await ledger.prove_inclusion(world.pool, place, new.size), new.root
    )
    grown = await ledger.prove_consistency(world.pool, old.size, new.size)
    assert proof.verify_consistency(old.size, new.size, grown, old.root, new.root)


async def test_rounds_go_on_without_a_minority_and_it_catches_up(world: World) -> None:
    world.peers.away = {NODES[2]}
    for words in ("one", "two"):
        await world.say(words)
        outcome = await story.run_round(await world.lead(NODES[0]))
        assert isinstance(outcome, SealedRound)
        assert outcome.refused == {NODES[2]: "away"}
    world.peers.away = set()
    outcome = await story.run_round(await world.lead(NODES[2]))
    assert isinstance(outcome, SealedRound)
    assert (outcome.tip.height, outcome.votes) == (3, tuple(NODES))


async def test_without_a_quorum_the_round_fails_and_the_next_one_seals_the_backlog(world: World) -> None:
    await world.say("one")
    world.peers.away = {NODES[1], NODES[2]}
    outcome = await story.run_round(await world.lead(NODES[0]))
    assert isinstance(outcome, FailedRound)
    assert outcome.reason == "1 reports are valid, 2 are needed"
    entry = (await consensus_log.load_newest(world.pool, limit=1))[0]
    assert (entry.committed, entry.data["reason"]) == (False, outcome.reason)
    await world.say("two")
    world.peers.away = set()
    assert isinstance(await story.run_round(await world.lead(NODES[0])), SealedRound)
    assert await ledger.count_waiting(world.pool) == 0


async def test_an_overtaken_leader_commits_nothing(world: World) -> None:
    await world.say("one")
    old = await world.lead(NODES[0])
    new = await world.lead(NODES[1])
    with pytest.raises(errors.StaleTerm):
        await story.run_round(old)
    assert isinstance(await story.run_round(new), SealedRound)
    assert await blocks.load_height(world.pool) == 1


async def test_the_median_and_the_outlier_are_in_the_block(world: World) -> None:
    for nth, node in enumerate(NODES):
        scores = (900_000 if nth == 2 else 500_000 + nth,) * 16
        row = RosterRow(InstanceId(UUID(int=nth + 1)), 1, Vector(scores))
        world.vectors[node] = [pack_rows(ADA, [row])]
    outcome = await story.run_round(await world.lead(NODES[0]))
    assert isinstance(outcome, SealedRound)
    assert outcome.outliers == 1
    body = await world.pool.value("SELECT body FROM block_results WHERE height = 1")
    assert b'"median":[' + b",".join([b"500001"] * 16) in body
    shown = await round_history.load_block(world.pool, 1)
    assert shown["reports"] == [*NODES]
    (ada,) = shown["results"]
    assert (ada["character"], ada["instances"], set(ada["median"].values())) == (ADA, 3, {0.500001})
    assert ada["outliers"] == [{"instance": str(UUID(int=3)), "node": NODES[2], "drift": 0.399999}]
    assert (ada["drift"], ada["disputed"]) == ({"least": 0, "most": 0.399999}, [])


async def test_what_a_node_hosts_is_reported_and_its_drift_written_back(world: World) -> None:
    spawned = []
    for score in (400_000, 400_000, 600_000):
        here = ConversationId(ids.make_uuid7(2, secrets.token_bytes(10)))
        await world.writer.submit(conversations.BeginConversation(here, ADA))
        spawn = instances.SpawnInstance(
            InstanceId(ids.make_uuid7(3, secrets.token_bytes(10))), here, "model", 1
        )
        instance = await world.writer.submit(spawn)
        await world.writer.submit(
            instances.ChangeInstance(instance, instances.InstanceStatus.RUNNING, "passed its interview")
        )
        await world.writer.submit(
            vectors.RecordScore(here, 1, Vector((score,) * 16), "tier-1/v1", instance.id)
        )
        spawned.append(instance.id)
    (hosted,) = world.vectors[NODES[0]] = await vectors.load_rosters(world.pool, NODES[0], world.genesis)
    assert {row.instance for row in hosted.rows()} == set(spawned)
    assert isinstance(await story.run_round(await world.lead(NODES[1])), SealedRound)
    drifts = [(await instances.load_instance(world.pool, each)).drift for each in spawned]
    assert drifts == pytest.approx([0.0, 0.0, 0.2])
