"""Honest nodes without a network: they hold rounds by calling the rules one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar
from uuid import UUID

from ccn.core.axes import Vector
from ccn.core.chain import block
from ccn.core.chain.block import Tip
from ccn.core.chain.quorum import FaultModel
from ccn.core.chain.report import Report
from ccn.core.chain.roster import Roster, RosterRow
from ccn.core.chain.rules import Parameters, Rules, Validator, Weighing
from ccn.core.ids import CharacterId, InstanceId, NodeId
from ccn.core.ledger import commitment, signed
from ccn.core.ledger.signed import Signed
from ccn.core.rounds import ballot, readback, signer
from ccn.core.rounds.ballot import Certificate, Draft, Proposal, TermLeader, Vote, Voter
from ccn.core.rounds.refusal import Refusal
from ccn.core.rounds.signer import SignerState
from tests.support.core.keys import ed25519, pair_of
from tests.support.core.rosters import pack_rows

S = TypeVar("S", Report, Proposal, Vote)


def rules_of(
    nodes: Sequence[str],
    faults: FaultModel = FaultModel.CRASH,
    weighing: Weighing = Weighing.OWNERS,
    **parameters: int,
) -> Rules:
    listed = sorted(Validator(NodeId(node), pair_of(node).public) for node in nodes)
    return Rules(tuple(listed), Parameters("tier-1/v1", faults, weighing=weighing, **parameters))


def row(number: int, *scores: int | None, epoch: int = 1, owner: int | None = 0) -> RosterRow:
    padded = (*scores, *(500_000,) * (16 - len(scores)))
    return RosterRow(InstanceId(UUID(int=number)), epoch, Vector(padded), owner)


def rows(*listed: RosterRow, character: str = "ada") -> Roster:
    return pack_rows(CharacterId(character), listed)


@dataclass(slots=True)
class Cluster:
    """Honest nodes that hold rounds by calling each other, one after the other, with nothing in between."""

    rules: Rules
    tip: Tip
    now_us: int = 1_800_000_000_000_000
    term: int = 1
    signers: dict[NodeId, SignerState] = field(default_factory=dict)
    leaves: dict[tuple[NodeId, int], bytes] = field(default_factory=dict)

    @property
    def nodes(self) -> list[NodeId]:
        return [validator.node for validator in self.tip.rules.validators]

    @property
    def leader(self) -> NodeId:
        return self.nodes[0]

    def leaf(self, node: NodeId, number: int) -> bytes:
        return self.leaves.setdefault((node, number), commitment.leaf_hash(f"{node} {number}".encode()))

    def statement(
        self, node: NodeId, *rosters: Roster, leaves: int = 2, wants: Rules | None = None
    ) -> Report:
        first = self.tip.last_sealed(node) + 1
        hashes = b"".join(self.leaf(node, number) for number in range(first, first + leaves))
        wanted = (wants or self.tip.rules).hash()
        return Report(node, self.tip.height + 1, self.term, self.tip.hash, rosters, first, hashes, wanted)

    def report(
        self, node: NodeId, *rosters: Roster, leaves: int = 2, wants: Rules | None = None
    ) -> Signed[Report]:
        return self.signed(self.statement(node, *rosters, leaves=leaves, wants=wants))

    def reports(self, leaves: int = 2) -> list[Signed[Report]]:
        owner = 0 if self.tip.rules.parameters.weighing is Weighing.OWNERS else None
        pairs = [[row(2 * n + each, owner=owner) for each in (0, 1)] for n in range(len(self.nodes))]
        numbered = zip(self.nodes, pairs, strict=True)
        return [self.report(node, rows(*pair), leaves=leaves) for node, pair in numbered]

    def signed(self, statement: S) -> Signed[S]:
        return signed.sign_statement(statement, pair_of(statement.node).sign)

    def lead(self, wanted: Rules | None = None) -> TermLeader:
        return TermLeader(self.leader, self.tip, self.term, wanted or self.tip.rules)

    def draft(self, reports: Sequence[Signed[Report]] | None = None, wanted: Rules | None = None) -> Draft:
        made = ballot.propose(reports or self.reports(), self.lead(wanted), self.now_us, ed25519)
        assert isinstance(made, Draft), made
        return made

    def voter(self, node: NodeId, proposal: Proposal) -> Voter:
        own = next((report for report in proposal.reports if report.statement.node == node), None)
        return Voter(node, self.tip, self.term, self.leader, own, self.state(node))

    def state(self, node: NodeId) -> SignerState:
        return self.signers.setdefault(node, SignerState(self.tip.height, self.tip.hash))

    def judge(self, node: NodeId, proposal: Proposal) -> Vote | Refusal:
        return ballot.judge(self.signed(proposal), self.voter(node, proposal), self.now_us, ed25519)

    def votes(self, draft: Draft) -> list[Signed[Vote]]:
        return [self.signed(self.vote(node, draft.proposal)) for node in self.nodes]

    def vote(self, node: NodeId, proposal: Proposal) -> Vote:
        answer = self.judge(node, proposal)
        assert isinstance(answer, Vote), answer
        state = signer.allow_vote(self.state(node), proposal.header)
        assert isinstance(state, SignerState), state
        self.signers[node] = state
        return answer

    def shown(self, draft: Draft) -> readback.ShownBlock:
        certificate = ballot.tally(draft.block.header, self.votes(draft), self.tip.rules, ed25519)
        assert isinstance(certificate, Certificate), certificate
        sealed = draft.block
        return readback.ShownBlock(sealed.header, sealed.leaves, certificate.votes, sealed.next_rules)

    def own(self, node: NodeId) -> dict[int, bytes]:
        return {number: made for (producer, number), made in self.leaves.items() if producer == node}

    def commit(self, draft: Draft) -> Tip:
        """The rest of the round: everybody votes, confirms and cosigns."""
        shown, tips = self.shown(draft), list[Tip | Refusal]()
        for node in self.nodes:
            tips.append(readback.confirm_block(shown, self.tip, node, self.own(node), ed25519))
            state = signer.allow_cosignature(self.state(node), shown.header)
            assert isinstance(state, SignerState), state
            self.signers[node] = state
        assert isinstance(tips[0], Tip), tips[0]
        assert tips == [tips[0]] * len(tips)
        self.tip, self.now_us = tips[0], self.now_us + 10_000_000
        return self.tip


def cluster_of(
    nodes: int = 4, faults: FaultModel = FaultModel.CRASH, weighing: Weighing = Weighing.OWNERS
) -> Cluster:
    rules = rules_of([f"node-{number}" for number in range(1, nodes + 1)], faults, weighing)
    return Cluster(rules, block.genesis_tip("ccn.example/test", rules))
