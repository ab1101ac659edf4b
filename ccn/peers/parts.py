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
from ccn.core.rounds.readback import Shown
from ccn.core.rounds.refusal import Reason, Refusal
from ccn.pb import peer_pb2 as pb
from ccn.peers import limits
from ccn.peers.exchange import Ask, Decision, Forwarded, Page, Who


def who(value: Who) -> pb.HelloAnswer:
    """A node introduces itself."""
    return pb.HelloAnswer(
        node=value.node, key=value.key, version=value.version, height=value.height, block=value.block
    )


def read_who(found: pb.HelloAnswer) -> Who:
    """A node, with a version that may stand in a log."""
    if not 0 < len(found.version) <= limits.VERSION or not found.version.isprintable():
        raise errors.InputInvalid("a node's version is a short text")
    return Who(
        node(found.node),
        digest(found.key),
        found.version,
        number(found.height),
        digest(found.block),
    )


def ask(value: Ask) -> pb.ReportRequest:
    """The opening of a round."""
    return pb.ReportRequest(node=value.node, height=value.height, term=value.term, previous=value.previous)


def read_ask(found: pb.ReportRequest) -> Ask:
    """A round that somebody opens."""
    return Ask(node(found.node), height(found.height), number(found.term), digest(found.previous))


def decision(value: Decision) -> pb.DecideRequest:
    """A committed block by its name."""
    return pb.DecideRequest(node=value.node, height=value.height, term=value.term, block=value.block)


def read_decision(found: pb.DecideRequest) -> Decision:
    """A block that somebody says was committed."""
    return Decision(node(found.node), height(found.height), number(found.term), digest(found.block))


def report(value: Signed[Report]) -> pb.Report:
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


def read_report(found: pb.Report) -> Signed[Report]:
    """A whole report; core refuses what is out of order."""
    said = Report(
        node=node(found.node),
        height=height(found.height),
        term=number(found.term),
        previous=digest(found.previous),
        rosters=tuple(
            Roster(CharacterId(each.character), each.packed, each.owners) for each in found.rosters
        ),
        first=number(found.first),
        leaves=found.leaves,
        wants=digest(found.wants),
    )
    return Signed(said, signature(found.signature))


def proposal(value: Signed[Proposal]) -> pb.Proposal:
    """The header in its canonical form, with all that makes it."""
    said = value.statement
    return pb.Proposal(
        header=said.header.body(),
        reports=map(report, said.reports),
        next_rules=rules(said.next_rules),
        signature=value.signature,
    )


def read_proposal(found: pb.Proposal) -> Signed[Proposal]:
    """A header that is written the one way it can be, and what comes with it."""
    said = Proposal(
        header.parse(found.header), tuple(map(read_report, found.reports)), read_rules(found.next_rules)
    )
    return Signed(said, signature(found.signature))


def vote(value: Signed[Vote]) -> pb.Vote:
    """A vote with its signature."""
    said = value.statement
    return pb.Vote(
        node=said.node, height=said.height, term=said.term, block=said.block, signature=value.signature
    )


def read_vote(found: pb.Vote) -> Signed[Vote]:
    """A vote for some block."""
    said = Vote(node(found.node), height(found.height), number(found.term), digest(found.block))
    return Signed(said, signature(found.signature))


def rules(value: Rules) -> pb.Rules:
    """Both bodies, as the record keeps them."""
    return pb.Rules(validators=value.validators_body(), parameters=value.parameters_body())


def read_rules(found: pb.Rules) -> Rules:
    """Rules in their canonical form."""
    return rules_.parse(found.validators, found.parameters)


def block(value: Shown) -> pb.Block:
    """A committed block, its leaves in a row."""
    return pb.Block(
        header=value.header.body(),
        votes=map(vote, value.votes),
        next_rules=rules(value.next_rules),
        leaves=b"".join(value.leaves),
    )


def read_block(found: pb.Block) -> Shown:
    """A block with exactly the leaves that its header counts."""
    read = header.parse(found.header)
    leaves = merkle.split(found.leaves)
    if len(leaves) != read.count:
        raise errors.InputInvalid(f"block {read.height} comes with {len(leaves)} leaves, not {read.count}")
    return Shown(read, leaves, tuple(map(read_vote, found.votes)), read_rules(found.next_rules))


