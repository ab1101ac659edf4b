"""The register of nodes: one key and one life at a time, and nobody comes back who was removed."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import asyncpg
import pytest

from ccn.core.chain.rules import Parameters, Rules, Validator
from ccn.core.identity.registration import EnrolledNode
from ccn.core.ids import NodeId
from ccn.store.accounts import node_register

if TYPE_CHECKING:
    from tests.support.store.open_store import Store

ONE, TWO = NodeId("node-1"), NodeId("node-2")
KEY, OTHER = bytes(range(32)), bytes(range(1, 33))


async def test_only_the_newest_life_of_a_node_counts(store: Store) -> None:
    first = await node_register.enrol_node(store.pool, ONE, KEY)
    await node_register.enrol_node(store.pool, TWO, OTHER)
    second = await node_register.enrol_node(store.pool, ONE, OTHER)
    register = await node_register.load_register(store.pool)
    assert first != second
    assert register.nodes[ONE] == EnrolledNode(OTHER, second)
    assert register.nodes.keys() == {ONE, TWO}
    assert (await node_register.load_register(store.pool)).cluster == register.cluster


async def test_who_was_removed_stays_out_however_often_it_enrols(store: Store) -> None:
    await node_register.enrol_node(store.pool, ONE, KEY)
    await node_register.remove_node(store.pool, ONE)
    await node_register.remove_node(store.pool, TWO)  # nobody knows it
    life = await node_register.enrol_node(store.pool, ONE, OTHER)
    assert (await node_register.load_register(store.pool)).nodes == {
        ONE: EnrolledNode(OTHER, life, removed=True)
    }


async def test_the_chain_takes_in_and_puts_out(store: Store) -> None:
    for height, listed in enumerate([{ONE: KEY}, {TWO: OTHER}, {ONE: KEY, TWO: OTHER}]):
        await rule(store, height, listed)
        found = (await node_register.load_register(store.pool)).nodes
        out = {node for node, each in found.items() if each.removed}
        assert out == {ONE, TWO} - listed.keys() if height else out == set()
    assert found[ONE].key == KEY


async def rule(store: Store, height: int, listed: dict[NodeId, bytes]) -> None:
    """What a block that changes the validators leaves behind."""
    told = Rules(tuple(Validator(*each) for each in sorted(listed.items())), Parameters("tier-1/v1"))
    hashes = [hashlib.sha256(b"%d" % each).digest() for each in range(height + 1)]
    await store.pool.rows(_BLOCK, height, hashes[-1], hashes[-2] if height else None)
    await store.pool.rows(
        "INSERT INTO block_rules VALUES ($1, $2, $3)",
        *(height, told.validators_body(), told.parameters_body()),
    )


_BLOCK = """
    INSERT INTO verification_chain (height, hash, previous_hash, term, header, tree_size, root, sealed_at)
    VALUES ($1, $2, $3, 1, '', $1, sha256('root'), now())
"""


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE nodes SET key = sha256('another')",
        "UPDATE nodes SET node_id = 'node-9'",
        "DELETE FROM nodes",
        "TRUNCATE nodes",
        "UPDATE cluster_identity SET id = gen_random_uuid()",
        "DELETE FROM cluster_identity",
        "INSERT INTO cluster_identity VALUES (true)",
        "INSERT INTO nodes (node_id, key) VALUES ('Node 2', sha256('x'))",
        "INSERT INTO nodes (node_id, key) VALUES ('node-2', 'x')",
    ],
)
async def test_what_must_never_happen_to_the_register_is_refused(
    direct: asyncpg.Connection[asyncpg.Record], statement: str
) -> None:
    enrolled = "INSERT INTO nodes (node_id, key) VALUES ('node-1', sha256('one')) ON CONFLICT DO NOTHING"
    await direct.execute(enrolled)
    with pytest.raises(asyncpg.PostgresError):
        await direct.execute(statement)
