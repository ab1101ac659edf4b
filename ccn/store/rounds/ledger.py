"""The ledger as it is read: leaves that wait for a block, checkpoints with their cosignatures, proofs.

The tree is not stored. Its leaves are, with the place where each block begins, and every hash above them
follows; proofs are computed from the ranges that `core.proof` names.
"""

from __future__ import annotations

from collections.abc import Sequence

from ccn import errors
from ccn.core.chain.block import Tip
from ccn.core.ids import ConversationId, NodeId
from ccn.core.ledger import commitment, note, proof
from ccn.store.connection.pool import DatabaseReads, Pool


async def load_unsealed(pool: Pool, node: NodeId, after: int, limit: int) -> list[bytes]:
    """Load the hashes of a node's leaves from a number on, without gaps."""
    return [row["hash"] for row in await pool.rows(_UNSEALED, node, after, limit)]


async def count_waiting(pool: DatabaseReads) -> int:
    """Count the leaves of all nodes that are not sealed yet."""
    return int(await pool.value(_WAITING))


async def count_waiting_by_node(pool: Pool) -> dict[NodeId, int]:
    """Count the leaves that are not sealed yet, for each node that ever ran here."""
    return {NodeId(row["node_id"]): row["waiting"] for row in await pool.rows(_WAITING_BY_NODE)}


async def keep_cosignature(pool: Pool, tip: Tip, cosignature: note.Signature) -> None:
    """Keep a cosignature under the checkpoint of a tip; the same again changes nothing."""
    head = tip.checkpoint()
    line = note.signature_to_line(cosignature).encode()
    await pool.rows(_CHECKPOINT, head.size, head.text().encode())
    await pool.rows(_COSIGN, head.size, cosignature.name, line)


async def load_head(pool: Pool, size: int | None = None) -> note.Note | None:
    """Load the newest checkpoint, or the one of a size, with all its stored cosignatures.

    One without any is no signed note yet: its first cosignature is about to follow it.
    """
    row = await pool.row(_HEAD, size)
    if row is None:
        return None
    return note.parse_note(row["note"] + b"\n" + b"".join(row["lines"]))


async def find_place(pool: Pool, node: NodeId, number: int) -> int:
    """Find the place of a leaf in the tree. Raise NotFound while no block has sealed it."""
    place: int | None = await pool.value(_PLACE, node, number)
    if place is None:
        raise errors.NotFound(f"leaf {number} of {node} is not sealed yet")
    return place


async def find_leaf(pool: Pool, conversation: ConversationId, seq: int) -> tuple[NodeId, int]:
    """Find the leaf of a message."""
    row = await pool.row(_LEAF_OF, conversation, seq)
    if row is None:
        raise errors.NotFound("there is no such message")
    return NodeId(row["leaf_node"]), row["leaf_number"]


async def prove_inclusion(pool: Pool, index: int, size: int) -> list[bytes]:
    """Prove that a leaf stands at a place of the tree of a size."""
    return await _prove_ranges(pool, proof.inclusion_ranges(index, size), size)


async def prove_consistency(pool: Pool, old: int, new: int) -> list[bytes]:
    """Prove that the tree of one size grew into the tree of another."""
    return await _prove_ranges(pool, proof.consistency_ranges(old, new), new)


async def _prove_ranges(pool: Pool, ranges: Sequence[proof.Range], size: int) -> list[bytes]:
    leaves = await load_leaf_hashes(pool, size)
    return proof.hash_ranges(ranges, leaves)


async def load_leaf_hashes(pool: Pool, size: int) -> list[bytes]:
    """Load the leaf hashes of the tree of a size in order: what a block seals, then its header."""
    sealed = [(row["place"], row["hash"]) for row in await pool.rows(_SEALED, size)]
    headers = [
        (row["tree_size"] - 1, commitment.leaf_hash(row["header"]))
        for row in await pool.rows(_HEADERS, size)
    ]
    leaves: list[tuple[int, bytes]] = sorted(sealed + headers)
    if [place for place, _ in leaves] != list(range(size)):
        raise errors.StoreBroken(f"the database does not show all {size} leaves of the tree")
    return [leaf_hash for _, leaf_hash in leaves]


_UNSEALED = """
    SELECT hash FROM leaves WHERE node_id = $1 AND number > $2 ORDER BY number LIMIT $3
"""
_WAITING = """
    SELECT coalesce(sum(s.head - coalesce(b.last, 0)), 0) FROM leaf_sources s LEFT JOIN LATERAL (
        SELECT max(last) AS last FROM block_leaves WHERE node_id = s.node_id
    ) b ON true
"""
_WAITING_BY_NODE = """
    SELECT s.node_id, s.head - coalesce(b.last, 0) AS waiting FROM leaf_sources s LEFT JOIN LATERAL (
        SELECT max(last) AS last FROM block_leaves WHERE node_id = s.node_id
    ) b ON true
"""
_CHECKPOINT = "INSERT INTO checkpoints (tree_size, note) VALUES ($1, $2) ON CONFLICT DO NOTHING"
_COSIGN = "INSERT INTO cosignatures (tree_size, signer, line) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING"
_HEAD = """
    SELECT c.note, array_agg(s.line ORDER BY s.signer) AS lines
    FROM checkpoints c JOIN cosignatures s USING (tree_size)
    WHERE tree_size = coalesce($1::bigint, (SELECT max(tree_size) FROM cosignatures))
    GROUP BY c.tree_size, c.note
"""
_PLACE = """
    SELECT tree_start + $2 - first FROM block_leaves WHERE node_id = $1 AND $2 BETWEEN first AND last
"""
_LEAF_OF = "SELECT leaf_node, leaf_number FROM messages WHERE conversation_id = $1 AND seq = $2"
_SEALED = """
    SELECT s.tree_start + l.number - s.first AS place, l.hash
    FROM block_leaves s JOIN leaves l ON l.node_id = s.node_id AND l.number BETWEEN s.first AND s.last
    WHERE s.tree_start + l.number - s.first < $1
"""
_HEADERS = """
    SELECT tree_size, header FROM verification_chain WHERE height > 0 AND tree_size <= $1
"""
