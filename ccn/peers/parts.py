"""The parts of messages: converts between generated types and values of core, and reads strictly.

Separate from `wire`, which knows whole messages and their limits. What was read is whole. Core decides
whether it is true, and signed by the node it names. Reading raises nothing but `InputInvalid`.
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
from ccn.core.rounds.database_timeline import DatabaseTimeline
from ccn.core.rounds.readback import ShownBlock
from ccn.core.rounds.refusal import Reason, Refusal
from ccn.pb import peer_pb2 as pb
from ccn.peers import limits
from ccn.peers.exchange import (
    BlockPage,
    CommitNotice,
    ForwardedRequest,
    GatewayQuestion,
    NodeIntroduction,
    ReportRequest,
)


def introduction_to_pb(value: NodeIntroduction) -> pb.HelloAnswer:
    """Write how a node introduces itself."""
    return pb.HelloAnswer(
        node=value.node,
        key=value.key,
        version=value.version,
        height=value.height,
        block=value.block,
        timeline=_timeline_to_pb(value.timeline),
    )


def introduction_from_pb(message: pb.HelloAnswer) -> NodeIntroduction:
    """Read an introduction. Its version must be fit for a log."""
    if not 0 < len(message.version) <= limits.VERSION or not message.version.isprintable():
        raise errors.InputInvalid("a node's version is a short text")
    return NodeIntroduction(
        check_node(message.node),
        check_digest(message.key),
        message.version,
        check_number(message.height),
        check_digest(message.block),
        _timeline_from_pb(message.timeline) if message.HasField("timeline") else None,
    )


def report_request_to_pb(value: ReportRequest) -> pb.ReportRequest:
    """Write the opening of a round."""
    return pb.ReportRequest(
        node=value.node,
        height=value.height,
        term=value.term,
        previous=value.previous,
        timeline=_timeline_to_pb(value.timeline),
    )


def report_request_from_pb(message: pb.ReportRequest) -> ReportRequest:
    """Read the opening of a round."""
    return ReportRequest(
        check_node(message.node),
        check_height(message.height),
        check_number(message.term),
        check_digest(message.previous),
        _timeline_from_pb(message.timeline) if message.HasField("timeline") else None,
    )


def _timeline_to_pb(value: DatabaseTimeline | None) -> pb.DatabaseTimeline | None:
    return None if value is None else pb.DatabaseTimeline(system=value.system, number=value.timeline)


def _timeline_from_pb(message: pb.DatabaseTimeline) -> DatabaseTimeline:
    return DatabaseTimeline(message.system, message.number)


def notice_to_pb(value: CommitNotice) -> pb.DecideRequest:
    """Write which block was committed."""
    return pb.DecideRequest(node=value.node, height=value.height, term=value.term, block=value.block)


def notice_from_pb(message: pb.DecideRequest) -> CommitNotice:
    """Read which block somebody says was committed."""
    return CommitNotice(
        check_node(message.node),
        check_height(message.height),
        check_number(message.term),
        check_digest(message.block),
    )


def report_to_pb(value: Signed[Report]) -> pb.Report:
    """Write a report, with rosters and leaves as the bytes they are."""
    report = value.statement
    return pb.Report(
        node=report.node,
        height=report.height,
        term=report.term,
        previous=report.previous,
        rosters=[
            pb.Roster(character=roster.character, packed=roster.packed, owners=roster.owners)
            for roster in report.rosters
        ],
        first=report.first,
        leaves=report.leaves,
        wants=report.wants,
        signature=value.signature,
    )


def report_from_pb(message: pb.Report) -> Signed[Report]:
    """Read a whole report. Core refuses what is out of order in it."""
    report = Report(
        node=check_node(message.node),
        height=check_height(message.height),
        term=check_number(message.term),
        previous=check_digest(message.previous),
        rosters=tuple(
            Roster(CharacterId(roster.character), roster.packed, roster.owners)
            for roster in message.rosters
        ),
        first=check_number(message.first),
        leaves=message.leaves,
        wants=check_digest(message.wants),
    )
    return Signed(report, check_signature(message.signature))


def proposal_to_pb(value: Signed[Proposal]) -> pb.Proposal:
    """Write the header in its canonical form, with all that makes it."""
    proposal = value.statement
    return pb.Proposal(
        header=proposal.header.body(),
        reports=map(report_to_pb, proposal.reports),
        next_rules=rules_to_pb(proposal.next_rules),
        signature=value.signature,
    )


def proposal_from_pb(message: pb.Proposal) -> Signed[Proposal]:
    """Read a header in its only canonical form, and what comes with it."""
    proposal = Proposal(
        header.parse_header(message.header),
        tuple(map(report_from_pb, message.reports)),
        rules_from_pb(message.next_rules),
    )
    return Signed(proposal, check_signature(message.signature))


def vote_to_pb(value: Signed[Vote]) -> pb.Vote:
    """Write a vote with its signature."""
    vote = value.statement
    return pb.Vote(
        node=vote.node, height=vote.height, term=vote.term, block=vote.block, signature=value.signature
    )


def vote_from_pb(message: pb.Vote) -> Signed[Vote]:
    """Read a vote for some block."""
    vote = Vote(
        check_node(message.node),
        check_height(message.height),
        check_number(message.term),
        check_digest(message.block),
    )
    return Signed(vote, check_signature(message.signature))


def rules_to_pb(value: Rules) -> pb.Rules:
    """Write both bodies as the record keeps them."""
    return pb.Rules(validators=value.validators_body(), parameters=value.parameters_body())


def rules_from_pb(message: pb.Rules) -> Rules:
    """Read rules in their canonical form."""
    return rules_.parse_rules(message.validators, message.parameters)


def block_to_pb(value: ShownBlock) -> pb.Block:
    """Write a committed block with its leaves in a row."""
    return pb.Block(
        header=value.header.body(),
        votes=map(vote_to_pb, value.votes),
        next_rules=rules_to_pb(value.next_rules),
        leaves=b"".join(value.leaves),
    )


def block_from_pb(message: pb.Block) -> ShownBlock:
    """Read a block with exactly the leaves that its header counts."""
    head = header.parse_header(message.header)
    leaves = merkle.split_hashes(message.leaves)
    if len(leaves) != head.count:
        raise errors.InputInvalid(f"block {head.height} comes with {len(leaves)} leaves, not {head.count}")
    return ShownBlock(
        head, leaves, tuple(map(vote_from_pb, message.votes)), rules_from_pb(message.next_rules)
    )


def page_to_pb(value: BlockPage) -> pb.BlocksAnswer:
    """Write blocks in a row."""
    return pb.BlocksAnswer(blocks=map(block_to_pb, value.blocks), height=value.height)


def page_from_pb(message: pb.BlocksAnswer) -> BlockPage:
    """Read blocks that follow each other, by their heights at least."""
    if len(message.blocks) > limits.PAGE_BLOCKS:
        raise errors.InputInvalid(f"a page of {len(message.blocks)} blocks")
    blocks = tuple(map(block_from_pb, message.blocks))
    if any(after.header.height != before.header.height + 1 for before, after in pairwise(blocks)):
        raise errors.InputInvalid("the blocks of a page do not follow each other")
    return BlockPage(blocks, check_number(message.height))


def refusal_to_pb(value: Refusal) -> pb.Refusal:
    """Write a fixed word and a sentence, and cut the sentence where it is too long."""
    return pb.Refusal(reason=value.reason, detail=value.detail[: limits.DETAIL])


def refusal_from_pb(message: pb.Refusal) -> Refusal:
    """Read a refusal with a reason that is known here."""
    if len(message.detail) > limits.DETAIL:
        raise errors.InputInvalid("the detail of a refusal is too long")
    try:
        return Refusal(Reason(message.reason), message.detail)
    except ValueError:
        raise errors.InputInvalid(f"{message.reason[:80]!r} is no reason to refuse") from None


def cosignature_to_pb(value: note.Signature) -> pb.Cosignature:
    """Write one line below a note."""
    return pb.Cosignature(name=value.name, key_id=value.key_id, data=value.data)


def cosignature_from_pb(message: pb.Cosignature) -> note.Signature:
    """Read a line that could stand below a note."""
    line = note.Signature(message.name, message.key_id, message.data)
    if len(line.key_id) != 4 or len(line.data) != limits.COSIGNATURE_DATA:
        raise errors.InputInvalid("a cosignature is the id of a key, eight bytes of time and a signature")
    if len(line.name) > limits.NOTE_NAME:
        raise errors.InputInvalid("the name of a key is too long")
    note.parse_note(note.Note("\n", (line,)).to_bytes())  # a name that could not stand on a line is refused
    return line


def forwarded_to_pb(value: ForwardedRequest) -> pb.ForwardRequest:
    """Write a client's request, unread."""
    return pb.ForwardRequest(
        node=value.node, instance=value.instance.bytes, method=value.method, body=value.body
    )


