"""Asks all other nodes the same at once, and gets from each an answer or the reason for none.

One node does not delay a round: who has not answered at the common deadline is `Silent`. The caller says
which nodes there are, and may change that while the client runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

import structlog

from ccn import errors
from ccn.certificates.identity import TlsIdentity
from ccn.core.chain.report import Report
from ccn.core.identity.revocation import PresentedCertificate
from ccn.core.ids import NodeId
from ccn.core.ledger import note
from ccn.core.ledger.signed import Signed
from ccn.core.rounds.ballot import Proposal, Vote
from ccn.core.rounds.refusal import Refusal
from ccn.peers import wire
from ccn.peers.exchange import CommitNotice, NodeIntroduction, ReportRequest
from ccn.peers.peer import Peer

RETIRING_S = 30.0

A = TypeVar("A")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Silent:
    """A node gave no answer, and why. `unavailable` if asking again later may help."""

    reason: str
    unavailable: bool


Answers = Mapping[NodeId, A | Silent]


@asynccontextmanager
async def open_client(own: NodeId, identity: TlsIdentity | None) -> AsyncIterator[PeerClient]:
    """Make the client of this node. Its connections end with the block."""
    client = PeerClient(own, identity)
    if identity is None:
        log.warning("nodes talk without TLS, on this machine only")
    try:
        yield client
    finally:
        await client.set_addresses({})


class PeerClient:
    """The peers that are known now, and the calls that go to all of them."""

    def __init__(self, own: NodeId, identity: TlsIdentity | None) -> None:
        self._own = own
        self._identity = identity
        self._peers: dict[NodeId, Peer] = {}
        self._changed = asyncio.Event()

    async def set_addresses(self, addresses: Mapping[NodeId, str]) -> None:
        """Make these the other nodes, and no others. Connections that still fit are kept."""
        wanted = {node: address for node, address in addresses.items() if node != self._own}
        kept = {node: peer for node, peer in self._peers.items() if wanted.get(node) == peer.address}
        new = {node: self._make_peer(node, wanted[node]) for node in wanted.keys() - kept.keys()}
        gone = [peer for node, peer in self._peers.items() if node not in kept]
        self._peers = kept | new
        self._changed.set()
        self._changed = asyncio.Event()
        await asyncio.gather(*(peer.close() for peer in gone))

    @property
    def presented(self) -> PresentedCertificate | None:
        """What the others know this node's certificate by; None without TLS."""
        if self._identity is None:
            return None
        from ccn.certificates import inspection  # noqa: PLC0415 - a large library, needed only with certificates

        return inspection.read_presented(self._identity.certificate)

    async def replace_identity(self, identity: TlsIdentity) -> None:
        """Show this to all others from now on.

        Calls that go on over the old connections have `RETIRING_S` to end.
        """
        self._identity = identity
        retiring = self._peers
        self._peers = {node: self._make_peer(node, peer.address) for node, peer in retiring.items()}
        self._changed.set()
        self._changed = asyncio.Event()
        await asyncio.gather(*(peer.close(RETIRING_S) for peer in retiring.values()))

    async def wait_for_change(self) -> None:
        """Return when the peers are others."""
        await self._changed.wait()

    @property
    def peers(self) -> tuple[Peer, ...]:
        """The peers that are known now, ordered by name."""
        return tuple(self._peers[node] for node in sorted(self._peers))

    def find_peer(self, node: NodeId) -> Peer:
        """Return one peer, to ask it alone."""
        if node not in self._peers:
            raise errors.PeerUnavailable(f"nobody knows where {node} is")
        return self._peers[node]

    async def hello(self, within_s: float) -> Answers[NodeIntroduction]:
        """Ask all who they are."""
        return await self._ask_all(lambda peer: peer.hello(within_s))

    async def report(self, request: ReportRequest, within_s: float) -> Answers[Signed[Report] | Refusal]:
        """Collect the reports of all for a round."""
        return await self._ask_all(lambda peer: peer.report(request, within_s))

    async def propose(self, proposal: Signed[Proposal], within_s: float) -> Answers[Signed[Vote] | Refusal]:
        """Collect the votes of all on a proposal."""
        data = wire.PROPOSAL.encode(proposal)
        return await self._ask_all(lambda peer: peer.propose(data, within_s))

    async def decide(self, notice: CommitNotice, within_s: float) -> Answers[note.Signature | Refusal]:
        """Collect the cosignatures of all for a committed block."""
        return await self._ask_all(lambda peer: peer.decide(notice, within_s))

    def _make_peer(self, node: NodeId, address: str) -> Peer:
        return Peer(node, address, self._own, self._identity)

    async def _ask_all(self, call: Callable[[Peer], Awaitable[A]]) -> Answers[A]:
        peers = self.peers
        answers = await asyncio.gather(*(_answer_or_silence(peer, call) for peer in peers))
        return {peer.node: answer for peer, answer in zip(peers, answers, strict=True)}


async def _answer_or_silence(peer: Peer, call: Callable[[Peer], Awaitable[A]]) -> A | Silent:
    try:
        return await call(peer)
    except (errors.PeerUnavailable, errors.PeerRefused) as failed:
        return Silent(str(failed), isinstance(failed, errors.PeerUnavailable))
