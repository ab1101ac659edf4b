"""The parts of messages, between generated types and values of core, strictly in the way back.

Separate from `wire`, which knows whole messages and their limits. What was read is whole; whether it is
true, and signed by the one it names, is for core to say. All that reading raises is `InputInvalid`.
"""

from __future__ import annotations

from itertools import pairwise
from uuid import UUID

from ccn import errors
from ccn.core import ids
from ccn.core.chain import header
from ccn.core.chain import rules as rules_
from ccn.core.chain.report import Report
from ccn.core.chain.roster import Roster
from ccn.core.chain.rules import Rules
from ccn.core.ids import CharacterId, InstanceId, NodeId
from ccn.core.ledger import commitment, merkle, note
from ccn.core.ledger.signed import Signed
from ccn.core.rounds.ballot import Proposal, Vote
from ccn.core.rounds.readback import ShownBlock
from ccn.core.rounds.refusal import Reason, Refusal
from ccn.pb import peer_pb2 as pb
from ccn.peers import limits
from ccn.peers.exchange import BlockPage, CommitNotice, ForwardedRequest, NodeIntroduction, ReportRequest


def introduction_to_pb(value: NodeIntroduction) -> pb.HelloAnswer:
    """A node introduces itself."""
    return pb.HelloAnswer(
        node=value.node, key=value.key, version=value.version, height=value.height, block=value.block
    )


def introduction_from_pb(found: pb.HelloAnswer) -> NodeIntroduction:
    """A node, with a version that may stand in a log."""
    if not 0 < len(found.version) <= limits.VERSION or not found.version.isprintable():
        raise errors.InputInvalid("a node's version is a short text")
    return NodeIntroduction(
        check_node(found.node),
        check_digest(found.key),
        found.version,
        check_number(found.height),
        check_digest(found.block),
    )


def report_request_to_pb(value: ReportRequest) -> pb.ReportRequest:
    """The opening of a round."""
    return pb.ReportRequest(node=value.node, height=value.height, term=value.term, previous=value.previous)


def report_request_from_pb(found: pb.ReportRequest) -> ReportRequest:
    """A round that somebody opens."""
    return ReportRequest(
        check_node(found.node),
        check_height(found.height),
        check_number(found.term),
        check_digest(found.previous),
    )


def notice_to_pb(value: CommitNotice) -> pb.DecideRequest:
    """A committed block by its name."""
    return pb.DecideRequest(node=value.node, height=value.height, term=value.term, block=value.block)


def notice_from_pb(found: pb.DecideRequest) -> CommitNotice:
    """A block that somebody says was committed."""
    return CommitNotice(
        check_node(found.node),
        check_height(found.height),
        check_number(found.term),
        check_digest(found.block),
    )


def report_to_pb(value: Signed[Report]) -> pb.Report:
    """Rosters and leaves as the bytes they are."""
    said = value.statement
    return pb.Report(
        node=said.node,
        height=said.height,
        term=said.term,
        previous=said.previous,
        rosters=[
            pb.Roster(character=each.character, packed=each.packed, owners=each.owners)
            for each in said.rosters
        ],
        first=said.first,
        leaves=said.leaves,
        wants=said.wants,
        signature=value.signature,
    )


def report_from_pb(found: pb.Report) -> Signed[Report]:
    """A whole report; core refuses what is out of order."""
    said = Report(
        node=check_node(found.node),
        height=check_height(found.height),
        term=check_number(found.term),
        previous=check_digest(found.previous),
        rosters=tuple(
            Roster(CharacterId(each.character), each.packed, each.owners) for each in found.rosters
        ),
        first=check_number(found.first),
        leaves=found.leaves,
        wants=check_digest(found.wants),
    )
    return Signed(said, check_signature(found.signature))


def proposal_to_pb(value: Signed[Proposal]) -> pb.Proposal:
    """The header in its canonical form, with all that makes it."""
    said = value.statement
    return pb.Proposal(
        header=said.header.body(),
        reports=map(report_to_pb, said.reports),
        next_rules=rules_to_pb(said.next_rules),
        signature=value.signature,
    )


def proposal_from_pb(found: pb.Proposal) -> Signed[Proposal]:
    """A header that is written the one way it can be, and what comes with it."""
    said = Proposal(
        header.parse_header(found.header),
        tuple(map(report_from_pb, found.reports)),
        rules_from_pb(found.next_rules),
    )
    return Signed(said, check_signature(found.signature))


def vote_to_pb(value: Signed[Vote]) -> pb.Vote:
    """A vote with its signature."""
    said = value.statement
    return pb.Vote(
        node=said.node, height=said.height, term=said.term, block=said.block, signature=value.signature
    )


def vote_from_pb(found: pb.Vote) -> Signed[Vote]:
    """A vote for some block."""
    said = Vote(
        check_node(found.node),
        check_height(found.height),
        check_number(found.term),
        check_digest(found.block),
    )
    return Signed(said, check_signature(found.signature))


def rules_to_pb(value: Rules) -> pb.Rules:
    """Both bodies, as the record keeps them."""
    return pb.Rules(validators=value.validators_body(), parameters=value.parameters_body())


