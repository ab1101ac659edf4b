"""Reading a committed block back: the checks before a node takes it as its tip and cosigns it.

The database may have been restored or edited, or it may lie. A block counts only if a quorum voted for it,
it stands on the tip that this node knows, its leaves make the tree that was voted for, and this node's own
leaves are the ones it produced. A node that was away confirms the blocks it missed one after the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ccn.core.chain import block
from ccn.core.chain.block import Tip
from ccn.core.chain.header import Header
from ccn.core.chain.rules import Rules
from ccn.core.ids import NodeId
from ccn.core.ledger import merkle
from ccn.core.ledger.signed import Check, Signed
from ccn.core.rounds import ballot
from ccn.core.rounds.ballot import NoQuorum, Vote
from ccn.core.rounds.refusal import Reason, Refusal


@dataclass(frozen=True, slots=True)
class ShownBlock:
    """A block as the database shows it."""

    header: Header
    leaves: tuple[bytes, ...]
    votes: tuple[Signed[Vote], ...]
    next_rules: Rules


def confirm_block(
    shown: ShownBlock, tip: Tip, node: NodeId, own: Mapping[int, bytes], check: Check
) -> Tip | Refusal:
    """The tip after the block, or what is wrong with what the database shows.

    `own` has the hashes of the leaves this node produced and still remembers, by number.
    """
    objection = next(_find_objections(shown, tip, node, own, check), None)
    if objection is not None:
        return objection
    tree = tip.tree.extend(shown.leaves)
    if (tree.size, tree.root()) != (shown.header.size, shown.header.root):
        return Refusal(Reason.ROOT, "the leaves do not make the tree that was voted for")
    return block.advance_tip(tip, shown.header, tree, shown.next_rules)


def _find_objections(
    shown: ShownBlock, tip: Tip, node: NodeId, own: Mapping[int, bytes], check: Check
) -> Iterator[Refusal]:
    yield from _check_position(shown.header, tip)
    yield from _check_rules(shown, tip.rules)
    match ballot.tally(shown.header, shown.votes, tip.rules, check):
        case NoQuorum(needed, found):
            yield Refusal(Reason.QUORUM, f"{found} valid votes, not {needed}")
    yield from _check_leaves(shown, tip, node, own)


def _check_position(header: Header, tip: Tip) -> Iterator[Refusal]:
    if not block.follows_tip(header, tip) or header.time_us <= tip.time_us:
        yield Refusal(Reason.TIP, f"block {header.height} does not follow block {tip.height}")
    if (header.before_size, header.before_root) != (tip.tree.size, tip.tree.root()):
        yield Refusal(Reason.ROOT, "the block begins with another tree")


def _check_rules(shown: ShownBlock, rules: Rules) -> Iterator[Refusal]:
    header, following = shown.header, shown.next_rules
    if (header.validators, header.parameters) != (rules.validators_hash(), rules.parameters_hash()):
        yield Refusal(Reason.RULES, "the block was decided under other rules than those in force")
    named = (header.next_validators, header.next_parameters)
    if named != (following.validators_hash(), following.parameters_hash()):
        yield Refusal(Reason.RULES, "these are not the rules that the block names for the next one")


def _check_leaves(shown: ShownBlock, tip: Tip, node: NodeId, own: Mapping[int, bytes]) -> Iterator[Refusal]:
    hashes = iter(shown.leaves)
    whole = sum(len(leaf) == merkle.HASH_BYTES for leaf in shown.leaves)
    if not whole == len(shown.leaves) == shown.header.count:
        yield Refusal(
            Reason.LEAVES, f"{whole} whole leaves of {len(shown.leaves)}, not {shown.header.count}"
        )
    for span in shown.header.spans:
        if span.first != tip.last_sealed(span.node) + 1:
            yield Refusal(Reason.LEAVES, f"{span.node} goes on with leaf {span.first}")
        for number, leaf in zip(range(span.first, span.last + 1), hashes, strict=False):
            if span.node == node and own.get(number, leaf) != leaf:
                yield Refusal(Reason.LEAVES, f"leaf {number} is not the one {node} produced")
