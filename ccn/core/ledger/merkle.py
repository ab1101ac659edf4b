"""The tree: the append-only Merkle tree of RFC 6962, kept as the few hashes that are needed to go on.

A tree of n leaves is remembered by the roots of its perfect subtrees, one for each bit set in n. That is
enough to append and to know the root, so a leader and every voter extend the record by ten thousand leaves
without reading what is already in it. Proofs, which do need older hashes, are in `proof`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from ccn import errors

HASH_BYTES = 32
EMPTY = hashlib.sha256(b"").digest()
"""The root of the tree without leaves."""

_NODE_TAG = b"\x01"  # RFC 6962, section 2.1; the tag of leaves is in `commitment`
_SIZE_BYTES = 8


@dataclass(frozen=True, slots=True)
class Tree:
    """A tree as its size and its peaks: the roots of its perfect subtrees, the largest first."""

    size: int = 0
    peaks: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what no sequence of appends could have made."""
        if not 0 <= self.size < 1 << 63 or len(self.peaks) != self.size.bit_count():
            raise errors.InputInvalid(f"{len(self.peaks)} peaks are not a tree of {self.size} leaves")
        if any(len(peak) != HASH_BYTES for peak in self.peaks):
            raise errors.InputInvalid(f"a peak of a tree has {HASH_BYTES} bytes")

    def extend(self, leaves: Iterable[bytes]) -> Tree:
        """The tree with these leaf hashes appended; about one hash for each."""
        size, peaks = self.size, list(self.peaks)
        for leaf in leaves:
            size += 1
            grown, carry = leaf, size
            while not carry & 1:
                grown = node_hash(peaks.pop(), grown)
                carry >>= 1
            peaks.append(grown)
        return Tree(size, tuple(peaks))

    def root(self) -> bytes:
        """What the whole tree hashes to."""
        if not self.peaks:
            return EMPTY
        *larger, hashed = self.peaks
        for peak in reversed(larger):
            hashed = node_hash(peak, hashed)
        return hashed

    def to_bytes(self) -> bytes:
        """For a row or a file: eight bytes of size, then the peaks."""
        return self.size.to_bytes(_SIZE_BYTES, "big") + b"".join(self.peaks)

    @staticmethod
    def from_bytes(data: bytes) -> Tree:
        """The reverse of `to_bytes`; anything else is refused."""
        size, peaks = int.from_bytes(data[:_SIZE_BYTES], "big"), data[_SIZE_BYTES:]
        if len(data) != _SIZE_BYTES + HASH_BYTES * size.bit_count():
            raise errors.InputInvalid(f"{len(data)} bytes are not a tree of {size} leaves")
        return Tree(size, split_hashes(peaks))


def root_of(leaves: Iterable[bytes]) -> bytes:
    """The root of the tree of these leaf hashes alone."""
    return Tree().extend(leaves).root()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node."""
    return hashlib.sha256(_NODE_TAG + left + right).digest()


def split_hashes(hashes: bytes) -> tuple[bytes, ...]:
    """Hashes that stand one after the other, as they are sent and stored."""
    if len(hashes) % HASH_BYTES:
        raise errors.InputInvalid(f"{len(hashes)} bytes are not a row of hashes of {HASH_BYTES} bytes")
    return tuple(hashes[at : at + HASH_BYTES] for at in range(0, len(hashes), HASH_BYTES))