def forwarded_from_pb(message: pb.ForwardRequest) -> ForwardedRequest:
    """Read a client's request for some instance."""
    if len(message.instance) != 16:
        raise errors.InputInvalid("the id of an instance has 16 bytes")
    if not 0 < len(message.method) <= limits.METHOD or not message.method.isidentifier():
        raise errors.InputInvalid("a forwarded method has a name")
    instance = InstanceId(UUID(bytes=message.instance))
    return ForwardedRequest(check_node(message.node), instance, message.method, check_frame(message.body))


def question_to_pb(value: GatewayQuestion) -> pb.GatewayQuestion:
    """Write what a gateway asks."""
    return pb.GatewayQuestion(
        gateway=value.node,
        method=value.method,
        credential=value.credential,
        reason=value.reason,
        body=value.body,
    )


def question_from_pb(message: pb.GatewayQuestion) -> GatewayQuestion:
    """Read what a gateway asks, unread but for its lengths."""
    if not 0 < len(message.method) <= limits.METHOD or not message.method.isidentifier():
        raise errors.InputInvalid("a question has a name")
    if len(message.credential) > limits.CREDENTIAL or len(message.reason) > limits.REASON:
        raise errors.InputInvalid("a credential or a reason is too long to be one")
    gateway, body = NodeId(ids.check_name(message.gateway, "gateway")), message.body
    return GatewayQuestion(gateway, message.method, message.credential, message.reason, body)


def check_node(text: str) -> NodeId:
    """Refuse what is not the name of a node."""
    return NodeId(ids.check_name(text, "node"))


def check_number(value: int) -> int:
    """Refuse a number that cannot be signed."""
    if value > commitment.INTEGER_LIMIT:
        raise errors.InputInvalid(f"{value} is more than can be signed")
    return value


def check_height(value: int) -> int:
    """Refuse what is not the height of a block."""
    if not value:
        raise errors.InputInvalid("the first block has height 1")
    return check_number(value)


def check_digest(data: bytes) -> bytes:
    """Refuse what is not as long as a hash or key."""
    if len(data) != merkle.HASH_BYTES:
        raise errors.InputInvalid(f"{len(data)} bytes are not a hash or key of {merkle.HASH_BYTES}")
    return data


def check_signature(data: bytes) -> bytes:
    """Refuse what is not as long as an Ed25519 signature."""
    if len(data) != limits.SIGNATURE:
        raise errors.InputInvalid(f"{len(data)} bytes are not a signature")
    return data


def check_frame(data: bytes) -> bytes:
    """Refuse bytes that are more than one frame."""
    if len(data) > limits.FRAME:
        raise errors.InputInvalid(f"{len(data)} bytes are more than one frame")
    return data
