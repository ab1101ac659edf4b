"""Proofs for an outsider: the newest final checkpoint, that a message stands under it, and that the record
at a later height only extends the one at an earlier height.

Nothing is handed out that was not checked here first, against what the database showed for it.
"""

from __future__ import annotations

from dataclasses import dataclass

from ccn import errors
from ccn.core.chain import checkpoint
from ccn.core.chain.checkpoint import Checkpoint
from ccn.core.ids import ConversationId
from ccn.core.ledger import commitment, proof
from ccn.core.ledger.signed import Check
from ccn.store.connection.pool import Pool
from ccn.store.rounds import blocks, ledger

_TRIED = 100


@dataclass(frozen=True, slots=True)
class FinalCheckpoint:
    """A checkpoint with the cosignatures of a quorum."""

    height: int
    head: Checkpoint
    note: str

    @property
    def size(self) -> int:
        """Return how many leaves it covers."""
        return self.head.size


@dataclass(frozen=True, slots=True)
class ProvenMessage:
    """A leaf, its place, and the hashes that lead from it to the root of a checkpoint."""

    body: bytes
    leaf: bytes
    index: int
    path: tuple[bytes, ...]
    final: FinalCheckpoint


@dataclass(frozen=True, slots=True)
class ProvenGrowth:
    """Two checkpoints, and the hashes from which the roots of both follow."""

    older: FinalCheckpoint
    newer: FinalCheckpoint
    path: tuple[bytes, ...]


async def load_final(pool: Pool, check: Check) -> FinalCheckpoint:
    """Load the newest checkpoint that a quorum of its block's validators cosigned."""
    for row in await pool.rows(_NEWEST, _TRIED):
        if (final := await _find_final(pool, row["height"], row["tree_size"], check)) is not None:
            return final
    raise errors.NotFound("no checkpoint has the cosignatures of a quorum yet")


async def load_final_at(pool: Pool, height: int, check: Check) -> FinalCheckpoint:
    """Load the checkpoint of one block. Raise NotFound unless a quorum of its validators cosigned it."""
    size: int | None = await pool.value(_SIZE, height)
    if size is None:
        raise errors.NotFound(f"there is no block {height}")
    if (final := await _find_final(pool, height, size, check)) is None:
        raise errors.NotFound(f"the checkpoint of block {height} has no cosignatures of a quorum")
    return final


async def _find_final(pool: Pool, height: int, size: int, check: Check) -> FinalCheckpoint | None:
    decided = await blocks.load_tip(pool, height - 1)
    head = await ledger.load_head(pool, size)
    if decided is None or head is None or not checkpoint.is_final(head, decided.rules, check):
        return None
    return FinalCheckpoint(height, checkpoint.parse_checkpoint(head.text), head.to_bytes().decode())


async def prove_message(pool: Pool, conversation: ConversationId, seq: int, check: Check) -> ProvenMessage:
    """Prove that a message is in the record. Raise NotFound until a final block has sealed it."""
    node, number = await ledger.find_leaf(pool, conversation, seq)
    place = await ledger.find_place(pool, node, number)
    newest = await load_final(pool, check)
    if place >= newest.size:
        raise errors.NotFound(f"message {seq} is sealed, but its block is not final yet")
    body: bytes | None = await pool.value(_BODY, node, number)
    if body is None:
        raise errors.StoreBroken(f"leaf {number} of {node} is gone")
    path = await ledger.prove_inclusion(pool, place, newest.size)
    leaf = commitment.leaf_hash(body)
    fields = commitment.parse_canonical(body)
    if (fields.get("conversation"), fields.get("seq")) != (str(conversation), seq):
        raise errors.StoreBroken(f"leaf {number} of {node} is about another message")
    if not proof.verify_inclusion(leaf, place, newest.size, path, newest.head.root):
        raise errors.StoreBroken("what the database shows does not make the tree that was cosigned")
    return ProvenMessage(body, leaf, place, tuple(path), newest)


async def prove_growth(pool: Pool, since: int, until: int | None, check: Check) -> ProvenGrowth:
    """Prove that the record at a height, or at the newest final one, begins with the one at `since`."""
    older = await load_final_at(pool, since, check)
    newer = await (load_final(pool, check) if until is None else load_final_at(pool, until, check))
    if newer.height < older.height:
        raise errors.InputInvalid(f"block {newer.height} comes before block {older.height}")
    path = await ledger.prove_consistency(pool, older.size, newer.size)
    if not proof.verify_consistency(older.size, newer.size, path, older.head.root, newer.head.root):
        raise errors.StoreBroken("what the database shows does not make the trees that were cosigned")
    return ProvenGrowth(older, newer, tuple(path))


_NEWEST = """
    SELECT c.tree_size, b.height FROM checkpoints c JOIN verification_chain b USING (tree_size)
    WHERE b.height > 0 ORDER BY c.tree_size DESC LIMIT $1
"""
_SIZE = "SELECT tree_size FROM verification_chain WHERE height = $1 AND height > 0"
_BODY = "SELECT body FROM leaves WHERE node_id = $1 AND number = $2"
