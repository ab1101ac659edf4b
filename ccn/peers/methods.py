"""The calls of the peer API as both ends know them: the path, what goes in, what comes out.

Messages pass gRPC as bytes, and `wire` reads them. So a proposal for many peers is encoded once, its size
is known before it is read, and bytes that are no message are refused with a reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from ccn.core.chain.report import Report
from ccn.core.ledger import note
from ccn.core.ledger.signed import Signed
from ccn.core.rounds.ballot import Proposal, Vote
from ccn.core.rounds.refusal import Refusal
from ccn.pb import peer_pb2 as pb
from ccn.peers import wire
from ccn.peers.exchange import (
    BlockPage,
    BlocksRequest,
    CommitNotice,
    ForwardedRequest,
    GatewayQuestion,
    Greeting,
    NodeIntroduction,
    ReportRequest,
)

Q = TypeVar("Q")
A = TypeVar("A")

SERVICE: str = pb.DESCRIPTOR.services_by_name["Peer"].full_name


@dataclass(frozen=True, slots=True)
class PeerMethod(Generic[Q, A]):
    """One call. `at_once` is how many of them one peer may have under way at a node.

    Only a node may make it, or, if it is `by_gateways`, only a gateway.
    """

    name: str
    asked: wire.WireFormat[Q]
    answered: wire.WireFormat[A]
    at_once: int
    streams: bool = False
    by_gateways: bool = False

    @property
    def path(self) -> str:
        """The path as gRPC spells it."""
        return f"/{SERVICE}/{self.name}"


HELLO: PeerMethod[Greeting, NodeIntroduction] = PeerMethod("Hello", wire.HELLO, wire.WHO, 4)
STAY: PeerMethod[Greeting, NodeIntroduction] = PeerMethod("Stay", wire.HELLO, wire.WHO, 4, streams=True)
REPORT: PeerMethod[ReportRequest, Signed[Report] | Refusal] = PeerMethod("Report", wire.ASK, wire.REPORT, 2)
PROPOSE: PeerMethod[Signed[Proposal], Signed[Vote] | Refusal] = PeerMethod(
    "Propose", wire.PROPOSAL, wire.VOTE, 2
)
DECIDE: PeerMethod[CommitNotice, note.Signature | Refusal] = PeerMethod(
    "Decide", wire.DECISION, wire.COSIGNATURE, 2
)
BLOCKS: PeerMethod[BlocksRequest, BlockPage] = PeerMethod("Blocks", wire.MISSING, wire.PAGE, 2)
FORWARD: PeerMethod[ForwardedRequest, bytes] = PeerMethod(
    "Forward", wire.FORWARDED, wire.FRAME, 256, streams=True
)

SERVE: PeerMethod[GatewayQuestion, bytes] = PeerMethod(
    "Serve", wire.GATEWAY_QUESTION, wire.ANSWER, 2_048, streams=True, by_gateways=True
)

_ALL = (HELLO, STAY, REPORT, PROPOSE, DECIDE, BLOCKS, FORWARD, SERVE)
ASKED_LIMIT = max(method.asked.limit for method in _ALL)
ANSWERED_LIMIT = max(method.answered.limit for method in _ALL)
