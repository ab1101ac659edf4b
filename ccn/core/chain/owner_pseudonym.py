"""The owner of an instance, as a round sees it: a number that only says which instances share an owner.

A round has to know which instances belong together, but not who the owners are. The number is a hash of the
owner's id, the previous block and the character. So every node computes the same number for an owner. In
the next round, for another character and in another cluster the number differs, so rosters alone do not
link an owner across them. User ids are random, so an owner cannot be found by trying ids. An auditor who
knows an id from the leaf of a conversation can compute the number and check what a node reported. With a
secret key in the hash, auditors could not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from uuid import UUID

from ccn.core.ids import CharacterId, UserId

BYTES = 8

_TAG = b"ccn/owner/v1\n"
NOBODY = UserId(UUID(int=0))
"""Stands for the owner of instances that have none. All of them count as one person's."""


def make_pseudonym(previous: bytes, character: CharacterId, owner: UserId) -> int:
    """Make the number of an owner in the round that follows the block `previous`."""
    return int.from_bytes(make_pseudonyms(previous, character, [owner.bytes]), "big")


def make_pseudonyms(previous: bytes, character: CharacterId, owners: Sequence[bytes]) -> bytes:
    """Make the number of each owner in the list, one after the other as a roster has them."""
    shared_start, rest = hashlib.sha256(_TAG + previous), character.encode()

    def hash_owner(owner: bytes) -> bytes:
        hasher = shared_start.copy()
        hasher.update(owner + rest)
        return hasher.digest()[:BYTES]

    pseudonyms = {owner: hash_owner(owner) for owner in set(owners)}
    return b"".join([pseudonyms[owner] for owner in owners])
