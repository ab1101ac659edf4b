"""What this node answers its peers at their door, whether or not it has a place in the cluster yet."""

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
from ccn.peers.exchange import CommitNotice, ForwardedRequest, NodeIntroduction, ReportRequest
from ccn.store.rounds import blocks as stored_blocks

_NOT_YET = Refusal(Reason.TIP, "this node has no place in the chain yet")

Forwards = Callable[[ForwardedRequest], AsyncGenerator[bytes]]


class PeerAnswers:
    """The answers of one node."""

    def __init__(self, membership: Membership, forwarded: Forwards) -> None:
        self._membership = membership
        self._forwarded = forwarded

    async def admit(self, node: NodeId, shown: PresentedCertificate | None) -> None:
        """Refuse whoever takes no part in this cluster, or does not any more."""
        await self._membership.presence.trust.admit_node(node, shown)

    async def identify(self) -> NodeIntroduction:
        """Who this node is, and how far its record goes."""
        identity, voting = self._membership.identity, self._membership.voting
        height, block = (voting.tip.height, voting.tip.hash) if voting else (0, bytes(32))
        return NodeIntroduction(identity.node, identity.public, ccn.__version__, height, block)

    async def report(self, ask: ReportRequest) -> Signed[Report] | Refusal:
        """This node's part of the round."""
        voting = self._membership.voting
        if voting is None:
            return _NOT_YET
        await self._membership.load_wanted_change()
        return await voting.sign_report(ask)

    async def vote_on(self, proposed: Signed[Proposal]) -> Signed[Vote] | Refusal:
        """This node's vote."""
        voting = self._membership.voting
        return _NOT_YET if voting is None else await voting.vote_on(proposed)

    async def confirm_block(self, decision: CommitNotice) -> note.Signature | Refusal:
        """Read the block back; this node's line under its checkpoint."""
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
        """Committed blocks, for a node whose database lags behind."""
        height = await stored_blocks.load_height(self._membership.pool) or 0
        wanted = range(max(1, first), min(height, first + count - 1) + 1)
        shown = [await stored_blocks.load_block(self._membership.pool, each) for each in wanted]
        return [each for each in shown if each is not None], height

    async def forward(self, request: ForwardedRequest) -> AsyncGenerator[bytes]:
        """What only this node can do or tell, because an instance lives here."""
        async with aclosing(self._forwarded(request)) as frames:
            async for frame in frames:
                yield frame
