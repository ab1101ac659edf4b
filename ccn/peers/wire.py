"""Whole messages between nodes: bytes on the wire are one value within its limits, or are refused.

Generated types stop here and in `parts`. Whoever sent the bytes, decoding raises only `InputInvalid`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # ships no types

from ccn import errors
from ccn.core.chain.report import Report
from ccn.core.ledger import note
from ccn.core.ledger.signed import Signed
from ccn.core.rounds.ballot import Proposal, Vote
from ccn.core.rounds.readback import ShownBlock
from ccn.core.rounds.refusal import Refusal
from ccn.pb import peer_pb2 as pb
from ccn.peers import limits, parts
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

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class WireFormat(Generic[T]):
    """One kind of message: its name, its limit, and the conversion in both directions."""

    name: str
    limit: int
    message: Any
    write: Callable[[T], Any]
    read: Callable[[Any], T]

    def encode(self, value: T) -> bytes:
        """Write a value as bytes. Refuse one here that no node would read."""
        data: bytes = self.write(value).SerializeToString()
        self._check_size(len(data))
        return data

    def decode(self, data: bytes) -> T:
        """Read a value from bytes of unknown origin."""
        self._check_size(len(data))
        try:
            message = self.message.FromString(data)
        except DecodeError:
            raise errors.InputInvalid(f"{len(data)} bytes are not a {self.name}") from None
        return self.read(message)

    def _check_size(self, size: int) -> None:
        if size > self.limit:
            raise errors.InputInvalid(f"a {self.name} of {size} bytes is over the limit of {self.limit}")


def fill_page(blocks: tuple[ShownBlock, ...], height: int) -> BlockPage:
    """Put as many of the blocks on a page as fit, but one at least: catching up must always get on."""
    room, taken = limits.PAGE - limits.BLOCK, 0
    for block in blocks[: limits.PAGE_BLOCKS]:
        if room < 0:
            break
        room -= parts.block_to_pb(block).ByteSize() + 8
        taken += 1
    return BlockPage(blocks[:taken], height)


def _answer_or_refusal(
    message: Any, field: str, write: Callable[[T], Any], read: Callable[[Any], T]
) -> tuple[Callable[[T | Refusal], Any], Callable[[Any], T | Refusal]]:
    """Make both conversions of an answer that is what was asked for, or a refusal."""

    def answer_to_pb(value: T | Refusal) -> Any:
        if isinstance(value, Refusal):
            return message(refusal=parts.refusal_to_pb(value))
        return message(**{field: write(value)})

    def answer_from_pb(answer: Any) -> T | Refusal:
        match answer.WhichOneof("answer"):
            case "refusal":
                return parts.refusal_from_pb(answer.refusal)
            case str(given) if given == field:
                return read(getattr(answer, field))
        raise errors.InputInvalid("an answer without content")

    return answer_to_pb, answer_from_pb


HELLO: WireFormat[Greeting] = WireFormat(
    "greeting",
    limits.HELLO,
    pb.HelloRequest,
    lambda value: pb.HelloRequest(node=value.node),
    lambda message: Greeting(parts.check_node(message.node)),
)
WHO: WireFormat[NodeIntroduction] = WireFormat(
    "introduction", limits.WHO, pb.HelloAnswer, parts.introduction_to_pb, parts.introduction_from_pb
)
ASK: WireFormat[ReportRequest] = WireFormat(
    "request for a report",
    limits.ASK,
    pb.ReportRequest,
    parts.report_request_to_pb,
    parts.report_request_from_pb,
)
REPORT: WireFormat[Signed[Report] | Refusal] = WireFormat(
    "report",
    limits.REPORT,
    pb.ReportAnswer,
    *_answer_or_refusal(pb.ReportAnswer, "report", parts.report_to_pb, parts.report_from_pb),
)
PROPOSAL: WireFormat[Signed[Proposal]] = WireFormat(
    "proposal", limits.PROPOSAL, pb.Proposal, parts.proposal_to_pb, parts.proposal_from_pb
)
VOTE: WireFormat[Signed[Vote] | Refusal] = WireFormat(
    "vote",
    limits.VOTE + limits.REFUSAL,
    pb.ProposeAnswer,
    *_answer_or_refusal(pb.ProposeAnswer, "vote", parts.vote_to_pb, parts.vote_from_pb),
)
DECISION: WireFormat[CommitNotice] = WireFormat(
    "decision", limits.DECISION, pb.DecideRequest, parts.notice_to_pb, parts.notice_from_pb
)
COSIGNATURE: WireFormat[note.Signature | Refusal] = WireFormat(
    "cosignature",
    limits.COSIGNATURE + limits.REFUSAL,
    pb.DecideAnswer,
    *_answer_or_refusal(pb.DecideAnswer, "cosignature", parts.cosignature_to_pb, parts.cosignature_from_pb),
)
MISSING: WireFormat[BlocksRequest] = WireFormat(
    "request for blocks",
    limits.MISSING,
    pb.BlocksRequest,
    lambda value: pb.BlocksRequest(node=value.node, first=value.first),
    lambda message: BlocksRequest(parts.check_node(message.node), parts.check_height(message.first)),
)
PAGE: WireFormat[BlockPage] = WireFormat(
    "page of blocks", limits.PAGE, pb.BlocksAnswer, parts.page_to_pb, parts.page_from_pb
)
FORWARDED: WireFormat[ForwardedRequest] = WireFormat(
    "forwarded request", limits.FORWARDED, pb.ForwardRequest, parts.forwarded_to_pb, parts.forwarded_from_pb
)
FRAME: WireFormat[bytes] = WireFormat(
    "frame",
    limits.FRAME + 4,  # a tag of one byte and a length of three
    pb.Frame,
    lambda value: pb.Frame(body=value),
    lambda message: parts.check_frame(message.body),
)
GATEWAY_QUESTION: WireFormat[GatewayQuestion] = WireFormat(
    "question of a gateway",
    limits.GATEWAY_QUESTION,
    pb.GatewayQuestion,
    parts.question_to_pb,
    parts.question_from_pb,
)
ANSWER: WireFormat[bytes] = WireFormat(
    "part of an answer",
    limits.ANSWER + 8,
    pb.Frame,
    lambda value: pb.Frame(body=value),
    lambda message: message.body,
)
