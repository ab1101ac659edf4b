"""A block: what the reports of a round come to, and the tip of the chain that it moves on.

Sealing is the same computation for the leader that proposes, the voter that checks and the auditor that
checks again: the tip, the reports and the leader's few choices (term, time, next rules) leave only one
block. Its leaves stand in the tree by the nodes' names, then by number, and the header comes last.
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
    """All of the chain that the next block depends on; `sealed` has each node's last sealed number."""

    origin: str
    height: int
    hash: bytes
    term: int
    time_us: int
    tree: merkle.Tree
    sealed: tuple[tuple[NodeId, int], ...]
    rules: Rules

    def last_sealed(self, node: NodeId) -> int:
        """The number of the node's last sealed leaf, 0 if there is none."""
        return dict(self.sealed).get(node, 0)

    def checkpoint(self) -> Checkpoint:
        """What nodes cosign once this is their tip."""
        return Checkpoint(self.origin, self.tree.size, self.tree.root())


@dataclass(frozen=True, slots=True)
class Block:
    """A header with what it commits to, as the leader writes it down."""

    header: Header
    leaves: tuple[bytes, ...]
    results: tuple[Result, ...]
    next_rules: Rules


def seal(
    tip: Tip, reports: Sequence[Report], *, term: int, leader: NodeId, time_us: int, next_rules: Rules
) -> Block:
    """The one block that these reports make on this tip."""
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
    """The tip after a block that was checked; the tree has its leaves, and its header comes last."""
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
    """Whether the block stands directly on this tip."""
    return (header.height, header.previous) == (tip.height + 1, tip.hash) and header.term >= tip.term


def genesis_tip(origin: str, rules: Rules) -> Tip:
    """The tip before the first block: nothing yet but a name and the rules, which its hash commits to."""
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
    """How many leaves each node may seal now: equal shares, and what one leaves goes to others."""
    granted = dict[NodeId, int]()
    for taken, node in enumerate(sorted(waiting, key=lambda node: (waiting[node], node))):
        fair = (limit - sum(granted.values())) // (len(waiting) - taken)
        granted[node] = min(waiting[node], fair)
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
