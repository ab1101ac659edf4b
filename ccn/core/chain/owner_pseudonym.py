"""The owner of an instance, as a round sees it: a number that only says which instances share an owner.

A round has to know which instances belong together, not who anybody is. The number is a hash of the owner's
id, the previous block and the character. So every node computes the same number for an owner, and the
number differs in the next round, for another character and in another cluster: rosters alone link nobody
across them. Ids of users are random, so nobody finds one by trying. Whoever knows an id, as an auditor does
from the leaf of the conversation, can compute the number and check what a node reported. A secret key would
keep auditors from that.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from uuid import UUID

from ccn.core.ids import CharacterId, UserId

BYTES = 8

_TAG = b"ccn/owner/v1\n"
NOBODY = UserId(UUID(int=0))
"""The owner of what is nobody's: all of it together counts as one person's."""


def make_pseudonym(previous: bytes, character: CharacterId, owner: UserId) -> int:
    """The number of an owner in the round on top of a block."""
    return int.from_bytes(make_pseudonyms(previous, character, [owner.bytes]), "big")


def make_pseudonyms(previous: bytes, character: CharacterId, owners: Sequence[bytes]) -> bytes:
    """The numbers of many, one after the other as in a roster: of each owner as often as they come."""
    begun, rest = hashlib.sha256(_TAG + previous), character.encode()

    def hash_owner(owner: bytes) -> bytes:
        hasher = begun.copy()
        hasher.update(owner + rest)
        return hasher.digest()[:BYTES]

    known = {each: hash_owner(each) for each in set(owners)}
    return b"".join([known[each] for each in owners])
