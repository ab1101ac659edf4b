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
from ccn.core.rounds.readback import Shown
from ccn.core.rounds.refusal import Refusal
from ccn.pb import peer_pb2 as pb
from ccn.peers import limits, parts
from ccn.peers.exchange import Ask, Decision, Forwarded, Hello, Missing, Page, Who

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """One kind of message: its name, its limit, and the way there and back."""

    name: str
    limit: int
    message: Any
    write: Callable[[T], Any]
    read: Callable[[Any], T]

    def encode(self, value: T) -> bytes:
        """The bytes of a value; one that nobody would read is refused here already."""
        data: bytes = self.write(value).SerializeToString()
        self._fits(len(data))
        return data

    def decode(self, data: bytes) -> T:
        """The value of bytes that come from anywhere."""
        self._fits(len(data))
        try:
            found = self.message.FromString(data)
        except DecodeError:
            raise errors.InputInvalid(f"{len(data)} bytes are not a {self.name}") from None
        return self.read(found)

    def _fits(self, size: int) -> None:
        if size > self.limit:
            raise errors.InputInvalid(f"a {self.name} of {size} bytes is over the limit of {self.limit}")


def page(blocks: tuple[Shown, ...], height: int) -> Page:
    """As many of the blocks as fit on a page, but one at least, so that catching up always gets on."""
    room, taken = limits.PAGE - limits.BLOCK, 0
    for shown in blocks[: limits.PAGE_BLOCKS]:
        if room < 0:
            break
        room -= parts.block(shown).ByteSize() + 8
        taken += 1
    return Page(blocks[:taken], height)


def _or_refusal(
    message: Any, field: str, write: Callable[[T], Any], read: Callable[[Any], T]
) -> tuple[Callable[[T | Refusal], Any], Callable[[Any], T | Refusal]]:
    """Both ways of an answer that is what was asked for, or the reason why not."""

    def written(value: T | Refusal) -> Any:
        if isinstance(value, Refusal):
            return message(refusal=parts.refusal(value))
        return message(**{field: write(value)})

    def reading(found: Any) -> T | Refusal:
        match found.WhichOneof("answer"):
            case "refusal":
                return parts.read_refusal(found.refusal)
            case str(given) if given == field:
                return read(getattr(found, field))
        raise errors.InputInvalid("an answer without content")

    return written, reading


HELLO: Kind[Hello] = Kind(
    "greeting",
    limits.HELLO,
    pb.HelloRequest,
    lambda value: pb.HelloRequest(node=value.node),
    lambda found: Hello(parts.node(found.node)),
)
WHO: Kind[Who] = Kind("introduction", limits.WHO, pb.HelloAnswer, parts.who, parts.read_who)
ASK: Kind[Ask] = Kind("request for a report", limits.ASK, pb.ReportRequest, parts.ask, parts.read_ask)
REPORT: Kind[Signed[Report] | Refusal] = Kind(
    "report",
    limits.REPORT,
    pb.ReportAnswer,
    *_or_refusal(pb.ReportAnswer, "report", parts.report, parts.read_report),
)
PROPOSAL: Kind[Signed[Proposal]] = Kind(
    "proposal", limits.PROPOSAL, pb.Proposal, parts.proposal, parts.read_proposal
)
VOTE: Kind[Signed[Vote] | Refusal] = Kind(
    "vote",
    limits.VOTE + limits.REFUSAL,
    pb.ProposeAnswer,
    *_or_refusal(pb.ProposeAnswer, "vote", parts.vote, parts.read_vote),
)
DECISION: Kind[Decision] = Kind(
    "decision", limits.DECISION, pb.DecideRequest, parts.decision, parts.read_decision
)
COSIGNATURE: Kind[note.Signature | Refusal] = Kind(
    "cosignature",
    limits.COSIGNATURE + limits.REFUSAL,
    pb.DecideAnswer,
    *_or_refusal(pb.DecideAnswer, "cosignature", parts.cosignature, parts.read_cosignature),
)
MISSING: Kind[Missing] = Kind(
    "request for blocks",
    limits.MISSING,
    pb.BlocksRequest,
    lambda value: pb.BlocksRequest(node=value.node, first=value.first),
    lambda found: Missing(parts.node(found.node), parts.height(found.first)),
)
PAGE: Kind[Page] = Kind("page of blocks", limits.PAGE, pb.BlocksAnswer, parts.pages, parts.read_pages)
FORWARDED: Kind[Forwarded] = Kind(
    "forwarded request", limits.FORWARDED, pb.ForwardRequest, parts.forwarded, parts.read_forwarded
)
FRAME: Kind[bytes] = Kind(
    "frame",
    limits.FRAME + 4,  # a tag of one byte and a length of three
    pb.Frame,
    lambda value: pb.Frame(body=value),
    lambda found: parts.frame(found.body),
)
