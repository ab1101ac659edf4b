"""A record that nobody touched never alarms, whatever its cluster went through."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from ccn import settings
from ccn.cli import verify
from ccn.core.axes import Vector
from ccn.core.chain.quorum import FaultModel
from ccn.core.chain.roster import RosterRow
from ccn.core.chain.rules import Weighing
from ccn.core.ids import CharacterId, ConversationId, InstanceId, NodeId, TurnId
from ccn.core.message import Role
from ccn.core.turn import TurnStatus
from ccn.node.rounds import validator_changes
from ccn.node.rounds.member_snapshot import MemberSnapshot
from ccn.store.conversations import conversations, instances, turns
from ccn.store.conversations.conversations import AppendMessage
from ccn.store.rounds import blocks, export
from ccn.store.upkeep import retention
from tests.cli.conftest import HERE, founded, live, new_id, seal
from tests.support.core.rosters import pack_rows
from tests.support.speakers import ANN, WREN

if TYPE_CHECKING:
    from tests.cli.conftest import Copy
    from tests.support.node.round_world import World


async def verdict(world: World) -> verify.Audit:
    file = io.BytesIO()
    await export.export_record(world.pool, file)
    return verify.verify(io.BytesIO(file.getvalue()))


@pytest.mark.asyncio(loop_scope="module")
async def test_a_record_with_everything_in_it_verifies(copy: Copy) -> None:
    found = await copy.verdict()
    assert (found.code, found.findings.contradictions, found.findings.invalid) == (verify.VERIFIED, [], "")
    chain, counts = found.chain, found.findings.counts
    assert (chain.height, chain.size, counts["redacted"], counts["waiting"]) == (4, 26, 2, 1)
    assert chain.cosigners == ["node-1", "node-2", "node-3"]


@pytest.mark.asyncio(loop_scope="module")
async def test_the_same_record_is_always_the_same_file(copy: Copy) -> None:
    assert await copy.export() == await copy.export()


@pytest.mark.parametrize(
    ("nodes", "faults"), [(1, FaultModel.CRASH), (4, FaultModel.BYZANTINE), (5, FaultModel.CRASH)]
)
async def test_clusters_of_every_kind_verify(
    database: settings.DatabaseSettings, nodes: int, faults: FaultModel
) -> None:
    async with founded(database, [NodeId(f"node-{n}") for n in range(nodes)], faults) as world:
        if nodes > 1:
            await live(world)
        await seal(world, NodeId("node-0"))
        found = await verdict(world)
    assert (found.code, found.findings.contradictions) == (verify.VERIFIED, [])


@pytest.mark.parametrize(("nodes", "faults"), [(3, FaultModel.CRASH), (4, FaultModel.BYZANTINE)])
async def test_an_instance_that_two_nodes_name_is_no_contradiction(
    database: settings.DatabaseSettings, nodes: int, faults: FaultModel
) -> None:
    names = [NodeId(f"node-{n}") for n in range(nodes)]
    async with founded(database, names, faults) as world:
        for epoch, node in enumerate(names):
            named = [
                RosterRow(InstanceId(UUID(int=each)), epoch, Vector((100_000 * epoch,) * 16))
                for each in (7, epoch)
            ]
            world.vectors[node] = [pack_rows(CharacterId("ada"), named)]
        await seal(world, names[0])
        assert (await verdict(world)).findings.contradictions == []
        (agreed,) = await blocks.load_results(world.pool, 1)
    assert json.loads(agreed)["disputed"] == [2 * n + 1 for n in range(nodes)]


@pytest.mark.parametrize(("nodes", "faults"), [(3, FaultModel.CRASH), (4, FaultModel.BYZANTINE)])
async def test_a_cluster_of_the_first_version_goes_on_by_the_new_rules_and_all_of_it_verifies(
    database: settings.DatabaseSettings, nodes: int, faults: FaultModel
) -> None:
    names = [NodeId(f"node-{n}") for n in range(nodes)]
    async with founded(database, names, faults, Weighing.INSTANCES) as world:
        for at, node in enumerate(names):
            row = RosterRow(InstanceId(UUID(int=at)), 1, Vector((100_000 * at,) * 16))
            world.vectors[node] = [pack_rows(CharacterId("ada"), [row])]
        await seal(world, names[0])
        for voting in world.peers.votings.values():  # as each does before it reports
            await validator_changes.load_wanted(world.pool, voting, MemberSnapshot(), 1)
        for _ in range(2):
            await seal(world, names[0])
        found = await verdict(world)
        agreed = [json.loads((await blocks.load_results(world.pool, at))[0]) for at in (1, 2, 3)]
    assert (found.code, found.findings.contradictions, found.findings.invalid) == (verify.VERIFIED, [], "")
    by_then, now = ("node", "owner and node") if faults is FaultModel.BYZANTINE else ("instance", "owner")
    assert [(each["weights"], each.get("owners")) for each in agreed] == [
        (by_then, None),
        (by_then, None),
        (now, 1),
    ]


async def test_an_instance_that_a_node_gives_to_somebody_else_is_found(
    database: settings.DatabaseSettings,
) -> None:
    async with founded(database, [NodeId("node-0")]) as world:
        hosted = conversations.BeginConversation(ConversationId(UUID(int=8)), CharacterId("ada"))
        await world.writer.submit(hosted)
        spawned = instances.SpawnInstance(InstanceId(UUID(int=9)), hosted.id, "model-1", 1)
        await world.writer.submit(spawned)
        for row in (
            RosterRow(spawned.id, 1, Vector((1,) * 16)),
            RosterRow(spawned.id, 1, Vector((1,) * 16), 7),
        ):
            assert (await verdict(world)).findings.contradictions == []
            world.vectors[NodeId("node-0")] = [pack_rows(CharacterId("ada"), [row])]
            await seal(world, NodeId("node-0"))
        found = await verdict(world)
    assert found.code == verify.CONTRADICTION
    wrong = f"the roster of node-0 gives instance {spawned.id} to somebody else than its owner"
    assert [(where, what) for _, where, what in found.findings.contradictions] == [("block 2", wrong)]


async def test_series_that_grew_too_old_are_no_loss(database: settings.DatabaseSettings) -> None:
    async with founded(database, [NodeId(f"node-{n}") for n in range(3)]) as world:
        await live(world)
        await retention.forget_series(world.pool, world.writer, datetime.now(UTC))
        assert (await verdict(world)).code == verify.VERIFIED  # before and after the block that seals it
        await seal(world, NodeId("node-0"))
        assert (await verdict(world)).code == verify.VERIFIED
        assert await world.pool.value("SELECT count(*) FROM character_evolution") == 0


async def test_a_reply_whose_node_has_not_come_back_is_not_missing(
    database: settings.DatabaseSettings,
) -> None:
    nodes = [NodeId(f"node-{n}") for n in range(3)]
    async with founded(database, nodes) as world:
        await world.say("one")
        world.peers.away = {nodes[0]}  # it wrote everything so far, and only it can report that
        await seal(world, nodes[1])
        found = await verdict(world)
    assert (found.code, found.findings.counts["waiting"]) == (verify.VERIFIED, 3)


async def test_words_of_the_character_that_no_instance_said_are_told_apart(
    database: settings.DatabaseSettings,
) -> None:
    async with founded(database, [NodeId("node-1")]) as world:
        await world.say("go on")
        await world.writer.submit(AppendMessage(HERE, Role.ASSISTANT, "I went on.", ANN))
        await seal(world, NodeId("node-1"))
        found = await verdict(world)
    counts = found.findings.counts
    assert (found.code, counts["messages"], counts["recorded"]) == (verify.VERIFIED, 2, 1)
    assert "1 reply was recorded by an account; no instance said it" in verify.render_text(found, "x")


async def test_a_reply_by_an_instance_of_another_conversation_is_a_contradiction(
    database: settings.DatabaseSettings,
) -> None:
    async with founded(database, [NodeId("node-1")]) as world:
        accepted = await world.writer.submit(turns.AcceptTurn(TurnId(new_id()), HERE, "Who is there?", ANN))
        await world.writer.submit(turns.StartTurn(accepted, 0))
        running = replace(accepted, status=TurnStatus.RUNNING)
        await world.writer.submit(turns.CommitReply(running, 0, "Not I.", WREN))
        await seal(world, NodeId("node-1"))
        found = await verdict(world)
    assert (found.code, found.findings.ordered[0].where) == (verify.CONTRADICTION, f"conversation {HERE}")


async def test_a_record_without_a_block_is_not_final(database: settings.DatabaseSettings) -> None:
    async with founded(database, [NodeId("node-1")]) as world:
        assert (await verdict(world)).code == verify.UNSIGNED
