"""Proofs: that a leaf is in the tree, and that a later tree only appended to an earlier one (RFC 6962).

A proof is a list of hashes of subtrees. Which subtrees depends on numbers alone, so it is decided here as
ranges of leaves, and whoever keeps the hashes (a list, a table, tiles) looks the ranges up. Checking a
proof walks the same ranges, from the leaf to the root.
"""

from __future__ import annotations

from collections.abc import Sequence

from ccn import errors
from ccn.core.ledger import merkle

Range = tuple[int, int]
"""A subtree by its leaves: the first, and the one behind the last."""


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether the leaf hash is number `index` (from 0) of the tree with this size and root."""
    if not 0 <= index < size or len(proof) != len(ranges := inclusion_ranges(index, size)):
        return False
    hashed = leaf
    for (start, _), sibling in zip(ranges, proof, strict=True):
        right = start > index
        hashed = merkle.node_hash(hashed, sibling) if right else merkle.node_hash(sibling, hashed)
    return hashed == root


def verify_consistency(
    old: int, new: int, proof: Sequence[bytes], old_root: bytes, new_root: bytes
) -> bool:
    """Whether the tree of `new` leaves begins with the tree of `old` leaves."""
    if not 0 <= old <= new or len(proof) != len(ranges := consistency_ranges(old, new)):
        return False
    if old in (0, new):
        return old_root == (new_root if old else merkle.EMPTY)
    hashes = list(zip(ranges, proof, strict=True))
    seed = old_root if ranges[0][0] >= old else hashes.pop(0)[1]
    before = after = seed
    for (start, _), sibling in hashes:
        if start >= old:
            after = merkle.node_hash(after, sibling)
        else:
            before, after = merkle.node_hash(sibling, before), merkle.node_hash(sibling, after)
    return before == old_root and after == new_root


def inclusion_ranges(index: int, size: int) -> list[Range]:
    """The subtrees beside the way from a leaf up to the root."""
    if not 0 <= index < size:
        raise errors.InputInvalid(f"a tree of {size} leaves has no leaf {index}")
    start, end, beside = 0, size, list[Range]()
    while end - start > 1:
        middle = start + _left_width(end - start)
        if index < middle:
            beside.append((middle, end))
            end = middle
        else:
            beside.append((start, middle))
            start = middle
    return beside[::-1]


def consistency_ranges(old: int, new: int) -> list[Range]:
    """The subtrees from which both roots can be built, beginning where the old tree ended."""
    if not 0 <= old <= new:
        raise errors.InputInvalid(f"a tree of {new} leaves cannot begin with {old}")
    if old == 0:
        return []
    start, end, beside = 0, new, list[Range]()
    while old != end:
        middle = start + _left_width(end - start)
        if old <= middle:
            beside.append((middle, end))
            end = middle
        else:
            beside.append((start, middle))
            start = middle
    if start:
        beside.append((start, end))  # left out where it is the whole old tree: its root is known
    return beside[::-1]


def hash_ranges(ranges: Sequence[Range], leaves: Sequence[bytes]) -> list[bytes]:
    """The proof for these ranges, by whoever holds all leaf hashes."""
    return [merkle.root_of(leaves[start:end]) for start, end in ranges]


def _left_width(width: int) -> int:
    """The largest power of two below the width: where RFC 6962 splits a tree."""
    return 1 << ((width - 1).bit_length() - 1)
