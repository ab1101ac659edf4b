"""Evidence: two signed statements that no honest node makes, kept because they prove who lied.

An honest node asks for one block in a height and term, and votes for one. Two signatures over two blocks
convict their owner before anybody who knows its key, without trusting whoever shows them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from ccn.core.ballot import Proposal, Vote
from ccn.core.ids import NodeId
from ccn.core.rules import Rules
from ccn.core.signed import Check, Signed

S = TypeVar("S", Proposal, Vote)


@dataclass(frozen=True, slots=True)
class Evidence(Generic[S]):
    """One node, one height and term, two blocks."""

    node: NodeId
    height: int
    term: int
    first: Signed[S]
    second: Signed[S]


def contradiction(one: Signed[S], other: Signed[S], rules: Rules, check: Check) -> Evidence[S] | None:
    """The evidence that two statements make together, or None if an honest node may have made both."""
    node, height, term, block = _named(one.statement)
    if (node, height, term) != _named(other.statement)[:3] or block == _named(other.statement)[3]:
        return None
    key = rules.key(node)
    if key is None or not one.by(key, check) or not other.by(key, check):
        return None
    return Evidence(node, height, term, one, other)


def _named(statement: Proposal | Vote) -> tuple[NodeId, int, int, bytes]:
    match statement:
        case Proposal(header):
            return statement.node, header.height, header.term, header.hash()
        case Vote(node, height, term, block):
            return node, height, term, block
