"""Rules with one thing wrong each. A simulation that lets one of them live proves nothing about the real.

A mutant replaces one function or one promise of the `Conduct`; everything else stays real. The table at the
end says in which runs it must be caught, and by which invariant.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ccn.core.chain import block, result
from ccn.core.chain.block import Tip
from ccn.core.chain.header import Header
from ccn.core.chain.report import Report
from ccn.core.chain.rules import Rules
from ccn.core.ids import NodeId
from ccn.core.ledger.signed import Check, Signed
from ccn.core.rounds import ballot, readback, signer
from ccn.core.rounds.ballot import Certificate, Draft, NoQuorum, Proposal, TermLeader, Vote, Voter
from ccn.core.rounds.readback import ShownBlock
from ccn.core.rounds.refusal import Reason, Refusal
from ccn.core.rounds.signer import SignerState
from tests.cluster.simulation.checks.invariants import Invariant
from tests.cluster.simulation.nodes.conduct import Conduct, Confirm, Judge
from tests.cluster.simulation.nodes.machine import Disk
from tests.cluster.simulation.scenario import Kind, Scenario, drawn


@dataclass(frozen=True, slots=True)
class Mutant:
    """One thing wrong, the runs in which it shows, and as what."""

    conduct: Conduct
    kind: Kind
    caught: Invariant
    nodes: int | None = None
    excused: bool = True
    strikes: float | None = None
    shows: int = 0
    """A seed in which it shows, to be tried before all others: for those that are rarely seen."""

    def scenario(self, seed: int) -> Scenario:
        """The scenario of a seed, with more deaths where only those bring it out."""
        found = drawn(self.kind, seed, self.nodes)
        strikes = found.strikes if self.strikes is None else self.strikes
        return replace(found, excused=found.excused and self.excused, strikes=strikes)


class TwoFPlusOne(Rules):
    """Enough to outnumber the liars, and not enough for two quorums to share an honest node."""

    __slots__ = ()

    @property
    def quorum(self) -> int:
        return 2 * ((len(self.validators) - 1) // 3) + 1


def judging_without(*blind: Reason) -> Judge:
    """A voter that does not look for some things."""

    def judge(proposed: Signed[Proposal], voter: Voter, now_us: int, check: Check) -> Vote | Refusal:
        answer, header = ballot.judge(proposed, voter, now_us, check), proposed.statement.header
        if isinstance(answer, Refusal) and answer.reason in blind:
            return Vote(voter.node, header.height, header.term, header.hash())
        return answer

    return judge


def confirming_without(*blind: Reason) -> Confirm:
    """A reader that does not look for some things."""

    def confirm(
        shown: ShownBlock, tip: Tip, node: NodeId, own: Mapping[int, bytes], check: Check
    ) -> Tip | Refusal:
        answer = readback.confirm_block(shown, tip, node, own, check)
        if isinstance(answer, Refusal) and answer.reason in blind:
            return block.advance_tip(tip, shown.header, tip.tree.extend(shown.leaves), shown.next_rules)
        return answer

    return confirm


def cosign_anything(state: SignerState, header: Header) -> SignerState:
    """Whatever the database shows."""
    return replace(state, height=header.height, block=header.hash())


def vote_forgetting(state: SignerState, header: Header) -> SignerState | Refusal:
    """Without regard to any vote before."""
    return signer.allow_vote(SignerState(state.height, state.block), header)


def judge_forgetting(proposed: Signed[Proposal], voter: Voter, now_us: int, check: Check) -> Vote | Refusal:
    """Without regard to any vote before."""
    fresh = SignerState(voter.signer.height, voter.signer.block)
    return ballot.judge(proposed, replace(voter, signer=fresh), now_us, check)


async def only_written(disk: Disk, state: SignerState) -> None:
    """Left to the operating system."""
    disk.write(state.body())


async def not_at_all(_: Disk, state: SignerState) -> None:
    """Left to memory."""
    del state


def count_votes(
    header: Header, votes: Sequence[Signed[Vote]], rules: Rules, _: Check
) -> Certificate | NoQuorum:
    """As many as there are, from whomever."""
    fit = [vote for vote in votes if vote.statement.block == header.hash()]
    return Certificate(tuple(fit)) if len(fit) >= rules.quorum else NoQuorum(rules.quorum, len(fit))


def propose_floats(
    reports: Sequence[Signed[Report]], leader: TermLeader, now_us: int, check: Check
) -> Draft | NoQuorum:
    """A block whose medians are the mean of the two in the middle."""
    draft = ballot.propose(reports, leader, now_us, check)
    if isinstance(draft, NoQuorum):
        return draft
    header = replace(draft.block.header, result=_float_result(draft.proposal, leader.tip))
    return Draft(replace(draft.proposal, header=header), replace(draft.block, header=header), draft.refused)


def propose_newest(
    reports: Sequence[Signed[Report]], leader: TermLeader, now_us: int, check: Check
) -> Draft | NoQuorum:
    """A block without the reports whose instances somebody names under a higher epoch."""
    claims = [
        (row.instance, row.epoch, report.statement.node)
        for report in reports
        for roster in report.statement.rosters
        for row in roster.rows()
    ]
    newest = dict(sorted((instance, epoch) for instance, epoch, _ in claims))
    old = {node for instance, epoch, node in claims if epoch < newest[instance]}
    draft = ballot.propose([r for r in reports if r.statement.node not in old], leader, now_us, check)
    late = tuple((node, Refusal(Reason.INSTANCE, "named elsewhere")) for node in sorted(old))
    return replace(draft, refused=draft.refused + late)


def judge_floats(proposed: Signed[Proposal], voter: Voter, now_us: int, check: Check) -> Vote | Refusal:
    """A voter that computes medians in the same way."""
    header = proposed.statement.header
    if header.result != _float_result(proposed.statement, voter.tip):
        return Refusal(Reason.RESULT, "another float")
    return judging_without(Reason.RESULT)(proposed, voter, now_us, check)


def _float_result(proposal: Proposal, tip: Tip) -> bytes:
    rosters = [roster for report in proposal.reports for roster in report.statement.rosters if len(roster)]
    if not rosters:
        return result.hash_results(())
    matrix = np.concatenate([roster.matrix() for roster in rosters]).astype(np.float64)
    shown = [column[column >= 0] for column in matrix.T]
    middle = tuple(int(np.median(column)) if len(column) else None for column in shown)
    ordered = [(report.statement.node, r) for report in proposal.reports for r in report.statement.rosters]
    (real,) = result.conclude_round(ordered, tip.rules)
    return result.hash_results([replace(real, median=middle)])


_FLOATS = Conduct(propose=propose_floats, judge=judge_floats)
_FORGETFUL = Conduct(judge=judge_forgetting, vote=vote_forgetting)

MUTANTS: Mapping[str, Mutant] = {
    "2f + 1 of five nodes as a quorum": Mutant(
        Conduct(rules=TwoFPlusOne), Kind.BYZANTINE, Invariant.TWO_FINAL, nodes=5, shows=37
    ),
    "a majority of three nodes with a liar": Mutant(
        Conduct(), Kind.DETECTED, Invariant.TWO_FINAL, nodes=3, excused=False
    ),
    "cosigning two blocks of one height": Mutant(
        Conduct(cosign=cosign_anything), Kind.DETECTED, Invariant.TWO_COSIGNED
    ),
    "a plain SELECT as fence": Mutant(Conduct(fence_holds=False), Kind.CRASH, Invariant.OLD_TERM),
    "a report left out for the instances it shares": Mutant(
        Conduct(propose=propose_newest), Kind.BYZANTINE, Invariant.SILENCED
    ),
    "a float median": Mutant(_FLOATS, Kind.CRASH, Invariant.WRONG_BLOCK),
    "a vote without fsync": Mutant(
        Conduct(remember_vote=only_written), Kind.BYZANTINE, Invariant.TWO_VOTES, strikes=0.3, shows=43
    ),
    "a proposal that a restart forgets": Mutant(
        Conduct(remember_proposed=not_at_all), Kind.DATABASE, Invariant.TWO_PROPOSED, strikes=0.4, shows=35
    ),
    "a cosignature without fsync": Mutant(
        Conduct(remember_cosigned=only_written), Kind.DETECTED, Invariant.TWO_COSIGNED
    ),
    "a tip that is not compared": Mutant(
        Conduct(tip_compared=False), Kind.CRASH, Invariant.TWO_COMMITTED, shows=41
    ),
    "a certificate that counts one node twice": Mutant(
        Conduct(tally=count_votes), Kind.DETECTED, Invariant.UNCERTIFIED
    ),
    "a vote that forgets the one before": Mutant(_FORGETFUL, Kind.BYZANTINE, Invariant.TWO_VOTES),
    **{
        f"a vote without checking {what}": Mutant(
            Conduct(judge=judging_without(reason)), Kind.DETECTED, Invariant.WRONG_BLOCK, shows=shows
        )
        for what, reason, shows in (
            ("the root", Reason.ROOT, 18),
            ("the result", Reason.RESULT, 88),
            ("the round of a report", Reason.ROUND, 19),
            ("the signature of a report", Reason.SIGNATURE, 5),
            ("that reports are of a quorum", Reason.QUORUM, 0),
            ("the clock", Reason.CLOCK, 117),
            ("which reports the header names", Reason.REPORT, 8),
        )
    },
    "a vote without checking the own report": Mutant(
        Conduct(judge=judging_without(Reason.REPORT)), Kind.DETECTED, Invariant.OWN_REPORT
    ),
    "a cosignature without counting votes": Mutant(
        Conduct(confirm=confirming_without(Reason.QUORUM)), Kind.DATABASE, Invariant.UNCERTIFIED
    ),
    "a cosignature without building the tree": Mutant(
        Conduct(confirm=confirming_without(Reason.ROOT, Reason.LEAVES)), Kind.DATABASE, Invariant.ALTERED
    ),
}
