"""Blocks in the database: what was committed can be read back, checked and decided again."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from ccn import errors, settings
from ccn.core.ids import NodeId
from ccn.core.rounds import ballot, readback
from ccn.core.rounds.ballot import Certificate, Draft
from ccn.store.connection import pool
from ccn.store.connection.pool import Pool
from ccn.store.rounds import blocks, consensus_log, terms
from tests.support.core.honest_cluster import Cluster, cluster_of, rules_of
from tests.support.core.keys import ed25519

LEADER = NodeId("node-1")


@pytest_asyncio.fixture(loop_scope="session")
async def chain(database: settings.DatabaseSettings) -> AsyncIterator[tuple[Pool, Cluster]]:
    """A founded chain of three nodes, and a cluster that decides what goes into it."""
    cluster = cluster_of(3)
    async with pool.open(database, "node-1") as connections:
        cluster.term = await terms.take_over_term(connections, LEADER, 1)
        await blocks.write_genesis(connections, cluster.term, cluster.tip)
        yield connections, cluster


async def voted(connections: Pool, cluster: Cluster, leaves: int = 2) -> tuple[Draft, Certificate]:
    """A draft with its votes, whose leaves are in the database."""
    draft = cluster.draft(cluster.reports(leaves))
    for report in draft.proposal.reports:
        said = report.statement
        bodies = [f"{said.node} {said.first + nth}".encode() for nth in range(said.count)]
        await connections.rows(
            "INSERT INTO leaf_sources (node_id) VALUES ($1) ON CONFLICT DO NOTHING", said.node
        )
        await connections.rows(
            "INSERT INTO leaves (node_id, number, kind, body)"
            " SELECT $1, $2::bigint + nth - 1, 'test', body"
            " FROM unnest($3::bytea[]) WITH ORDINALITY AS b (body, nth)",
            said.node,
            said.first,
            bodies,
        )
    certificate = ballot.tally(draft.block.header, cluster.votes(draft), cluster.tip.rules, ed25519)
    assert isinstance(certificate, Certificate)
    return draft, certificate


async def test_a_chain_can_be_followed_from_what_the_database_shows(chain: tuple[Pool, Cluster]) -> None:
    connections, cluster = chain
    for leaves in (2, 0, 3):
        before = cluster.tip
        draft, certificate = await voted(connections, cluster, leaves)
        after = await blocks.write_block(connections, before, draft, certificate)
        shown = await blocks.load_block(connections, after.height)
        assert shown is not None
        assert readback.confirm_block(shown, before, LEADER, cluster.own(LEADER), ed25519) == after
        assert cluster.commit(draft) == after == await blocks.load_tip(connections)
    assert await blocks.load_height(connections) == 3
    assert (await blocks.load_tip(connections, 1)) != cluster.tip


async def test_reports_are_restored_with_their_signatures(chain: tuple[Pool, Cluster]) -> None:
    connections, cluster = chain
    draft, certificate = await voted(connections, cluster)
    await blocks.write_block(connections, cluster.tip, draft, certificate)
    assert tuple(await blocks.load_reports(connections, 1)) == draft.proposal.reports


async def test_a_second_block_of_a_height_is_refused_whole(chain: tuple[Pool, Cluster]) -> None:
    connections, cluster = chain
    draft, certificate = await voted(connections, cluster)
    await blocks.write_block(connections, cluster.tip, draft, certificate)
    with pytest.raises(errors.Conflict):
        await blocks.write_block(connections, cluster.tip, draft, certificate)
    assert [entry.command for entry in await consensus_log.load_newest(connections)] == ["round", "found"]


async def test_a_block_of_an_older_term_is_refused_whole(chain: tuple[Pool, Cluster]) -> None:
    connections, cluster = chain
    draft, certificate = await voted(connections, cluster)
    await terms.take_over_term(connections, NodeId("node-2"), 1)
    with pytest.raises(errors.StaleTerm):
        await blocks.write_block(connections, cluster.tip, draft, certificate)
    assert await blocks.load_height(connections) == 0


async def test_failed_rounds_are_in_the_log_with_their_reason(chain: tuple[Pool, Cluster]) -> None:
    connections, cluster = chain
    reason = "2 of 3 nodes answered, 2 needed"
    await consensus_log.log_failed(connections, cluster.term, reason, {"height": 1})
    entry = (await consensus_log.load_newest(connections, limit=1))[0]
    assert (entry.committed, entry.data["height"]) == (False, 1)


async def test_a_chain_is_founded_once(chain: tuple[Pool, Cluster]) -> None:
    connections, cluster = chain
    await blocks.write_genesis(connections, cluster.term, cluster.tip)
    assert await blocks.load_tip(connections) == cluster.tip
    other = cluster_of(5)
    with pytest.raises(errors.Conflict):
        await blocks.write_genesis(connections, cluster.term, other.tip)


async def test_new_rules_are_in_force_from_the_next_block(chain: tuple[Pool, Cluster]) -> None:
    connections, cluster = chain
    wanted = rules_of(["node-1", "node-2", "node-3", "node-4"])
    reports = [cluster.report(node, wants=wanted, leaves=0) for node in cluster.nodes]
    draft = cluster.draft(reports, wanted)
    certificate = ballot.tally(draft.block.header, cluster.votes(draft), cluster.tip.rules, ed25519)
    assert isinstance(certificate, Certificate)
    after = await blocks.write_block(connections, cluster.tip, draft, certificate)
    assert after.rules == wanted
    assert await blocks.load_tip(connections) == after
