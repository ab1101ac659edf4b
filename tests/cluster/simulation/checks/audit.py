"""A second opinion on every block, computed slowly and from nothing but what the block was made of.

Nothing here calls the rules it checks: medians are sums of fractions, roots are built from all leaves, and
what is hashed is written by hand. A block that comes out differently was decided wrongly, whoever agreed.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from ccn.core.chain.block import Block
from ccn.core.chain.header import Header
from ccn.core.chain.quorum import FaultModel
from ccn.core.chain.report import Report
from ccn.core.chain.roster import RosterRow
from ccn.core.chain.rules import Rules
from ccn.core.ids import InstanceId, NodeId
from ccn.core.ledger.signed import Check, Signed
from ccn.core.rounds.ballot import Proposal, Vote
from ccn.core.rounds.readback import ShownBlock


@lru_cache(maxsize=4096)
def block_hash(header: Header) -> bytes:
    """The hash of a block, which a run asks for thousands of times."""
    return header.hash()


@dataclass(frozen=True, slots=True)
class Sealed:
    """A block as its leader writes it down."""

    proposal: Proposal
    block: Block
    votes: tuple[Signed[Vote], ...]

    @property
    def hash(self) -> bytes:
        return block_hash(self.block.header)

    def shown(self) -> ShownBlock:
        return ShownBlock(self.block.header, self.block.leaves, self.votes, self.block.next_rules)


@dataclass(frozen=True, slots=True)
class Past:
    """All of the record up to a block: every leaf in order, not only the peaks of a tree."""

    height: int
    hash: bytes
    term: int
    time_us: int
    leaves: tuple[bytes, ...]
    sealed: dict[NodeId, int]
    rules: Rules

    def after(self, sealed: Sealed) -> Past:
        header = sealed.block.header
        leaves = (*self.leaves, *sealed.block.leaves, block_hash(header))
        ends = {span.node: span.last for span in header.spans}
        place = header.height, block_hash(header), header.term, header.time_us
        return Past(*place, leaves, self.sealed | ends, sealed.block.next_rules)


def certified(sealed: ShownBlock, rules: Rules, check: Check) -> bool:
    """Whether a quorum of different validators signed a vote for this very block."""
    header, signers = sealed.header, set[NodeId]()
    keys = {validator.node: validator.key for validator in rules.validators}
    for vote in sealed.votes:
        said = Vote(vote.statement.node, header.height, header.term, block_hash(header))
        key = keys.get(said.node)
        if key is not None and check(key, said.signed_bytes(), vote.signature):
            signers.add(said.node)
    return len(signers) >= rules.quorum


def wrong(sealed: Sealed, past: Past, check: Check) -> Iterator[str]:
    """Everything in a block that is not as it must be; each as a short sentence."""
    header, reports = sealed.block.header, [report.statement for report in sealed.proposal.reports]
    if (header.height, header.previous) != (past.height + 1, past.hash):
        yield "the block does not follow"
    if header.term < past.term or header.time_us <= past.time_us:
        yield "term or time goes back"
    yield from _wrong_reports(sealed, past, check)
    leaves = b"".join(report.leaves for report in sorted(reports, key=lambda report: report.node))
    if b"".join(sealed.block.leaves) != leaves:
        yield "the leaves are not those of the reports"
    if header.root != slow_root([*past.leaves, *sealed.block.leaves]):
        yield "the root is not the root of the leaves"
    if header.before_root != slow_root(past.leaves) or header.before_size != len(past.leaves):
        yield "the block begins with another tree"
    if header.result != slow_result(reports, past.rules):
        yield "the result is not the result of the reports"
    wanted = Counter(report.wants for report in reports)
    changed = sealed.block.next_rules.hash()
    if changed != past.rules.hash() and wanted[changed] < past.rules.quorum:
        yield "no quorum wanted the next rules"


def _wrong_reports(sealed: Sealed, past: Past, check: Check) -> Iterator[str]:
    header, reports = sealed.block.header, sealed.proposal.reports
    keys = {validator.node: validator.key for validator in past.rules.validators}
    nodes = [report.statement.node for report in reports]
    if len(set(nodes)) != len(nodes) or len(nodes) < past.rules.quorum:
        yield "too few reports, or two of one node"
    for report in reports:
        said = report.statement
        if said.node not in keys or not check(keys[said.node], said.signed_bytes(), report.signature):
            yield "a report is not signed by its node"
        if (said.height, said.previous, said.term) != (header.height, past.hash, header.term):
            yield "a report is of another round"
        if said.first != past.sealed.get(said.node, 0) + 1:
            yield "a leaf is left out or sealed again"
    messages = [
        report.statement.signed_bytes() for report in sorted(reports, key=lambda r: r.statement.node)
    ]
    if header.reports != slow_root([hashlib.sha256(b"\x00" + message).digest() for message in messages]):
        yield "the block names other reports"


def slow_root(leaves: Sequence[bytes]) -> bytes:
    """The root as RFC 6962 defines it, from all the leaves."""
    if len(leaves) < 2:
        return leaves[0] if leaves else hashlib.sha256(b"").digest()
    half = 1 << ((len(leaves) - 1).bit_length() - 1)
    left, right = _complete(tuple(leaves[:half])), slow_root(leaves[half:])
    return hashlib.sha256(b"\x01" + left + right).digest()


@lru_cache(maxsize=4096)
def _complete(leaves: tuple[bytes, ...]) -> bytes:
    """The left half of a tree, which is asked for again whenever the tree has grown on its right."""
    return slow_root(leaves)


def slow_result(reports: Sequence[Report], rules: Rules) -> bytes:
    """The hash of the results, one character after the other."""
    ordered = [
        (roster.character, report.node, roster.rows())
        for report in sorted(reports, key=lambda report: report.node)
        for roster in report.rosters
        if len(roster)
    ]
    claims = Counter(row.instance for _, _, listed in ordered for row in listed)
    bodies = list[bytes]()
    for character in sorted({character for character, _, _ in ordered}):
        rows = [(node, row) for of, node, listed in ordered if of == character for row in listed]
        bodies.append(_slow_body(character, rows, claims, rules))
    return hashlib.sha256(b"ccn/result/v1\n" + b"\n".join(bodies)).digest()


Told = tuple[int, NodeId, int | None]
"""A score, and which node reports it of whose instance."""


def _slow_body(
    character: str, rows: Sequence[tuple[NodeId, RosterRow]], claims: Counter[InstanceId], rules: Rules
) -> bytes:
    by_node = rules.parameters.faults is FaultModel.BYZANTINE
    disputed = [at for at, (_, row) in enumerate(rows) if claims[row.instance] > 1]
    counted = [row for at, row in enumerate(rows) if by_node or at not in disputed]
    shown = [
        [(row.vector.millionths[axis], node, row.owner) for node, row in counted] for axis in range(16)
    ]
    middle = [_slow_median([(v, n, o) for v, n, o in column if v is not None], rules) for column in shown]
    drifts = [_slow_drift(row.vector.millionths, middle) for _, row in rows]
    return json.dumps(
        {
            "character": character,
            "disputed": disputed,
            "drift": drifts,
            "kind": "result",
            "median": middle,
            "outliers": [
                at
                for at, drift in enumerate(drifts)
                if drift > rules.parameters.tolerance and at not in disputed
            ],
            "owners": min(
                (len(each) for column in shown if (each := {o for v, _, o in column if v is not None})),
                default=0,
            ),
            "v": 2,
            "weights": "owner and node" if by_node else "owner",
        },
        separators=(",", ":"),
    ).encode()


def _slow_median(shown: Sequence[Told], rules: Rules) -> int | None:
    """Owners weigh the same; with liars about no node weighs more, and no liars set it by themselves."""
    if not shown:
        return None
    if rules.parameters.faults is FaultModel.CRASH:
        own = Counter(owner for _, _, owner in shown)
        weights = [Fraction(1, own[owner]) for _, _, owner in shown]
        return _slow_least(shown, weights, sum(weights, Fraction(0)) / 2)
    cells = Counter((node, owner) for _, node, owner in shown)
    on, of = Counter(node for node, _ in cells), Counter(owner for _, owner in cells)
    even = [Fraction(1, on[node] * cells[node, owner]) for _, node, owner in shown]
    liars = (len(rules.validators) - 1) // 3
    if len(on) <= 2 * liars:
        return _slow_least(shown, even, Fraction(len(on), 2))
    fair = [Fraction(1, max(on[node], of[owner]) * cells[node, owner]) for _, node, owner in shown]
    beyond = liars + min(even) / 2  # more than the liars have
    middle = _slow_least(shown, fair, sum(fair, Fraction(0)) / 2)
    lowest, highest = (_slow_least(shown, even, each) for each in (beyond, Fraction(len(on) - liars)))
    return sorted((lowest, middle, highest))[1]


def _slow_least(shown: Sequence[Told], weights: Sequence[Fraction], enough: Fraction) -> int:
    """The smallest value with enough weight at or below it."""
    pairs = [(value, weight) for (value, _, _), weight in zip(shown, weights, strict=True)]
    return min(v for v, _ in pairs if sum(w for u, w in pairs if u <= v) >= enough)


def _slow_drift(vector: Sequence[int | None], middle: Sequence[int | None]) -> int:
    squares = [(v - m) ** 2 for v, m in zip(vector, middle, strict=True) if v is not None and m is not None]
    if not squares:
        return 1_000_000
    mean = -(-sum(squares) // len(squares))
    return math.isqrt(mean - 1) + 1 if mean else 0
