"""Bytes from anywhere become one value within its limits, or are refused; a value comes back as it was."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ccn import errors
from ccn.core.axes import UNIT, Vector
from ccn.core.chain.quorum import NODE_LIMIT
from ccn.core.chain.report import INSTANCE_LIMIT, LEAF_LIMIT, Report
from ccn.core.chain.roster import Roster, RosterRow
from ccn.core.chain.rules import Parameters, Rules, Validator
from ccn.core.ids import CharacterId, InstanceId, NodeId
from ccn.core.ledger import merkle, note
from ccn.core.ledger.signed import Signed
from ccn.core.rounds.ballot import Proposal, Vote
from ccn.core.rounds.database_timeline import DatabaseTimeline
from ccn.core.rounds.readback import ShownBlock
from ccn.core.rounds.refusal import Reason, Refusal
from ccn.pb import peer_pb2 as pb
from ccn.peers import limits, wire
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
from tests.support.core.rosters import pack_rows
from tests.support.peers import peer_node
from tests.support.peers.peer_node import COSIGNATURE, INSTANCE, ONE, TWO

MOST = 2**53 - 1
names = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True)
nodes = names.map(NodeId)
hashes = st.binary(min_size=32, max_size=32)
signatures = st.binary(min_size=64, max_size=64)
numbers = st.integers(0, MOST)
heights = st.integers(1, MOST)

scores = st.none() | st.integers(0, UNIT)
vectors = st.lists(scores, min_size=16, max_size=16).map(lambda listed: Vector(tuple(listed)))
rows = st.builds(
    RosterRow,
    st.integers(0, 2**128 - 1).map(lambda n: InstanceId(UUID(int=n))),
    st.integers(0, 2**63 - 1),
    vectors,
    st.integers(0, 2**64 - 1),
)


def _rosters(listed: dict[str, list[RosterRow]], *, owned: bool) -> tuple[Roster, ...]:
    made = [pack_rows(CharacterId(name), listed[name]) for name in sorted(listed)]
    return tuple(made if owned else [replace(each, owners=b"") for each in made])


rosters = st.builds(
    _rosters,
    st.dictionaries(names, st.lists(rows, max_size=3, unique_by=lambda row: row.instance), max_size=3),
    owned=st.booleans(),
)
reports = st.builds(
    Signed,
    st.builds(
        Report,
        nodes,
        heights,
        numbers,
        hashes,
        rosters,
        heights,
        st.lists(hashes, max_size=3).map(b"".join),
        hashes,
    ),
    signatures,
)
votes = st.builds(Signed, st.builds(Vote, nodes, heights, numbers, hashes), signatures)
refusals = st.builds(
    Refusal, st.sampled_from(Reason), st.text(st.characters(codec="utf-8"), max_size=limits.DETAIL)
)
texts = st.text(st.characters(codec="utf-8"), max_size=99)
cosignatures = st.builds(
    note.Signature,
    names,
    st.binary(min_size=4, max_size=4),
    st.binary(min_size=72, max_size=72),
)
proposals = st.builds(
    lambda listed, signature: Signed(
        Proposal(
            peer_node.sealed(*map(peer_node.report_of, listed)).header,
            tuple(map(peer_node.report_of, listed)),
            peer_node.RULES,
        ),
        signature,
    ),
    st.lists(nodes, min_size=1, max_size=3, unique=True),
    signatures,
)
CHAIN = peer_node.chain(5)
pages = st.builds(
    lambda first, last: BlockPage(tuple(CHAIN[first:last]), last), st.integers(0, 4), st.integers(0, 5)
)

timelines = st.none() | st.builds(
    DatabaseTimeline, st.integers(-(2**63), 2**63 - 1), st.integers(1, 2**32 - 1)
)

VALUES: dict[str, tuple[wire.WireFormat[Any], st.SearchStrategy[Any]]] = {
    kind.name: (kind, values)
    for kind, values in (
        (wire.HELLO, st.builds(Greeting, nodes)),
        (
            wire.WHO,
            st.builds(NodeIntroduction, nodes, hashes, st.just("0.1"), numbers, hashes, timelines),
        ),
        (wire.ASK, st.builds(ReportRequest, nodes, heights, numbers, hashes, timelines)),
        (wire.REPORT, reports | refusals),
        (wire.PROPOSAL, proposals),
        (wire.VOTE, votes | refusals),
        (wire.DECISION, st.builds(CommitNotice, nodes, heights, numbers, hashes)),
        (wire.COSIGNATURE, cosignatures | refusals),
        (wire.MISSING, st.builds(BlocksRequest, nodes, heights)),
        (wire.PAGE, pages),
        (
            wire.FORWARDED,
            st.builds(
                ForwardedRequest, nodes, st.just(INSTANCE), st.just("Converse"), st.binary(max_size=9)
            ),
        ),
        (wire.FRAME, st.binary(max_size=99)),
        (
            wire.GATEWAY_QUESTION,
            st.builds(GatewayQuestion, nodes, st.just("say"), texts, texts, st.binary(max_size=9)),
        ),
        (wire.ANSWER, st.binary(max_size=99)),
    )
}


few = settings(max_examples=25, deadline=None)


def test_every_kind_of_message_is_tried_here() -> None:
    kinds = {value for value in vars(wire).values() if isinstance(value, wire.WireFormat)}
    assert kinds == {kind for kind, _ in VALUES.values()}


@few
@given(st.data())
@pytest.mark.parametrize("kind", VALUES)
def test_a_value_comes_back_as_it_was_sent(kind: str, data: st.DataObject) -> None:
    message, values = VALUES[kind]
    value = data.draw(values)
    encoded = message.encode(value)
    assert message.decode(encoded) == value
    assert message.encode(message.decode(encoded)) == encoded


@few
@given(st.data())
@pytest.mark.parametrize("kind", VALUES)
def test_spoilt_bytes_are_refused_or_are_another_whole_value(kind: str, data: st.DataObject) -> None:
    message, values = VALUES[kind]
    whole = message.encode(data.draw(values))
    at = data.draw(st.integers(0, len(whole)))
    until = data.draw(st.integers(at, len(whole)))
    only_whole_values(message, whole[:at] + data.draw(st.binary(max_size=5)) + whole[until:])


@few
@given(junk=st.binary(max_size=300))
@example(junk=b"")
@example(junk=b"\x0a\xff\xff\xff\xff\x0f")  # a field that claims to have four gigabytes
@example(junk=b"\x0a" * 300)
@pytest.mark.parametrize("kind", VALUES)
def test_any_bytes_are_refused_or_are_a_whole_value(kind: str, junk: bytes) -> None:
    only_whole_values(VALUES[kind][0], junk)


def only_whole_values(message: wire.WireFormat[Any], data: bytes) -> None:
    try:
        value = message.decode(data)
    except errors.InputInvalid:
        return
    assert message.decode(message.encode(value)) == value


def signed_report() -> pb.ReportAnswer:
    found = pb.ReportAnswer()
    found.ParseFromString(wire.REPORT.encode(peer_node.report_of(ONE)))
    return found


def two_rosters(found: pb.ReportAnswer) -> None:
    found.report.rosters.append(found.report.rosters[0])


def without(field: str) -> Callable[[pb.ReportAnswer], None]:
    return lambda found: found.report.ClearField(field)


@pytest.mark.parametrize(
    "spoil",
    [
        without("node"),
        without("height"),
        without("previous"),
        without("wants"),
        without("first"),
        without("signature"),
        two_rosters,
        lambda found: setattr(found.report, "node", "Node 1\n"),
        lambda found: setattr(found.report, "height", 2**53),
        lambda found: setattr(found.report, "term", 2**64 - 1),
        lambda found: setattr(found.report, "leaves", bytes(33)),
        lambda found: setattr(found.report, "leaves", bytes(32 * (LEAF_LIMIT + 1))),
        lambda found: setattr(found.report, "signature", bytes(63)),
        lambda found: setattr(found.report.rosters[0], "packed", bytes(88 * 2)),
        lambda found: setattr(found.report.rosters[0], "packed", bytes(87)),
        lambda found: setattr(found.report.rosters[0], "owners", bytes(15)),
        lambda found: setattr(found.report.rosters[0], "character", "../ada"),
        lambda found: found.ClearField("report"),
        lambda found: found.refusal.CopyFrom(pb.Refusal(reason="weather", detail="")),
        lambda found: found.refusal.CopyFrom(pb.Refusal(reason="term", detail="x" * 1001)),
    ],
)
def test_a_report_that_is_not_whole_is_refused(spoil: Callable[[pb.ReportAnswer], None]) -> None:
    found = signed_report()
    spoil(found)
    with pytest.raises(errors.InputInvalid):
        wire.REPORT.decode(found.SerializeToString())


@pytest.mark.parametrize(
    "spoil",
    [
        lambda found: setattr(found.blocks[0], "leaves", found.blocks[0].leaves[:-32]),
        lambda found: setattr(found.blocks[0], "header", found.blocks[0].header + b" "),
        lambda found: setattr(found.blocks[0].next_rules, "validators", b"[]"),
        lambda found: found.blocks[0].votes[0].ClearField("signature"),
        lambda found: found.blocks.reverse(),
        lambda found: found.blocks.extend([found.blocks[0]] * limits.PAGE_BLOCKS),
    ],
)
def test_a_page_that_does_not_hold_together_is_refused(spoil: Callable[[Any], None]) -> None:
    found = pb.BlocksAnswer.FromString(wire.PAGE.encode(BlockPage(tuple(CHAIN), 5)))
    spoil(found)
    with pytest.raises(errors.InputInvalid):
        wire.PAGE.decode(found.SerializeToString())


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\nb", "x" * 2000])
def test_a_cosignature_that_could_not_stand_below_a_note_is_refused(name: str) -> None:
    with pytest.raises(errors.InputInvalid):
        wire.COSIGNATURE.decode(wire.COSIGNATURE.encode(note.Signature(name, b"1234", COSIGNATURE.data)))


def test_a_long_refusal_is_cut_and_still_read() -> None:
    sent = Refusal(Reason.TERM, "é" * 5000)
    assert wire.VOTE.decode(wire.VOTE.encode(sent)) == Refusal(Reason.TERM, "é" * limits.DETAIL)


@pytest.mark.parametrize("kind", VALUES)
def test_more_bytes_than_any_value_needs_are_refused_unread(kind: str) -> None:
    message = VALUES[kind][0]
    with pytest.raises(errors.InputInvalid, match="over the limit"):
        message.decode(bytes(message.limit + 1))


def long(number: int) -> str:
    return f"n{number:062}"


def test_the_largest_report_that_core_allows_can_be_sent() -> None:
    one = peer_node.roster_of(1)
    listed = tuple(replace(one, character=CharacterId(long(number))) for number in range(INSTANCE_LIMIT))
    leaves = bytes(merkle.HASH_BYTES * LEAF_LIMIT)
    said = Report(NodeId(long(1)), MOST, MOST, bytes(32), listed, MOST, leaves, bytes(32))
    encoded = wire.REPORT.encode(Signed(said, bytes(64)))
    assert wire.REPORT.decode(encoded) == Signed(said, bytes(64))
    assert 0.9 * limits.REPORT < len(encoded) <= limits.REPORT


def test_the_largest_block_that_core_allows_fits_on_a_page() -> None:
    members = [NodeId(long(number)) for number in range(NODE_LIMIT)]
    rules = Rules(tuple(Validator(node, peer_node.hashed(node)) for node in members), Parameters("x" * 100))
    each = LEAF_LIMIT // NODE_LIMIT + 1
    sealed = peer_node.sealed(*(peer_node.report_of(node, 0, each) for node in members), rules=rules)
    signatures = tuple(Signed(Vote(node, 1, MOST, bytes(32)), bytes(64)) for node in members)
    shown = ShownBlock(sealed.header, sealed.leaves, signatures, rules)
    assert len(shown.leaves) == LEAF_LIMIT
    encoded = wire.PAGE.encode(BlockPage((shown,), MOST))
    assert wire.PAGE.decode(encoded).blocks == (shown,)
    assert len(encoded) <= limits.BLOCK


def test_a_page_takes_as_many_blocks_as_fit_and_one_at_least() -> None:
    large = peer_node.chain(12, leaves=LEAF_LIMIT)
    page = wire.fill_page(tuple(large), 12)
    assert 1 < len(page.blocks) < 12
    assert len(wire.PAGE.encode(page)) <= limits.PAGE
    small = peer_node.chain(1)[0]
    assert len(wire.fill_page((small,) * 500, 500).blocks) == limits.PAGE_BLOCKS
    assert wire.fill_page((), 0) == BlockPage((), 0)
    assert len(wire.fill_page((large[0],), 1).blocks) == 1


def test_who_names_a_version_that_may_stand_in_a_log() -> None:
    for version in ("", "0.1\n", "x" * 101):
        data = pb.HelloAnswer(node=TWO, key=bytes(32), version=version, block=bytes(32))
        with pytest.raises(errors.InputInvalid, match="version"):
            wire.WHO.decode(data.SerializeToString())
