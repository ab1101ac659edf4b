"""Asking all nodes the same question: peers over the network, and this node by a direct call.

Separate from the round, which only needs an answer or a reason from each node.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from ccn.core.chain.block import Tip
from ccn.core.chain.report import Report
from ccn.core.ids import NodeId
from ccn.core.ledger.signed import Signed
from ccn.core.rounds.ballot import Proposal, Vote
from ccn.core.rounds.refusal import Refusal
from ccn.node.rounds.voting import Voting
from ccn.peers.client import Answers, PeerClient, Silent
from ccn.peers.exchange import CommitNotice, ReportRequest

S = TypeVar("S", Report, Vote)


@dataclass(frozen=True, slots=True)
class NodePoll:
    """This node and all its peers."""

    node: NodeId
    voting: Voting
    peers: PeerClient

    async def collect_reports(
        self, ask: ReportRequest, within_s: float
    ) -> Mapping[NodeId, Signed[Report] | Refusal | str]:
        """Collect the report of each node."""
        return await self._gather_answers(self.voting.sign_report(ask), self.peers.report(ask, within_s))

    async def collect_votes(
        self, proposed: Signed[Proposal], within_s: float
    ) -> Mapping[NodeId, Signed[Vote] | Refusal | str]:
        """Collect the vote of each node on a proposal."""
        return await self._gather_answers(
            self.voting.vote_on(proposed), self.peers.propose(proposed, within_s)
        )

    async def announce_block(self, tip: Tip, within_s: float) -> None:
        """Tell the peers about a block. They cosign it once they have read it."""
        await self.peers.decide(CommitNotice(self.node, tip.height, tip.term, tip.hash), within_s)

    async def _gather_answers(
        self, own: Awaitable[Signed[S] | Refusal], others: Awaitable[Answers[Signed[S] | Refusal]]
    ) -> Mapping[NodeId, Signed[S] | Refusal | str]:
        mine, theirs = await asyncio.gather(own, others)
        answers = {
            node: answer.reason if isinstance(answer, Silent) else answer for node, answer in theirs.items()
        }
        return {self.node: mine, **answers}
