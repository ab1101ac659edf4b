"""What tests of the peer API share: a node of a few lines behind a real door, and statements to send.

The statements are whole, and signed by nobody: whether they are true is not for the wire to say.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

from ccn import errors, settings
from ccn.certificates import issuing
from ccn.certificates.identity import TlsIdentity
from ccn.certificates.issuing import IssuedCertificate
from ccn.core.axes import Vector
from ccn.core.chain import block
from ccn.core.chain.report import Report
from ccn.core.chain.roster import Roster, RosterRow
from ccn.core.chain.rules import Parameters, Rules, Validator
from ccn.core.identity.revocation import PresentedCertificate
from ccn.core.ids import CharacterId, InstanceId, NodeId
from ccn.core.ledger import note
from ccn.core.ledger.signed import Signed
from ccn.core.rounds.ballot import Proposal, Vote
from ccn.core.rounds.readback import ShownBlock
from ccn.core.rounds.refusal import Refusal
from ccn.gateway.grpc.peer import PeerServer
from ccn.peers.exchange import (
    CommitNotice,
    ForwardedRequest,
    GatewayQuestion,
    NodeIntroduction,
    ReportRequest,
)
from tests.support.core.rosters import pack_rows

ONE, TWO, THREE = NodeId("node-1"), NodeId("node-2"), NodeId("node-3")
SIGNATURE = bytes(range(64))
NOW_US = 1_800_000_000_000_000
INSTANCE = InstanceId(UUID(int=7))


def hashed(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def rules_of(*nodes: NodeId) -> Rules:
    listed = (Validator(node, hashed(node)) for node in sorted(nodes))
    return Rules(tuple(listed), Parameters("tier-1/v1"))


RULES = rules_of(ONE, TWO, THREE)
ASK = ReportRequest(ONE, 1, 3, hashed("before"))
DECISION = CommitNotice(ONE, 1, 3, hashed("block"))
COSIGNATURE = note.Signature("ccn.example/test/node-2", b"1234", bytes(8) + SIGNATURE)


def roster_of(instances: int, character: str = "ada") -> Roster:
    scores = Vector((500_000,) * 15 + (None,))
    rows = (RosterRow(InstanceId(UUID(int=number)), 1, scores, number) for number in range(instances))
    return pack_rows(CharacterId(character), rows)


def report_of(node: NodeId, instances: int = 2, leaves: int = 3) -> Signed[Report]:
    hashes = b"".join(hashed(f"{node} {number}") for number in range(leaves))
    rosters = (roster_of(instances),) if instances else ()
    said = Report(node, ASK.height, ASK.term, ASK.previous, rosters, 1, hashes, RULES.hash())
    return Signed(said, SIGNATURE)


def sealed(*reports: Signed[Report], rules: Rules = RULES) -> block.Block:
    tip = block.genesis_tip("ccn.example/test", rules)
    said = [report.statement for report in reports]
    return block.seal(tip, said, term=3, leader=ONE, time_us=NOW_US, next_rules=rules)


def proposal_of(instances: int = 2, leaves: int = 3) -> Signed[Proposal]:
    reports = tuple(report_of(node, instances, leaves) for node in (ONE, TWO, THREE))
    return Signed(Proposal(sealed(*reports).header, reports, RULES), SIGNATURE)


def vote_of(node: NodeId, proposal: Signed[Proposal]) -> Signed[Vote]:
    header = proposal.statement.header
    return Signed(Vote(node, header.height, header.term, header.hash()), SIGNATURE)


def chain(blocks: int, leaves: int = 3) -> list[ShownBlock]:
    """Blocks whose heights follow each other, as far as the wire can see."""
    made = list[ShownBlock]()
    tip = block.genesis_tip("ccn.example/test", RULES)
    for height in range(blocks):
        hashes = b"".join(hashed(f"{height} {number}") for number in range(leaves))
        said = Report(ONE, tip.height + 1, 3, tip.hash, (), tip.last_sealed(ONE) + 1, hashes, RULES.hash())
        sealed = block.seal(tip, [said], term=3, leader=ONE, time_us=NOW_US + height, next_rules=RULES)
        vote = Vote(TWO, sealed.header.height, 3, sealed.header.hash())
        made.append(ShownBlock(sealed.header, sealed.leaves, (Signed(vote, SIGNATURE),), RULES))
        tip = block.advance_tip(tip, sealed.header, tip.tree.extend(sealed.leaves), RULES)
    return made


@dataclass(slots=True)
class Node:
    """A node that answers what the test tells it to."""

    node: NodeId = TWO
    report_: Signed[Report] | Refusal = field(default_factory=lambda: report_of(TWO))
    cosignature: note.Signature | Refusal = COSIGNATURE
    shown: Sequence[ShownBlock] = ()
    frames: Sequence[bytes] = ()
    pause_s: float = 0.0
    fails: Exception | None = None
    asked: list[object] = field(default_factory=list)
    sent: int = 0
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    out: set[NodeId] = field(default_factory=set)
    """Nodes that take no part."""
    certificates: list[PresentedCertificate | None] = field(default_factory=list)
    """What was shown with each call."""

    async def admit(self, node: NodeId, shown: PresentedCertificate | None) -> None:
        self.certificates.append(shown)
        if node in self.out:
            raise errors.PeerRefused(f"{node} takes no part in this cluster: it was removed")

    async def admit_gateway(self, gateway: NodeId, shown: PresentedCertificate | None) -> None:
        await self.admit(gateway, shown)

    async def serve(self, question: GatewayQuestion) -> AsyncGenerator[bytes]:
        for frame in self.frames:
            yield frame
        await self._take(question)

    async def identify(self) -> NodeIntroduction:
        return NodeIntroduction(self.node, hashed(self.node), "0.1", 0, bytes(32))

    async def report(self, ask: ReportRequest) -> Signed[Report] | Refusal:
        await self._take(ask)
        return self.report_

    async def vote_on(self, proposed: Signed[Proposal]) -> Signed[Vote] | Refusal:
        await self._take(proposed)
        return vote_of(self.node, proposed)

    async def confirm_block(self, decision: CommitNotice) -> note.Signature | Refusal:
        await self._take(decision)
        return self.cosignature

    async def load_blocks(self, first: int, count: int) -> tuple[Sequence[ShownBlock], int]:
        await self._take((first, count))
        return self.shown[first - 1 : first - 1 + count], len(self.shown)

    async def forward(self, request: ForwardedRequest) -> AsyncGenerator[bytes]:
        try:
            for frame in self.frames:
                self.sent += 1
                yield frame
            await self._take(request)
        finally:
            self.ended.set()

    async def _take(self, asked: object) -> None:
        self.asked.append(asked)
        await asyncio.sleep(self.pause_s)
        if self.fails is not None:
            raise self.fails


@asynccontextmanager
async def served(
    node: Node, shown: TlsIdentity | None = None, port: int = 0, look_s: float = 2.0
) -> AsyncIterator[str]:
    """The address at which the node answers while the block runs."""
    async with serving(PeerServer(node, shown, recheck_s=look_s), port) as address:
        yield address


@asynccontextmanager
async def serving(door: PeerServer, port: int = 0) -> AsyncIterator[str]:
    """The address of a door while the block runs."""
    stop = asyncio.Event()
    address = f"127.0.0.1:{door.listen(settings.PeersSettings(port=port))}"
    running = asyncio.create_task(door.serve(stop, 0.2))
    try:
        yield address
    finally:
        stop.set()
        await asyncio.wait_for(running, 30)


def identity_of(
    authority: IssuedCertificate, node: NodeId, now: datetime | None = None, days: int = 1
) -> TlsIdentity:
    issued = issuing.issue_certificate(authority, node, (), now or datetime.now(UTC), days)
    return TlsIdentity(authority.certificate, issued.certificate, issued.key)
