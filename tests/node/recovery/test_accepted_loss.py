"""Acknowledged leaves that no database has any more: an operator lets go of them, on the record."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ccn import errors
from ccn.core.rounds.database_timeline import DatabaseTimeline
from ccn.core.rounds.signer import NumberedHash, SignerState
from ccn.node.recovery import accepted_loss, database_check, timeline_file
from ccn.node.signing import memory
from ccn.node.signing.memory import SigningRight
from ccn.store.operators import requests
from tests.support.core.keys import ed25519
from tests.support.node.round_world import NODES, World

NODE = NODES[0]
HASH = "SELECT hash FROM leaves WHERE node_id = $1 AND number = $2"
LOSE_TWO = """
    DELETE FROM leaves WHERE node_id = 'node-1' AND number > 3;
    UPDATE leaf_sources SET head = 3 WHERE node_id = 'node-1'
"""


@pytest.fixture
def right(tmp_path: Path) -> Iterator[SigningRight]:
    memory.prepare_folder(tmp_path)
    with memory.open_right(tmp_path) as held:
        yield held


async def _acknowledged(world: World, right: SigningRight, number: int) -> NumberedHash:
    newest = NumberedHash(number, await world.pool.value(HASH, NODE, number))
    voted = SignerState(0, world.genesis.hash, 1, 2, b"v" * 32, 4, 2, b"l" * 32)
    right.open_memory(SignerState(0, world.genesis.hash)).save(voted)
    right.remember_acknowledged(newest)
    return newest


async def _look(world: World, right: SigningRight) -> None:
    await database_check.check_database(
        world.database, database_check.make_fence(NODE, right, None), right.state, ed25519
    )


async def test_a_node_goes_on_after_what_is_left_and_the_record_is_asked_to_say_so(
    world: World, right: SigningRight
) -> None:
    await world.say("one", "two", "three")
    newest = await _acknowledged(world, right, 5)
    await _look(world, right)
    await world.superuser(LOSE_TWO)
    with pytest.raises(errors.AcknowledgedLost):
        await _look(world, right)
    done = await accepted_loss.accept_loss(world.database, NODE, right, "ann", "the standby was behind")
    kept = NumberedHash(3, await world.pool.value(HASH, NODE, 3))
    assert (done.lost, done.kept) == (newest, kept)
    await _look(world, right)
    state = right.state
    assert state is not None
    assert (state.acknowledged, state.reported_first, state.reported_count) == (kept, 4, 0)
    assert (state.voted_height, state.voted_term) == (1, 2)  # what was signed is not let go
    (asked,) = await requests.list_newest(world.pool, 1)
    assert (asked.request.command, asked.request.by) == ("accept-loss", "ann")
    assert (asked.request.body["acknowledged"], asked.request.body["kept"]) == (5, 3)


async def test_what_is_there_and_what_was_signed_is_not_let_go(world: World, right: SigningRight) -> None:
    await world.say("one", "two", "three")
    with pytest.raises(errors.InputInvalid, match="has no note of"):
        await accepted_loss.accept_loss(world.database, NODE, right, "ann", "why not")
    await _acknowledged(world, right, 5)
    with pytest.raises(errors.InputInvalid, match="nothing is lost"):
        await accepted_loss.accept_loss(world.database, NODE, right, "ann", "why not")
    await world.superuser(LOSE_TWO + "; UPDATE verification_chain SET hash = sha256(hash)")
    with pytest.raises(errors.RecordLost, match="another block in the place of block 0"):
        await accepted_loss.accept_loss(world.database, NODE, right, "ann", "why not")


async def test_a_node_that_does_not_run_yet_is_looked_for_by_its_folder(
    world: World, right: SigningRight, tmp_path: Path
) -> None:
    await world.say("one", "two", "three")
    await database_check.check_folder(world.database, NODE, tmp_path / "of a node that never ran", ed25519)
    await database_check.check_folder(world.database, NODE, tmp_path, ed25519)
    await _acknowledged(world, right, 5)
    await database_check.check_folder(world.database, NODE, tmp_path, ed25519)
    await world.superuser(LOSE_TWO)
    with pytest.raises(errors.AcknowledgedLost):
        await database_check.check_folder(world.database, NODE, tmp_path, ed25519)


async def test_an_operator_accepts_another_database_in_the_place_of_the_one_it_has_seen(
    world: World, right: SigningRight
) -> None:
    await world.say("one", "two", "three")
    newest = await _acknowledged(world, right, 5)
    await _look(world, right)
    timeline_file.write_timeline(right.file.parent, DatabaseTimeline(7, 1))
    with pytest.raises(errors.DatabaseUnavailable, match="is another database"):
        await _look(world, right)
    done = await accepted_loss.accept_loss(world.database, NODE, right, "ann", "moved with pg_dump")
    assert (done.lost, done.kept) == (newest, newest)
    await _look(world, right)
    with pytest.raises(errors.InputInvalid, match="nothing is lost"):
        await accepted_loss.accept_loss(world.database, NODE, right, "ann", "why not")
