"""What this node answers its peers, whether or not it has a place in the cluster yet.

Separate from membership, so that the door for peers can open before this node votes.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing

import ccn
from ccn.core.chain.report import Report
from ccn.core.identity.revocation import PresentedCertificate
from ccn.core.ids import NodeId
from ccn.core.ledger import note
from ccn.core.ledger.signed import Signed
from ccn.core.rounds.ballot import Proposal, Vote
from ccn.core.rounds.readback import ShownBlock
from ccn.core.rounds.refusal import Reason, Refusal
from ccn.node.rounds.membership import Membership
from ccn.peers.exchange import (
    CommitNotice,
    ForwardedRequest,
    GatewayQuestion,
    NodeIntroduction,
    ReportRequest,
)
from ccn.store.rounds import blocks as stored_blocks

_NOT_YET = Refusal(Reason.TIP, "this node has no place in the chain yet")

GatewayDoor = Callable[[GatewayQuestion], AsyncGenerator[bytes]]
Forwards = Callable[[ForwardedRequest], AsyncGenerator[bytes]]


class PeerAnswers:
    """Answers the requests of peers for one node."""

    def __init__(self, membership: Membership, forwarded: Forwards, gateways: GatewayDoor) -> None:
        self._membership = membership
        self._forwarded = forwarded
        self._gateways = gateways

    async def admit(self, node: NodeId, shown: PresentedCertificate | None) -> None:
        """Refuse a node that takes no part in this cluster, or that shows a revoked certificate."""
        await self._membership.presence.trust.admit_node(node, shown)

    async def admit_gateway(self, gateway: NodeId, shown: PresentedCertificate | None) -> None:
        """Refuse a gateway whose certificate was revoked."""
        await self._membership.presence.trust.admit_gateway(gateway, shown)

    async def serve(self, question: GatewayQuestion) -> AsyncGenerator[bytes]:
        """Answer what a gateway asks in the name of a client."""
        async with aclosing(self._gateways(question)) as frames:
            async for frame in frames:
                yield frame

    async def identify(self) -> NodeIntroduction:
        """Say who this node is, and which block it verified last."""
        identity, voting = self._membership.identity, self._membership.voting
        height, block = (voting.tip.height, voting.tip.hash) if voting else (0, bytes(32))
        seen = self._membership.writer.fence.timelines.newest
        return NodeIntroduction(identity.node, identity.public, ccn.__version__, height, block, seen)

    async def report(self, ask: ReportRequest) -> Signed[Report] | Refusal:
        """Sign this node's report for a round."""
        self._membership.writer.fence.timelines.learn(ask.timeline)
        voting = self._membership.voting
        if voting is None:
            return _NOT_YET
        await self._membership.load_wanted_change()
        return await voting.sign_report(ask)

    async def vote_on(self, proposed: Signed[Proposal]) -> Signed[Vote] | Refusal:
        """Sign this node's vote on a proposal, or refuse it."""
        voting = self._membership.voting
        return _NOT_YET if voting is None else await voting.vote_on(proposed)

    async def confirm_block(self, decision: CommitNotice) -> note.Signature | Refusal:
        """Read the block back, and return this node's cosignature under its checkpoint."""
        voting = self._membership.voting
        if voting is None:
            return _NOT_YET
        tip = await voting.catch_up()
        if voting.stop_reason is not None:
            return voting.stop_reason
        if voting.cosignature is None or tip.hash != decision.block:
            return Refusal(Reason.TIP, f"this node stands on block {tip.height}, not {decision.height}")
        return voting.cosignature

    async def load_blocks(self, first: int, count: int) -> tuple[Sequence[ShownBlock], int]:
        """Load committed blocks for a node whose database lags behind, and the newest height."""
        height = await stored_blocks.load_height(self._membership.pool) or 0
        wanted = range(max(1, first), min(height, first + count - 1) + 1)
        loaded = [await stored_blocks.load_block(self._membership.pool, number) for number in wanted]
        return [block for block in loaded if block is not None], height

    async def forward(self, request: ForwardedRequest) -> AsyncGenerator[bytes]:
        """Call a method that only this node can run, because it hosts the instance."""
        async with aclosing(self._forwarded(request)) as frames:
            async for frame in frames:
                yield frame
