"""What must hold after every step, and the witness that watches for it.

The witness stands beside the cluster and sees what no node sees: every signature an honest node makes,
across its lives, every commit, and every cosignature. It knows nothing of how the rules work.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from ccn.core.chain import checkpoint
from ccn.core.chain.block import Tip
from ccn.core.chain.checkpoint import Checkpoint
from ccn.core.chain.header import Header
from ccn.core.chain.report import Report
from ccn.core.chain.rules import Rules
from ccn.core.ids import NodeId
from ccn.core.ledger import proof
from ccn.core.ledger.note import Note, Signature
from ccn.core.ledger.signed import Check, Signed
from ccn.core.rounds.ballot import Proposal, Vote
from ccn.core.rounds.readback import ShownBlock
from tests.cluster.simulation.checks import audit
from tests.cluster.simulation.checks.audit import Past, Sealed, block_hash


class Invariant(StrEnum):
    """What must never be seen."""

    TWO_FINAL = "two blocks of one height are final"
    TWO_COMMITTED = "two blocks of one height are committed, or a height is left out"
    WRONG_BLOCK = "a committed block is not what its reports make it"
    UNCERTIFIED = "a block without a quorum of votes is committed or cosigned"
    OLD_TERM = "an older term commits after a takeover"
    TWO_VOTES = "a node votes for two blocks in one height and term, or goes back"
    TWO_COSIGNED = "a node cosigns two blocks of one height, or goes back"
    TWO_PROPOSED = "an honest leader makes evidence against itself"
    SILENCED = "an honest report is left out of a round because of what others say"
    OWN_REPORT = "a node votes for a report in its name that it does not know"
    ALTERED = "a node cosigns a checkpoint that its block does not make"
    INCONSISTENT = "final checkpoints are not of one tree"
    UNSEALED = "an acknowledged leaf is not sealed once, as it was"
    UNDETECTED = "a lie has an effect that nobody can see"


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that was seen and must not be."""

    invariant: Invariant
    detail: str


