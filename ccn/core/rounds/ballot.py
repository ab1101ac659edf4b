"""One round of consensus: from reports to a proposal, to votes, to a block.

    reports ──propose──> proposal ──judge, at each node──> votes ──tally──> certificate, and the block

The leader asks every node for a signed report. `propose` takes the reports that hold, if they come from a
quorum, and makes the only block that they can make. Each node answers with `judge`: it does not believe the
leader but computes the block again from the reports, and names the first thing that is wrong. `tally` turns
a quorum of votes into a certificate, and the leader commits the block. Every node then reads it back
(`readback`), believing the database no more than the leader, and cosigns.

Everything here is a function of its arguments. `intake` decides which reports hold. `signer` decides what a
node must remember between two answers; that is on its disk before a signature leaves the node.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ccn.core.chain import block
from ccn.core.chain.block import Block, Tip
from ccn.core.chain.header import Header
from ccn.core.chain.report import Report
from ccn.core.chain.rules import Rules
from ccn.core.ids import NodeId
from ccn.core.ledger import signed
from ccn.core.ledger.signed import Check, Signed
from ccn.core.rounds import intake, signer
from ccn.core.rounds.intake import RefusedReports
from ccn.core.rounds.refusal import Reason, Refusal
from ccn.core.rounds.signer import SignerState


def propose(
    reports: Sequence[Signed[Report]], leader: TermLeader, now_us: int, check: Check
) -> Draft | NoQuorum:
    """The block to ask for. One bad report is left out and does not stop the round."""
    tip = leader.tip
    taken, refused = intake.sift_reports(reports, tip, leader.term, check)
    if len(taken) < tip.rules.quorum:
        return NoQuorum(tip.rules.quorum, len(taken), refused)
    statements = [report.statement for report in taken]
    sealed = block.seal(
        tip,
        statements,
        term=leader.term,
        leader=leader.node,
        time_us=max(now_us, tip.time_us + 1),
        next_rules=intake.elect_rules(statements, tip.rules, leader.wanted),
    )
    return Draft(Proposal(sealed.header, taken, sealed.next_rules), sealed, refused)


def judge(proposed: Signed[Proposal], voter: Voter, now_us: int, check: Check) -> Vote | Refusal:
    """A vote for the proposal, or the first thing that is wrong with it."""
    objection = next(_find_objections(proposed, voter, now_us, check), None)
    if objection is not None:
        return objection
    header = proposed.statement.header
    return Vote(voter.node, header.height, header.term, header.hash())


def tally(
    header: Header, votes: Sequence[Signed[Vote]], rules: Rules, check: Check
) -> Certificate | NoQuorum:
    """The certificate, if a quorum of different validators voted for this very block."""
    ayes = dict[NodeId, Signed[Vote]]()
    for vote in votes:
        key = rules.key_of(vote.statement.node)
        wanted = Vote(vote.statement.node, header.height, header.term, header.hash())
        if key is not None and vote.statement == wanted and vote.is_signed_by(key, check):
            ayes[vote.statement.node] = vote
    if len(ayes) < rules.quorum:
        return NoQuorum(rules.quorum, len(ayes))
    return Certificate(tuple(ayes[node] for node in sorted(ayes)))


@dataclass(frozen=True, slots=True)
class Proposal:
    """A block that the leader asks for, with all that is needed to compute it again."""

    header: Header
    reports: tuple[Signed[Report], ...]
    next_rules: Rules

    @property
    def node(self) -> NodeId:
        """The leader."""
        return self.header.leader

    def signed_bytes(self) -> bytes:
        """What the leader signs; the header fixes reports and rules by their hashes."""
        return _block_statement(
            "proposal", self.node, self.header.height, self.header.term, self.header.hash()
        )


@dataclass(frozen=True, slots=True)
class Vote:
    """A yes of one node to one block; a no is a refusal and needs no signature."""

    node: NodeId
    height: int
    term: int
    block: bytes

    def signed_bytes(self) -> bytes:
        """What the voter signs."""
        return _block_statement("vote", self.node, self.height, self.term, self.block)


@dataclass(frozen=True, slots=True)
class Draft:
    """The proposal to sign and send, the block to commit if it is voted, and the reports left out of it."""

    proposal: Proposal
    block: Block
    refused: RefusedReports


@dataclass(frozen=True, slots=True)
class Certificate:
    """Votes of a quorum for one block, by the nodes' names."""

    votes: tuple[Signed[Vote], ...]


@dataclass(frozen=True, slots=True)
class NoQuorum:
    """Fewer nodes than a quorum: nothing happens, and the round fails with this as its reason."""

    needed: int
    found: int
    refused: RefusedReports = ()


