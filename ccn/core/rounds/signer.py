"""What this node may still sign: a small memory that keeps it from contradicting itself.

    cosigned block h-1 ──vote (h, term)──> voted ──cosign block h──> cosigned block h ──vote (h+1, …)──> …
                              └── a higher term at the same height: vote again

The node flushes this state to its disk before a signature leaves it. Heights and terms only rise. There is
one vote for a height and term, and one cosigned block for a height. A vote is only given on top of the
block that was cosigned last.

A leader votes for its own block before anybody hears of it, so the same memory keeps it from proposing two.
The state also holds a hash of the leaves that this node reported in the round of its vote. So after a
restart the database cannot show other leaves in their place.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from ccn import errors
from ccn.core.chain.header import Header
from ccn.core.chain.report import Report
from ccn.core.ledger import commitment, merkle
from ccn.core.rounds.refusal import Reason, Refusal


class NumberedHash(NamedTuple):
    """A number, and the hash of what has it: a block by its height, or a leaf of one node."""

    number: int
    hash: bytes


NOTHING = NumberedHash(0, bytes(merkle.HASH_BYTES))


@dataclass(frozen=True, slots=True)
class SignerState:
    """The block cosigned last (or the one this node started from), its last vote, its last report.

    `acknowledged` is the newest of its leaves that somebody was told to be durable.
    """

    height: int
    block: bytes
    voted_height: int = 0
    voted_term: int = 0
    voted_block: bytes = bytes(merkle.HASH_BYTES)
    reported_first: int = 1
    reported_count: int = 0
    reported_leaves: bytes = merkle.EMPTY
    acknowledged: NumberedHash = NOTHING

    def __post_init__(self) -> None:
        """Refuse a file that was cut or altered."""
        hashes = (self.block, self.voted_block, self.reported_leaves, self.acknowledged.hash)
        if any(len(each) != merkle.HASH_BYTES for each in hashes):
            raise errors.InputInvalid("a hash in the signer's state has another length")
        numbers = (
            self.height,
            self.voted_height,
            self.voted_term,
            self.reported_first,
            self.reported_count,
            self.acknowledged.number,
        )
        if min(numbers) < 0 or self.voted_height > self.height + 1:
            raise errors.InputInvalid("the signer's state has impossible numbers")

    @property
    def last_cosigned(self) -> NumberedHash:
        """The block cosigned last."""
        return NumberedHash(self.height, self.block)

    def body(self) -> bytes:
        """As it is written to disk."""
        return commitment.encode_canonical(
            self._common_fields()
            | {
                "acknowledged": self.acknowledged.number,
                "acknowledged_leaf": self.acknowledged.hash.hex(),
                "v": 2,
            }
        )

    def body_v1(self) -> bytes:
        """As versions before wrote it that did not note what they acknowledged."""
        return commitment.encode_canonical(self._common_fields() | {"v": 1})

    def _common_fields(self) -> dict[str, str | int]:
        return {
            "block": self.block.hex(),
            "height": self.height,
            "kind": "signer",
            "reported_count": self.reported_count,
            "reported_first": self.reported_first,
            "reported_leaves": self.reported_leaves.hex(),
            "voted_block": self.voted_block.hex(),
            "voted_height": self.voted_height,
            "voted_term": self.voted_term,
        }


def allow_vote(state: SignerState, header: Header) -> SignerState | Refusal:
    """The state to write down before voting for this block, or why this node must not vote for it.

    The same vote may be given again: it is the same bytes, and an answer can get lost.
    """
    if header.height <= state.height:
        return Refusal(Reason.BACK, f"height {header.height}, but block {state.height} is cosigned")
    if header.height != state.height + 1 or header.previous != state.block:
        return Refusal(Reason.TIP, f"height {header.height} is not on top of the cosigned {state.height}")
    if header.term < state.voted_term:
        return Refusal(Reason.TERM, f"term {header.term} is below {state.voted_term}, the last voted in")
    block = header.hash()
    if (header.height, header.term) == (
        state.voted_height,
        state.voted_term,
    ) and block != state.voted_block:
        return Refusal(
            Reason.TWICE, f"voted for another block in height {header.height}, term {header.term}"
        )
    return replace(state, voted_height=header.height, voted_term=header.term, voted_block=block)


def has_voted_in(state: SignerState, height: int, term: int) -> bool:
    """Tell whether this node voted at a height in this term or a later one: the term is of no use there."""
    return term < state.voted_term or (height, term) == (state.voted_height, state.voted_term)


def with_report(state: SignerState, report: Report) -> SignerState:
    """Note what this node reported in the round that it votes in."""
    hashed = hashlib.sha256(report.leaves).digest()
    return replace(state, reported_first=report.first, reported_count=report.count, reported_leaves=hashed)


def with_acknowledged(state: SignerState, newest: NumberedHash | None) -> SignerState:
    """Note the newest leaf that was acknowledged. An older one changes nothing."""
    if newest is None or newest.number <= state.acknowledged.number:
        return state
    return replace(state, acknowledged=newest)


def without_leaves_after(state: SignerState, kept: NumberedHash) -> SignerState:
    """The same state of a node whose leaves end at `kept`: an operator accepted that later ones are lost.

    What it voted for and cosigned stays; only what it reported beyond that is forgotten.
    """
    shorter = replace(state, acknowledged=kept)
    if state.reported_first + state.reported_count - 1 <= kept.number:
        return shorter
    return replace(shorter, reported_first=kept.number + 1, reported_count=0, reported_leaves=merkle.EMPTY)


def begins_with_reported(state: SignerState, leaves: Sequence[bytes]) -> bool:
    """Whether these, from `reported_first` on, begin with the leaves that were reported."""
    known = leaves[: state.reported_count]
    return (
        len(known) == state.reported_count
        and hashlib.sha256(b"".join(known)).digest() == state.reported_leaves
    )


def allow_cosignature(state: SignerState, header: Header) -> SignerState | Refusal:
    """The state to write down before cosigning this block's checkpoint, or why this node must not."""
    block = header.hash()
    if (header.height, block) == (state.height, state.block):
        return state
    if header.height < state.height:
        return Refusal(Reason.BACK, f"block {header.height} comes after {state.height} was cosigned")
    if header.height == state.height:
        return Refusal(Reason.SIDEWAYS, f"another block {header.height} was cosigned")
    if header.height == state.height + 1 and header.previous != state.block:
        return Refusal(
            Reason.SIDEWAYS, f"block {header.height} does not follow the cosigned {state.height}"
        )
    if header.height != state.height + 1:
        return Refusal(Reason.TIP, f"blocks between {state.height} and {header.height} were not checked")
    return replace(state, height=header.height, block=block)


def parse_state(body: bytes) -> SignerState:
    """The state from its file; a damaged file is refused, for a guess could sign twice."""
    fields = commitment.parse_canonical(body)
    match fields:
        case {
            "block": str(block),
            "height": int(height),
            "reported_count": int(reported_count),
            "reported_first": int(reported_first),
            "reported_leaves": str(reported_leaves),
            "voted_block": str(voted_block),
            "voted_height": int(voted_height),
            "voted_term": int(voted_term),
        }:
            read = SignerState(
                height,
                commitment.digest_from_hex(block),
                voted_height,
                voted_term,
                commitment.digest_from_hex(voted_block),
                reported_first,
                reported_count,
                commitment.digest_from_hex(reported_leaves),
                _parse_acknowledged(fields),
            )
            if body in {read.body(), read.body_v1()}:
                return read
    raise errors.InputInvalid("this is not the state of a signer")


def _parse_acknowledged(fields: Mapping[str, object]) -> NumberedHash:
    match fields:
        case {"acknowledged": int(number), "acknowledged_leaf": str(leaf)}:
            return NumberedHash(number, commitment.digest_from_hex(leaf))
    return NOTHING
