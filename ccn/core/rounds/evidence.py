"""Evidence: two signed statements that no honest node makes. They prove that the node lied.

For one height and term an honest node proposes one block and votes for one; for one height it cosigns the
checkpoint of one block. Two signatures over two blocks convict the node before anybody who knows its key,
whoever shows them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from ccn import errors
from ccn.core.chain.checkpoint import Checkpoint
from ccn.core.chain.header import Header
from ccn.core.chain.rules import Rules
from ccn.core.ids import NodeId
from ccn.core.ledger import commitment, merkle, note
from ccn.core.ledger.signed import Check, Signed
from ccn.core.rounds.ballot import Proposal, Vote

_TIME_BYTES = 8


@dataclass(frozen=True, slots=True)
class Cosigned:
    """A node's cosignature with all that ties it to a height: the block, and the tree up to its header."""

    node: NodeId
    origin: str
    header: Header
    tree: merkle.Tree
    at_s: int

    def signed_bytes(self) -> bytes:
        """What the node signed: the checkpoint, and when it saw it."""
        return note.cosignature_bytes(self.checkpoint().text(), self.at_s)

    def checkpoint(self) -> Checkpoint:
        """The checkpoint after the block, whose header is the last leaf."""
        whole = self.tree.extend([self.header.hash()])
        return Checkpoint(self.origin, whole.size, whole.root())

    def fits_header(self) -> bool:
        """Whether the tree is the one that the header names."""
        return (self.tree.size, self.tree.root()) == (self.header.size, self.header.root)


S = TypeVar("S", Proposal, Vote, Cosigned)


@dataclass(frozen=True, slots=True)
class Evidence(Generic[S]):
    """One node, one height and term, two blocks."""

    node: NodeId
    height: int
    term: int
    first: Signed[S]
    second: Signed[S]

    @property
    def kind(self) -> str:
        """What the node did twice."""
        match self.first.statement:
            case Proposal():
                return "proposal"
            case Vote():
                return "vote"
            case Cosigned():
                return "cosigned"

    def body(self) -> bytes:
        """All of it, as it is kept: whoever has the node's key can check it again."""
        shown: dict[str, str | int] = {
            "height": self.height, "kind": self.kind, "node": self.node, "term": self.term, "v": 1
        }  # fmt: skip
        for name, half in (("first", self.first), ("second", self.second)):
            shown |= {
                f"{name}_message": half.statement.signed_bytes().hex(),
                f"{name}_signature": half.signature.hex(),
            }
            if isinstance(half.statement, Cosigned):
                shown[f"{name}_header"] = half.statement.header.body().hex()
                shown[f"{name}_tree"] = half.statement.tree.to_bytes().hex()
        return commitment.encode_canonical(shown)


def find_contradiction(one: Signed[S], other: Signed[S], rules: Rules, check: Check) -> Evidence[S] | None:
    """The evidence that two statements make together, or None if an honest node may have made both."""
    node, height, term, block = subject_of(one.statement)
    if (node, height, term) != subject_of(other.statement)[:3] or block == subject_of(other.statement)[3]:
        return None
    key = rules.key_of(node)
    if key is None or not all(_is_signed_by(each, key, check) for each in (one, other)):
        return None
    return Evidence(node, height, term, one, other)


def subject_of(statement: Proposal | Vote | Cosigned) -> tuple[NodeId, int, int, bytes]:
    """Who says something of which height and term, and of which block; a cosignature is of no term."""
    match statement:
        case Proposal(header):
            return statement.node, header.height, header.term, header.hash()
        case Vote(node, height, term, block):
            return node, height, term, block
        case Cosigned(node, header=header):
            return node, header.height, 0, header.hash()


def cosigned_from_signature(
    line: note.Signature, origin: str, header: Header, tree: merkle.Tree
) -> Signed[Cosigned]:
    """A line below the checkpoint after a block, as what it says; nothing about it was checked."""
    node, at_s = line.name.removeprefix(f"{origin}/"), int.from_bytes(line.data[:_TIME_BYTES], "big")
    return Signed(Cosigned(NodeId(node), origin, header, tree, at_s), line.data[_TIME_BYTES:])


def _is_signed_by(one: Signed[S], key: bytes, check: Check) -> bool:
    try:
        fits = not isinstance(one.statement, Cosigned) or one.statement.fits_header()
        return fits and one.is_signed_by(key, check)
    except errors.InputInvalid:  # a tree or an origin that cannot be
        return False
