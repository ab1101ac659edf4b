"""Asking all nodes the same, this one included: peers over the network, itself by a call.

Separate from the round, which only wants an answer or a reason from each.
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
        """What each reports."""
        return await self._gather_answers(self.voting.sign_report(ask), self.peers.report(ask, within_s))

    async def collect_votes(
        self, proposed: Signed[Proposal], within_s: float
    ) -> Mapping[NodeId, Signed[Vote] | Refusal | str]:
        """What each says to a proposal."""
        return await self._gather_answers(
            self.voting.vote_on(proposed), self.peers.propose(proposed, within_s)
        )

    async def announce_block(self, tip: Tip, within_s: float) -> None:
        """Tell the others; they cosign when they have read the block."""
        await self.peers.decide(CommitNotice(self.node, tip.height, tip.term, tip.hash), within_s)

    async def _gather_answers(
        self, own: Awaitable[Signed[S] | Refusal], others: Awaitable[Answers[Signed[S] | Refusal]]
    ) -> Mapping[NodeId, Signed[S] | Refusal | str]:
        mine, theirs = await asyncio.gather(own, others)
        answers = {node: a.reason if isinstance(a, Silent) else a for node, a in theirs.items()}
        return {self.node: mine, **answers}