def rules_from_pb(found: pb.Rules) -> Rules:
    """Rules in their canonical form."""
    return rules_.parse_rules(found.validators, found.parameters)


def block_to_pb(value: ShownBlock) -> pb.Block:
    """A committed block, its leaves in a row."""
    return pb.Block(
        header=value.header.body(),
        votes=map(vote_to_pb, value.votes),
        next_rules=rules_to_pb(value.next_rules),
        leaves=b"".join(value.leaves),
    )


def block_from_pb(found: pb.Block) -> ShownBlock:
    """A block with exactly the leaves that its header counts."""
    read = header.parse_header(found.header)
    leaves = merkle.split_hashes(found.leaves)
    if len(leaves) != read.count:
        raise errors.InputInvalid(f"block {read.height} comes with {len(leaves)} leaves, not {read.count}")
    return ShownBlock(read, leaves, tuple(map(vote_from_pb, found.votes)), rules_from_pb(found.next_rules))


def page_to_pb(value: BlockPage) -> pb.BlocksAnswer:
    """Blocks in a row."""
    return pb.BlocksAnswer(blocks=map(block_to_pb, value.blocks), height=value.height)


def page_from_pb(found: pb.BlocksAnswer) -> BlockPage:
    """Blocks that follow each other, by their heights at least."""
    if len(found.blocks) > limits.PAGE_BLOCKS:
        raise errors.InputInvalid(f"a page of {len(found.blocks)} blocks")
    blocks = tuple(map(block_from_pb, found.blocks))
    if any(after.header.height != before.header.height + 1 for before, after in pairwise(blocks)):
        raise errors.InputInvalid("the blocks of a page do not follow each other")
    return BlockPage(blocks, check_number(found.height))


def refusal_to_pb(value: Refusal) -> pb.Refusal:
    """A fixed word and a sentence, which is cut where it is too long."""
    return pb.Refusal(reason=value.reason, detail=value.detail[: limits.DETAIL])


def refusal_from_pb(found: pb.Refusal) -> Refusal:
    """A reason that is known here."""
    if len(found.detail) > limits.DETAIL:
        raise errors.InputInvalid("the detail of a refusal is too long")
    try:
        return Refusal(Reason(found.reason), found.detail)
    except ValueError:
        raise errors.InputInvalid(f"{found.reason[:80]!r} is no reason to refuse") from None


def cosignature_to_pb(value: note.Signature) -> pb.Cosignature:
    """One line below a note."""
    return pb.Cosignature(name=value.name, key_id=value.key_id, data=value.data)


def cosignature_from_pb(found: pb.Cosignature) -> note.Signature:
    """A line that could stand below a note."""
    line = note.Signature(found.name, found.key_id, found.data)
    if len(line.key_id) != 4 or len(line.data) != limits.COSIGNATURE_DATA:
        raise errors.InputInvalid("a cosignature is the id of a key, eight bytes of time and a signature")
    if len(line.name) > limits.NOTE_NAME:
        raise errors.InputInvalid("the name of a key is too long")
    note.parse_note(note.Note("\n", (line,)).to_bytes())  # a name that could not stand on a line is refused
    return line


def forwarded_to_pb(value: ForwardedRequest) -> pb.ForwardRequest:
    """A request of a client, unread."""
    return pb.ForwardRequest(
        node=value.node, instance=value.instance.bytes, method=value.method, body=value.body
    )


def forwarded_from_pb(found: pb.ForwardRequest) -> ForwardedRequest:
    """A request for some instance."""
    if len(found.instance) != 16:
        raise errors.InputInvalid("the id of an instance has 16 bytes")
    if not 0 < len(found.method) <= limits.METHOD or not found.method.isidentifier():
        raise errors.InputInvalid("a forwarded method has a name")
    instance = InstanceId(UUID(bytes=found.instance))
    return ForwardedRequest(check_node(found.node), instance, found.method, check_frame(found.body))


def check_node(text: str) -> NodeId:
    """The name of a node."""
    return NodeId(ids.check_name(text, "node"))


def check_number(value: int) -> int:
    """A number that can be signed."""
    if value > commitment.INTEGER_LIMIT:
        raise errors.InputInvalid(f"{value} is more than can be signed")
    return value


def check_height(value: int) -> int:
    """The height of a block."""
    if not value:
        raise errors.InputInvalid("the first block has height 1")
    return check_number(value)


def check_digest(data: bytes) -> bytes:
    """A hash or a key."""
    if len(data) != merkle.HASH_BYTES:
        raise errors.InputInvalid(f"{len(data)} bytes are not a hash or key of {merkle.HASH_BYTES}")
    return data


def check_signature(data: bytes) -> bytes:
    """What may be an Ed25519 signature."""
    if len(data) != limits.SIGNATURE:
        raise errors.InputInvalid(f"{len(data)} bytes are not a signature")
    return data


def check_frame(data: bytes) -> bytes:
    """Bytes that are one frame at most."""
    if len(data) > limits.FRAME:
        raise errors.InputInvalid(f"{len(data)} bytes are more than one frame")
    return data
