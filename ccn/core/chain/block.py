"""A block, made from the reports of a round, and the tip of the chain, which each block moves on.

The leader that proposes, the voter that checks and the auditor all compute the same block. It follows from
the tip, the reports and the leader's few choices: term, time and next rules. Its leaves stand in the tree
in the order of the nodes' names, then of their numbers. The header is the last leaf.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ccn.core.chain import checkpoint, result
from ccn.core.chain.checkpoint import Checkpoint
from ccn.core.chain.header import Header, Span
from ccn.core.chain.report import LEAF_LIMIT, Report
from ccn.core.chain.result import Result
from ccn.core.chain.rules import Rules
from ccn.core.ids import NodeId
from ccn.core.ledger import commitment, merkle, signed


@dataclass(frozen=True, slots=True)
class Tip:
    """What the next block needs to know of the chain. `sealed` has each node's last sealed number."""

    origin: str
    height: int
    hash: bytes
    term: int
    time_us: int
    tree: merkle.Tree
    sealed: tuple[tuple[NodeId, int], ...]
    rules: Rules

    def last_sealed(self, node: NodeId) -> int:
        """Return the number of the node's last sealed leaf, or 0 if it has none."""
        return dict(self.sealed).get(node, 0)

    def checkpoint(self) -> Checkpoint:
        """Return the checkpoint that nodes cosign once this is their tip."""
        return Checkpoint(self.origin, self.tree.size, self.tree.root())


@dataclass(frozen=True, slots=True)
class Block:
    """A header together with what it commits to, as the leader stores it."""

    header: Header
    leaves: tuple[bytes, ...]
    results: tuple[Result, ...]
    next_rules: Rules


def seal(
    tip: Tip, reports: Sequence[Report], *, term: int, leader: NodeId, time_us: int, next_rules: Rules
) -> Block:
    """Make the only block that these reports allow on this tip."""
    ordered = sorted(reports, key=lambda report: report.node)
    spans, leaves = _take_leaves(ordered)
    rosters = [(report.node, roster) for report in ordered for roster in report.rosters]
    results = result.conclude_round(rosters, tip.rules)
    tree = tip.tree.extend(leaves)
    header = Header(
        height=tip.height + 1,
        previous=tip.hash,
        term=term,
        leader=leader,
        time_us=time_us,
        validators=tip.rules.validators_hash(),
        parameters=tip.rules.parameters_hash(),
        next_validators=next_rules.validators_hash(),
        next_parameters=next_rules.parameters_hash(),
        reports=merkle.root_of(commitment.leaf_hash(report.signed_bytes()) for report in ordered),
        result=result.hash_results(results),
        spans=spans,
        before_size=tip.tree.size,
        before_root=tip.tree.root(),
        size=tree.size,
        root=tree.root(),
    )
    return Block(header, leaves, results, next_rules)


def advance_tip(tip: Tip, header: Header, tree: merkle.Tree, next_rules: Rules) -> Tip:
    """Return the tip after a checked block. The given tree has its leaves; the header is added here."""
    sealed = dict(tip.sealed) | {span.node: span.last for span in header.spans}
    return replace(
        tip,
        height=header.height,
        hash=header.hash(),
        term=header.term,
        time_us=header.time_us,
        tree=tree.extend([header.hash()]),
        sealed=tuple(sorted(sealed.items())),
        rules=next_rules,
    )


def follows_tip(header: Header, tip: Tip) -> bool:
    """Return whether the block follows directly on this tip."""
    return (header.height, header.previous) == (tip.height + 1, tip.hash) and header.term >= tip.term


def genesis_tip(origin: str, rules: Rules) -> Tip:
    """Return the tip before the first block. Its hash commits to the origin and the first rules."""
    founding = signed.statement_bytes(
        "genesis",
        {
            "origin": checkpoint.check_origin(origin),
            "parameters": rules.parameters_hash().hex(),
            "validators": rules.validators_hash().hex(),
        },
    )
    first = hashlib.sha256(founding).digest()
    return Tip(origin, 0, first, 0, 0, merkle.Tree(), (), rules)


def share_leaves(waiting: Mapping[NodeId, int], limit: int = LEAF_LIMIT) -> dict[NodeId, int]:
    """Return how many leaves each node may seal in this block.

    Every node gets an equal share. What one node does not use goes to the others.
    """
    granted = dict[NodeId, int]()
    for taken, node in enumerate(sorted(waiting, key=lambda node: (waiting[node], node))):
        share = (limit - sum(granted.values())) // (len(waiting) - taken)
        granted[node] = min(waiting[node], share)
    return granted


def _take_leaves(ordered: Sequence[Report]) -> tuple[tuple[Span, ...], tuple[bytes, ...]]:
    granted = share_leaves({report.node: report.count for report in ordered})
    leaves = b"".join(report.leaves[: granted[report.node] * merkle.HASH_BYTES] for report in ordered)
    spans = [
        Span(report.node, report.first, report.first + granted[report.node] - 1)
        for report in ordered
        if granted[report.node]
    ]
    return tuple(spans), merkle.split_hashes(leaves)
