"""What this node may still sign: the small memory that keeps it from ever contradicting itself.

    cosigned block h-1 ──vote (h, term)──> voted ──cosign block h──> cosigned block h ──vote (h+1, …)──> …
                              └── a higher term at the same height: vote again

The state is on the node's disk, flushed, before a signature leaves the node. It forgets nothing that
matters: heights and terms only rise, one vote for a height and term, one cosigned block for a height, and a
vote only on top of the block that was cosigned last.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ccn import errors
from ccn.core import commitment, merkle
from ccn.core.header import Header
from ccn.core.refusal import Reason, Refusal


@dataclass(frozen=True, slots=True)
class SignerState:
    """The last block cosigned (or the one this node started from), and the last vote."""

    height: int
    block: bytes
    voted_height: int = 0
    voted_term: int = 0
    voted_block: bytes = bytes(merkle.HASH_BYTES)

    def __post_init__(self) -> None:
        """Refuse a file that was cut or altered."""
        if not len(self.block) == len(self.voted_block) == merkle.HASH_BYTES:
            raise errors.InputInvalid("a hash in the signer's state has another length")
        if min(self.height, self.voted_height, self.voted_term) < 0 or self.voted_height > self.height + 1:
            raise errors.InputInvalid("the signer's state has impossible numbers")

    def body(self) -> bytes:
        """As it is written to disk."""
        return commitment.canonical(
            {
                "block": self.block.hex(),
                "height": self.height,
                "kind": "signer",
                "v": 1,
                "voted_block": self.voted_block.hex(),
                "voted_height": self.voted_height,
                "voted_term": self.voted_term,
            }
        )


def vote(state: SignerState, header: Header) -> SignerState | Refusal:
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


def cosign(state: SignerState, header: Header) -> SignerState | Refusal:
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


def parse(body: bytes) -> SignerState:
    """The state from its file; a damaged file is refused, for a guess could sign twice."""
    match commitment.parse(body):
        case {
            "block": str(block),
            "height": int(height),
            "voted_block": str(voted_block),
            "voted_height": int(voted_height),
            "voted_term": int(voted_term),
        }:
            read = SignerState(
                height, commitment.digest(block), voted_height, voted_term, commitment.digest(voted_block)
            )
            if read.body() == body:
                return read
    raise errors.InputInvalid("this is not the state of a signer")
