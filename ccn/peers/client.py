"""All other nodes at once: ask each of them the same, and get from each an answer or the reason for none.

A round is not held up by one node: whoever has not answered at the common deadline is `Silent`. Which nodes
there are comes from outside, and may change while the client runs.
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
    """No answer, and why; `unavailable` if asking again later may help."""

    reason: str
    unavailable: bool


Answers = Mapping[NodeId, A | Silent]


@asynccontextmanager
async def open_client(own: NodeId, shown: TlsIdentity | None) -> AsyncIterator[PeerClient]:
    """The client of this node; its connections end with the block."""
    client = PeerClient(own, shown)
    if shown is None:
        log.warning("nodes talk without TLS, on this machine only")
    try:
        yield client
    finally:
        await client.set_addresses({})


class PeerClient:
    """The peers that are known now."""

    def __init__(self, own: NodeId, shown: TlsIdentity | None) -> None:
        self._own = own
        self._shown = shown
        self._peers: dict[NodeId, Peer] = {}
        self._changed = asyncio.Event()

    async def set_addresses(self, addresses: Mapping[NodeId, str]) -> None:
        """These are the other nodes, and nobody else; connections that still fit are kept."""
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
        """The certificate that the others see; None without TLS."""
        if self._shown is None:
            return None
        from ccn.certificates import inspection  # noqa: PLC0415 - a large library, needed only with certificates

        return inspection.read_presented(self._shown.certificate)

    async def replace_identity(self, shown: TlsIdentity) -> None:
        """Meet all others with this from now on; calls that go on with the old one have a while to end."""
        self._shown = shown
        before = self._peers
        self._peers = {node: self._make_peer(node, peer.address) for node, peer in before.items()}
        self._changed.set()
        self._changed = asyncio.Event()
        await asyncio.gather(*(peer.close(RETIRING_S) for peer in before.values()))

    async def wait_for_change(self) -> None:
        """Return when the peers are others."""
        await self._changed.wait()

    @property
    def peers(self) -> tuple[Peer, ...]:
        """Those that are known now, by name."""
        return tuple(self._peers[node] for node in sorted(self._peers))

    def find_peer(self, node: NodeId) -> Peer:
        """One of them, to ask it alone."""
        if node not in self._peers:
            raise errors.PeerUnavailable(f"nobody knows where {node} is")
        return self._peers[node]

    async def hello(self, within_s: float) -> Answers[NodeIntroduction]:
        """Who is there."""
        return await self._ask_all(lambda peer: peer.hello(within_s))

    async def report(self, ask: ReportRequest, within_s: float) -> Answers[Signed[Report] | Refusal]:
        """Everybody's part of a round."""
        return await self._ask_all(lambda peer: peer.report(ask, within_s))

    async def propose(self, proposal: Signed[Proposal], within_s: float) -> Answers[Signed[Vote] | Refusal]:
        """Everybody's vote."""
        data = wire.PROPOSAL.encode(proposal)
        return await self._ask_all(lambda peer: peer.propose(data, within_s))

    async def decide(self, decision: CommitNotice, within_s: float) -> Answers[note.Signature | Refusal]:
        """Everybody's cosignature."""
        return await self._ask_all(lambda peer: peer.decide(decision, within_s))

    def _make_peer(self, node: NodeId, address: str) -> Peer:
        return Peer(node, address, self._own, self._shown)

    async def _ask_all(self, call: Callable[[Peer], Awaitable[A]]) -> Answers[A]:
        peers = self.peers
        answers = await asyncio.gather(*(_answer_or_silence(peer, call) for peer in peers))
        return {peer.node: answer for peer, answer in zip(peers, answers, strict=True)}


async def _answer_or_silence(peer: Peer, call: Callable[[Peer], Awaitable[A]]) -> A | Silent:
    try:
        return await call(peer)
    except (errors.PeerUnavailable, errors.PeerRefused) as failed:
        return Silent(str(failed), isinstance(failed, errors.PeerUnavailable))
