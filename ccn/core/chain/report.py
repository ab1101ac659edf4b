"""A report: what one node brings to a round, namely its instances and the leaves that wait to be sealed.

A node numbers its leaves from 1 without gaps, so a report names the first number and lists the hashes from
there on. Height, term and previous block bind a report to one round. Its signature is valid in no other.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from ccn import errors
from ccn.core import ids
from ccn.core.chain.roster import Roster
from ccn.core.ids import NodeId
from ccn.core.ledger import merkle, signed

LEAF_LIMIT = 10_000
"""Most leaves in one block, and therefore in one report."""

INSTANCE_LIMIT = 10_000
"""Most instances of one node, of all characters together."""


@dataclass(frozen=True, slots=True)
class Report:
    """One node's part of a round. `wants` is the hash of the rules that it would like to be in force."""

    node: NodeId
    height: int
    term: int
    previous: bytes
    rosters: tuple[Roster, ...]
    first: int
    leaves: bytes
    wants: bytes
    _signed_bytes: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Refuse a report that is too large or that could be written in two ways."""
        ids.check_name(self.node, "node")
        if self.height < 1 or self.term < 0 or self.first < 1:
            raise errors.InputInvalid(f"a report of {self.node} has impossible numbers")
        if not len(self.previous) == len(self.wants) == merkle.HASH_BYTES:
            raise errors.InputInvalid(f"a hash in the report of {self.node} has another length")
        if len(self.leaves) % merkle.HASH_BYTES or self.count > LEAF_LIMIT:
            raise errors.InputInvalid(f"{self.node} reports more than {LEAF_LIMIT} leaves, or half a one")
        characters = [roster.character for roster in self.rosters]
        if characters != sorted(set(characters)) or sum(map(len, self.rosters)) > INSTANCE_LIMIT:
            raise errors.InputInvalid(
                f"{self.node} reports a character twice, or more than {INSTANCE_LIMIT} instances"
            )
        object.__setattr__(self, "_signed_bytes", self._write_statement())

    @property
    def count(self) -> int:
        """Return how many leaves it brings."""
        return len(self.leaves) // merkle.HASH_BYTES

    def signed_bytes(self) -> bytes:
        """Return the bytes to sign, in which rosters and leaves appear as their hashes."""
        return self._signed_bytes

    def _write_statement(self) -> bytes:
        return signed.statement_bytes(
            "report",
            {
                "count": self.count,
                "first": self.first,
                "height": self.height,
                "leaves": hashlib.sha256(self.leaves).hexdigest(),
                "node": self.node,
                "previous": self.previous.hex(),
                "rosters": list(map(_roster_to_list, self.rosters)),
                "term": self.term,
                "wants": self.wants.hex(),
            },
        )


def _roster_to_list(roster: Roster) -> tuple[str, ...]:
    """Return a roster as it appears in the bytes to sign."""
    rows = (roster.character, roster.hash().hex())
    return (*rows, roster.owners_hash().hex()) if roster.owners else rows