class Witness:
    """Sees everything and says what was wrong about it."""

    def __init__(self, genesis: Tip, check: Check) -> None:
        self.violations: list[Violation] = []
        self.finals: dict[int, dict[bytes, Checkpoint]] = defaultdict(dict)
        self.past = {genesis.hash: Past(0, genesis.hash, 0, 0, (), {}, genesis.rules)}
        self._check = check
        self._heights: dict[int, bytes] = {0: genesis.hash}
        self._said: dict[tuple[str, NodeId, int, int], bytes] = {}
        self._voted: dict[NodeId, tuple[int, int]] = {}
        self._cosigned: dict[NodeId, tuple[int, bytes]] = {}
        self._heads: dict[bytes, tuple[int, bytes]] = {}
        self._notes: dict[str, set[Signature]] = defaultdict(set)

    def proposed(self, proposal: Proposal) -> None:
        """An honest leader signs a proposal."""
        self._once("proposal", proposal.node, proposal.header, Invariant.TWO_PROPOSED)

    def voted(self, vote: Vote, proposal: Proposal, own: Signed[Report] | None) -> None:
        """An honest node signs a vote; `own` is what it reported in this round and life."""
        place = vote.height, vote.term
        self._once("vote", vote.node, proposal.header, Invariant.TWO_VOTES)
        if (
            place < self._voted.get(vote.node, place)
            or vote.height <= self._cosigned.get(vote.node, (0,))[0]
        ):
            self.saw(Invariant.TWO_VOTES, f"{vote.node} goes back to {place}")
        self._voted[vote.node] = place
        if any(report.statement.node == vote.node and report != own for report in proposal.reports):
            self.saw(Invariant.OWN_REPORT, f"{vote.node} in {place}")

    def committed(self, sealed: Sealed, term: int) -> None:
        """The database commits a block while it is in this term."""
        header = sealed.block.header
        if header.term != term:
            self.saw(Invariant.OLD_TERM, f"block {header.height} of term {header.term} in term {term}")
        if header.height in self._heights or self._heights.get(header.height - 1) != header.previous:
            self.saw(Invariant.TWO_COMMITTED, f"block {header.height}")
        self._heights[header.height] = block_hash(header)
        past = self.past.get(header.previous)
        if past is None or not audit.certified(sealed.shown(), past.rules, self._check):
            self.saw(Invariant.UNCERTIFIED, f"block {header.height} is committed")

    def restored(self, chain: Sequence[Sealed]) -> None:
        """The database is an old backup from now on; it may go on from there."""
        founding = {0: self._heights[0]}
        self._heights = founding | {sealed.block.header.height: sealed.hash for sealed in chain}

    def cosigned(self, node: NodeId, shown: ShownBlock, before: Tip, head: Checkpoint) -> None:
        """An honest node stands for the checkpoint after a block."""
        height, block = shown.header.height, block_hash(shown.header)
        last = self._cosigned.get(node, (0, b""))
        if height < last[0] or (height == last[0] and block != last[1]):
            self.saw(Invariant.TWO_COSIGNED, f"{node} cosigns {height} after {last[0]}")
        self._cosigned[node] = (height, block)
        past = self.past.get(block)
        if past is None or not audit.certified(shown, before.rules, self._check):
            self.saw(Invariant.UNCERTIFIED, f"{node} cosigns block {height}")
        elif (head.size, head.root) != self._head(block):
            self.saw(Invariant.ALTERED, f"{node} cosigns block {height}")

    def stood_for(self, header: Header, head: Checkpoint, lines: Sequence[Signature], rules: Rules) -> None:
        """Cosignatures become known, of whomever."""
        self._notes[head.text()].update(lines)
        note = Note(head.text(), tuple(sorted(self._notes[head.text()], key=lambda line: line.data)))
        if checkpoint.is_final(note, rules, self._check):
            finals = self.finals[header.height]
            finals[block_hash(header)] = head
            if len(finals) > 1:
                self.saw(Invariant.TWO_FINAL, f"height {header.height}")

    def learn(self, sealed: Sealed) -> None:
        """A certified block exists, in whatever chain; it is computed again."""
        header = sealed.block.header
        past = self.past.get(header.previous)
        if past is None or block_hash(header) in self.past:
            return
        if audit.certified(sealed.shown(), past.rules, self._check):
            self.past[block_hash(header)] = past.after(sealed)
            for sentence in audit.wrong(sealed, past, self._check):
                self.saw(Invariant.WRONG_BLOCK, f"block {header.height}: {sentence}")

    def checkpoints(self) -> None:
        """Every final checkpoint begins with the one before it."""
        heads = [
            (block, head) for _, finals in sorted(self.finals.items()) for block, head in finals.items()
        ]
        for (_, old), (block, new) in itertools.pairwise(heads):
            leaves = self.past[block].leaves if block in self.past else ()
            ranges = proof.consistency_ranges(min(old.size, new.size), new.size)
            shown = proof.hash_ranges(ranges, leaves)
            if not proof.verify_consistency(old.size, new.size, shown, old.root, new.root):
                self.saw(Invariant.INCONSISTENT, f"{old.size} and {new.size}")

    def leaves(self, chain: Sequence[Sealed], acknowledged: Mapping[tuple[NodeId, int], bytes]) -> None:
        """Every acknowledged leaf stands in the chain, once and unchanged."""
        found = Counter[tuple[NodeId, int]]()
        for sealed in chain:
            hashes = iter(sealed.block.leaves)
            for span in sealed.block.header.spans:
                for number, leaf in zip(range(span.first, span.last + 1), hashes, strict=False):
                    place = span.node, number
                    found[place] += acknowledged.get(place, leaf) == leaf
        for place in acknowledged:
            if found[place] != 1:
                self.saw(Invariant.UNSEALED, f"leaf {place} was sealed {found[place]} times")

    def _head(self, block: bytes) -> tuple[int, bytes]:
        if block not in self._heads:
            leaves = self.past[block].leaves
            self._heads[block] = len(leaves), audit.slow_root(leaves)
        return self._heads[block]

    def _once(self, kind: str, node: NodeId, header: Header, invariant: Invariant) -> None:
        said = self._said.setdefault((kind, node, header.height, header.term), block_hash(header))
        if said != block_hash(header):
            self.saw(invariant, f"{node} in height {header.height}, term {header.term}")

    def saw(self, invariant: Invariant, detail: str) -> None:
        """One more thing that must not be."""
        self.violations.append(Violation(invariant, detail))