@dataclass(frozen=True, slots=True)
class TermLeader:
    """What the leader of a term brings to a round besides the reports; it may want other rules."""

    node: NodeId
    tip: Tip
    term: int
    wanted: Rules


@dataclass(frozen=True, slots=True)
class Voter:
    """What a voter knows by itself: the last block, who leads, what it reported, what it has signed."""

    node: NodeId
    tip: Tip
    term: int
    leader: NodeId
    report: Signed[Report] | None
    signer: SignerState


def _find_objections(
    proposed: Signed[Proposal], voter: Voter, now_us: int, check: Check
) -> Iterator[Refusal]:
    """Everything a voter checks, the cheap first: place, clock, names, and then the whole block again."""
    yield from _check_position(proposed.statement.header, voter)
    yield from _check_clock(proposed.statement.header, voter.tip, now_us)
    yield from _check_signers(proposed, voter, check)
    yield from _check_content(proposed.statement, voter.tip)


def _check_position(header: Header, voter: Voter) -> Iterator[Refusal]:
    if header.term != voter.term:
        yield Refusal(Reason.TERM, f"proposed in term {header.term}, but the database shows {voter.term}")
    if header.leader != voter.leader:
        yield Refusal(
            Reason.LEADER, f"{header.leader} proposes, but {voter.leader} leads term {voter.term}"
        )
    if not block.follows_tip(header, voter.tip):
        yield Refusal(Reason.TIP, f"block {header.height} does not follow block {voter.tip.height}")
    match signer.allow_vote(voter.signer, header):
        case Refusal() as objection:
            yield objection


def _check_clock(header: Header, tip: Tip, now_us: int) -> Iterator[Refusal]:
    if header.time_us <= tip.time_us:
        yield Refusal(Reason.CLOCK, "not later than the previous block")
    allowed_us = tip.rules.parameters.clock_ms * 1000
    if abs(header.time_us - now_us) > allowed_us:
        yield Refusal(Reason.CLOCK, f"{header.time_us - now_us} µs from the clock of this node")


def _check_signers(proposed: Signed[Proposal], voter: Voter, check: Check) -> Iterator[Refusal]:
    header, reports, rules = proposed.statement.header, proposed.statement.reports, voter.tip.rules
    key = rules.key_of(header.leader)
    if key is None:
        yield Refusal(Reason.STRANGER, f"{header.leader} is not a validator")
    elif not proposed.is_signed_by(key, check):
        yield Refusal(Reason.SIGNATURE, f"the proposal is not signed by {header.leader}")
    nodes = [report.statement.node for report in reports]
    if len(set(nodes)) < max(rules.quorum, len(nodes)):
        yield Refusal(Reason.QUORUM, f"{len(nodes)} reports of {len(set(nodes))} nodes, not {rules.quorum}")
    for report in reports:
        objection = intake.examine_report(report, voter.tip, header.term, check)
        if objection is not None:
            yield objection
        if report.statement.node == voter.node and report != voter.report:
            yield Refusal(Reason.REPORT, f"this is not what {voter.node} reported")


def _check_content(proposal: Proposal, tip: Tip) -> Iterator[Refusal]:
    header, reports = proposal.header, [report.statement for report in proposal.reports]
    if intake.elect_rules(reports, tip.rules, proposal.next_rules) != proposal.next_rules:
        yield Refusal(Reason.RULES, "no quorum wants the rules proposed for the next block")
    again = block.seal(
        tip,
        reports,
        term=header.term,
        leader=header.leader,
        time_us=header.time_us,
        next_rules=proposal.next_rules,
    )
    for field, reason in COMPARED.items():
        if getattr(header, field) != getattr(again.header, field):
            yield Refusal(reason, f"{field} is not what the reports make it")


COMPARED: Mapping[str, Reason] = {
    "validators": Reason.RULES,
    "parameters": Reason.RULES,
    "next_validators": Reason.RULES,
    "next_parameters": Reason.RULES,
    "reports": Reason.REPORT,
    "spans": Reason.LEAVES,
    "result": Reason.RESULT,
    "before_size": Reason.ROOT,
    "before_root": Reason.ROOT,
    "size": Reason.ROOT,
    "root": Reason.ROOT,
}
"""What a voter computes again, and what it calls a difference."""


def _block_statement(kind: str, node: NodeId, height: int, term: int, named: bytes) -> bytes:
    return signed.statement_bytes(
        kind, {"block": named.hex(), "height": height, "node": node, "term": term}
    )