def pages(value: Page) -> pb.BlocksAnswer:
    """Blocks in a row."""
    return pb.BlocksAnswer(blocks=map(block, value.blocks), height=value.height)


def read_pages(found: pb.BlocksAnswer) -> Page:
    """Blocks that follow each other, by their heights at least."""
    if len(found.blocks) > limits.PAGE_BLOCKS:
        raise errors.InputInvalid(f"a page of {len(found.blocks)} blocks")
    blocks = tuple(map(read_block, found.blocks))
    if any(after.header.height != before.header.height + 1 for before, after in pairwise(blocks)):
        raise errors.InputInvalid("the blocks of a page do not follow each other")
    return Page(blocks, number(found.height))


def refusal(value: Refusal) -> pb.Refusal:
    """A fixed word and a sentence, which is cut where it is too long."""
    return pb.Refusal(reason=value.reason, detail=value.detail[: limits.DETAIL])


def read_refusal(found: pb.Refusal) -> Refusal:
    """A reason that is known here."""
    if len(found.detail) > limits.DETAIL:
        raise errors.InputInvalid("the detail of a refusal is too long")
    try:
        return Refusal(Reason(found.reason), found.detail)
    except ValueError:
        raise errors.InputInvalid(f"{found.reason[:80]!r} is no reason to refuse") from None


def cosignature(value: note.Signature) -> pb.Cosignature:
    """One line below a note."""
    return pb.Cosignature(name=value.name, key_id=value.key_id, data=value.data)


def read_cosignature(found: pb.Cosignature) -> note.Signature:
    """A line that could stand below a note."""
    line = note.Signature(found.name, found.key_id, found.data)
    if len(line.key_id) != 4 or len(line.data) != limits.COSIGNATURE_DATA:
        raise errors.InputInvalid("a cosignature is the id of a key, eight bytes of time and a signature")
    if len(line.name) > limits.NOTE_NAME:
        raise errors.InputInvalid("the name of a key is too long")
    note.parse(note.Note("\n", (line,)).to_bytes())  # a name that could not stand on a line is refused
    return line


def forwarded(value: Forwarded) -> pb.ForwardRequest:
    """A request of a client, unread."""
    return pb.ForwardRequest(
        node=value.node, instance=value.instance.bytes, method=value.method, body=value.body
    )


def read_forwarded(found: pb.ForwardRequest) -> Forwarded:
    """A request for some instance."""
    if len(found.instance) != 16:
        raise errors.InputInvalid("the id of an instance has 16 bytes")
    if not 0 < len(found.method) <= limits.METHOD or not found.method.isidentifier():
        raise errors.InputInvalid("a forwarded method has a name")
    instance = InstanceId(UUID(bytes=found.instance))
    return Forwarded(node(found.node), instance, found.method, frame(found.body))


def node(text: str) -> NodeId:
    """The name of a node."""
    return NodeId(ids.name(text, "node"))


def number(value: int) -> int:
    """A number that can be signed."""
    if value > commitment.INTEGER_LIMIT:
        raise errors.InputInvalid(f"{value} is more than can be signed")
    return value


def height(value: int) -> int:
    """The height of a block."""
    if not value:
        raise errors.InputInvalid("the first block has height 1")
    return number(value)


def digest(data: bytes) -> bytes:
    """A hash or a key."""
    if len(data) != merkle.HASH_BYTES:
        raise errors.InputInvalid(f"{len(data)} bytes are not a hash or key of {merkle.HASH_BYTES}")
    return data


def signature(data: bytes) -> bytes:
    """What may be an Ed25519 signature."""
    if len(data) != limits.SIGNATURE:
        raise errors.InputInvalid(f"{len(data)} bytes are not a signature")
    return data


def frame(data: bytes) -> bytes:
    """Bytes that are one frame at most."""
    if len(data) > limits.FRAME:
        raise errors.InputInvalid(f"{len(data)} bytes are more than one frame")
    return data
