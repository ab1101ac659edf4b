"""The memory of a signer: whatever it is asked, in any order and across restarts, it stays consistent."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ccn import errors
from ccn.core.chain.header import Header
from ccn.core.chain.report import Report
from ccn.core.ids import NodeId
from ccn.core.ledger import commitment
from ccn.core.rounds import signer
from ccn.core.rounds.refusal import Reason, Refusal
from ccn.core.rounds.signer import NumberedHash, SignerState

GENESIS = b"g" * 32


def header(height: int, previous: bytes, term: int, variant: int = 0) -> Header:
    """A block that differs by its variant, and is otherwise as plain as can be."""
    plain = bytes(32)
    return Header(
        height=height,
        previous=previous,
        term=term,
        leader=NodeId("node-1"),
        time_us=1 + variant,
        validators=plain,
        parameters=plain,
        next_validators=plain,
        next_parameters=plain,
        reports=plain,
        result=plain,
        spans=(),
        before_size=0,
        before_root=plain,
        size=0,
        root=plain,
    )


def reason(answer: SignerState | Refusal) -> Reason | None:
    return answer.reason if isinstance(answer, Refusal) else None


def state(answer: SignerState | Refusal) -> SignerState:
    assert isinstance(answer, SignerState), answer
    return answer


@dataclass(slots=True)
class Disk:
    """A signer that restarts before every question, and everything it ever signed."""

    kept: bytes = SignerState(0, GENESIS).body()
    votes: list[tuple[int, int, bytes]] = field(default_factory=list)
    cosigned: list[tuple[int, bytes]] = field(default_factory=list)

    def ask(self, asked: str, block: Header) -> None:
        answer = (signer.allow_vote if asked == "vote" else signer.allow_cosignature)(
            signer.parse_state(self.kept), block
        )
        if isinstance(answer, SignerState):
            self.kept = answer.body()
            if asked == "vote":
                self.votes.append((block.height, block.term, block.hash()))
            else:
                self.cosigned.append((block.height, block.hash()))


@settings(max_examples=100)
@given(
    asked=st.lists(
        st.tuples(
            st.sampled_from(["vote", "cosign"]), st.integers(0, 5), st.integers(1, 3), st.integers(0, 1)
        ),
        max_size=40,
    ),
    data=st.data(),
)
def test_no_sequence_of_requests_makes_it_contradict_itself(
    asked: list[tuple[str, int, int, int]], data: st.DataObject
) -> None:
    disk, known = Disk(), [(0, GENESIS)]
    for what, above, term, variant in asked:
        height, previous = known[data.draw(st.integers(0, len(known) - 1))]
        block = header(height + 1 + above // 5, previous, term, variant)
        known.append((block.height, block.hash()))
        disk.ask(what, block)
    voted = {(height, term): block for height, term, block in disk.votes}
    assert all(voted[height, term] == block for height, term, block in disk.votes)
    assert [place[:2] for place in disk.votes] == sorted(place[:2] for place in disk.votes)
    terms = [term for _, term, _ in disk.votes]
    assert terms == sorted(terms)
    assert [height for height, _ in disk.cosigned] == sorted(height for height, _ in disk.cosigned)
    assert len(dict(disk.cosigned)) == len(set(disk.cosigned))


@given(heights=st.integers(1, 6), data=st.data())
def test_an_honest_chain_is_voted_and_cosigned_to_its_end(heights: int, data: st.DataObject) -> None:
    now, term = SignerState(0, GENESIS), 1
    for height in range(1, heights + 1):
        term += data.draw(st.integers(0, 2))
        block = header(height, now.block, term)
        now = state(signer.allow_cosignature(state(signer.allow_vote(now, block)), block))
    assert now.height == heights


def test_the_same_vote_and_the_same_cosignature_may_be_given_again() -> None:
    block = header(1, GENESIS, 1)
    voted = state(signer.allow_vote(SignerState(0, GENESIS), block))
    assert signer.allow_vote(voted, block) == voted
    cosigned = state(signer.allow_cosignature(voted, block))
    assert signer.allow_cosignature(cosigned, block) == cosigned


def test_a_second_block_for_a_height_and_term_is_refused() -> None:
    voted = state(signer.allow_vote(SignerState(0, GENESIS), header(1, GENESIS, 1)))
    assert reason(signer.allow_vote(voted, header(1, GENESIS, 1, variant=1))) == Reason.TWICE
    assert reason(signer.allow_vote(voted, header(1, GENESIS, 2, variant=1))) is None


def test_a_vote_in_an_older_term_is_refused_at_any_height() -> None:
    block = header(1, GENESIS, 5)
    now = state(signer.allow_cosignature(state(signer.allow_vote(SignerState(0, GENESIS), block)), block))
    assert reason(signer.allow_vote(now, header(2, now.block, 4))) == Reason.TERM
    assert reason(signer.allow_vote(now, header(2, now.block, 5))) is None


@given(st.integers(1, 4), st.integers(0, 4), st.booleans())
def test_a_term_is_spent_when_no_other_block_can_be_voted_in_it(
    term: int, voted_term: int, sealed: bool
) -> None:
    """Also on top of a block that was voted for in it, and however it got into the memory."""
    now = SignerState(0, GENESIS)
    if voted_term:
        block = header(1, GENESIS, voted_term)
        now = state(signer.allow_vote(now, block))
        now = state(signer.allow_cosignature(now, block)) if sealed else now
    another = header(now.height + 1, now.block, term, variant=1)
    refused = isinstance(signer.allow_vote(now, another), Refusal)
    assert signer.has_voted_in(now, another.height, term) == refused


def test_a_vote_beside_below_or_beyond_the_cosigned_block_is_refused() -> None:
    now = SignerState(7, b"b" * 32)
    assert reason(signer.allow_vote(now, header(7, GENESIS, 1))) == Reason.BACK
    assert reason(signer.allow_vote(now, header(8, GENESIS, 1))) == Reason.TIP
    assert reason(signer.allow_vote(now, header(9, now.block, 1))) == Reason.TIP


def test_a_tip_that_went_back_or_sideways_is_never_cosigned() -> None:
    now = SignerState(7, b"b" * 32)
    assert reason(signer.allow_cosignature(now, header(6, GENESIS, 1))) == Reason.BACK
    assert reason(signer.allow_cosignature(now, header(7, GENESIS, 1))) == Reason.SIDEWAYS
    assert reason(signer.allow_cosignature(now, header(8, GENESIS, 1))) == Reason.SIDEWAYS
    assert reason(signer.allow_cosignature(now, header(9, now.block, 1))) == Reason.TIP


def test_a_block_that_others_voted_for_may_be_cosigned_without_a_vote() -> None:
    block = header(1, GENESIS, 1)
    assert state(signer.allow_cosignature(SignerState(0, GENESIS), block)) == SignerState(1, block.hash())


@given(
    height=st.integers(0, 2**40),
    term=st.integers(0, 2**40),
    hashes=st.tuples(*[st.binary(min_size=32, max_size=32)] * 3),
)
def test_the_state_is_read_as_it_was_written(
    height: int, term: int, hashes: tuple[bytes, bytes, bytes]
) -> None:
    written = SignerState(height, hashes[0], height, term, hashes[1], height + 1, term, hashes[2])
    assert signer.parse_state(written.body()) == written


@given(data=st.data())
def test_a_damaged_file_is_refused_and_never_guessed(data: st.DataObject) -> None:
    body = SignerState(7, b"b" * 32, 8, 3, b"v" * 32).body()
    cut = data.draw(st.integers(0, len(body) - 1))
    broken = data.draw(st.sampled_from([body[:cut], body[:cut] + b"\x00" + body[cut + 1 :], body + b" "]))
    with pytest.raises(errors.InputInvalid):
        signer.parse_state(broken)


@pytest.mark.parametrize(
    ("height", "block", "voted_height"),
    [(-1, GENESIS, 0), (0, b"short", 0), (3, GENESIS, 5), (0, GENESIS, -1)],
)
def test_a_state_that_cannot_be_is_refused(height: int, block: bytes, voted_height: int) -> None:
    with pytest.raises(errors.InputInvalid):
        SignerState(height, block, voted_height)


@given(leaves=st.lists(st.binary(min_size=32, max_size=32), max_size=4, unique=True), data=st.data())
def test_reported_leaves_are_known_again_and_nothing_else_is(
    leaves: list[bytes], data: st.DataObject
) -> None:
    said = Report(NodeId("a"), 1, 1, GENESIS, (), 7, b"".join(leaves), GENESIS)
    now = signer.with_report(SignerState(0, GENESIS), said)
    assert (now.reported_first, now.reported_count) == (7, len(leaves))
    assert signer.begins_with_reported(now, [*leaves, b"later" * 8])
    if leaves:
        at = data.draw(st.integers(0, len(leaves) - 1))
        assert not signer.begins_with_reported(now, [*leaves[:at], b"swap" * 9, *leaves[at + 1 :]])
        assert not signer.begins_with_reported(now, leaves[:at])


BEFORE = (
    b'{"block":"' + b"62" * 32 + b'","height":7,"kind":"signer","reported_count":0,"reported_first":1,'
    b'"reported_leaves":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","v":1,'
    b'"voted_block":"' + b"00" * 32 + b'","voted_height":0,"voted_term":0}'
)


def test_a_state_from_before_acknowledgements_were_noted_is_read() -> None:
    assert signer.parse_state(BEFORE) == SignerState(7, b"b" * 32)
    assert signer.parse_state(SignerState(7, b"b" * 32).body()) == SignerState(7, b"b" * 32)


def test_what_was_acknowledged_only_grows() -> None:
    noted = signer.with_acknowledged(SignerState(7, b"b" * 32), NumberedHash(3, b"c" * 32))
    assert signer.parse_state(noted.body()).acknowledged == NumberedHash(3, b"c" * 32)
    for older in (None, NumberedHash(2, b"d" * 32), NumberedHash(3, b"d" * 32)):
        assert signer.with_acknowledged(noted, older) == noted


def test_a_state_of_another_version_or_shape_is_refused() -> None:
    body = SignerState(7, b"b" * 32).body()
    for other in (
        body.replace(b'"v":2', b'"v":1'),
        body.replace(b'"v":2', b'"v":3'),
        body.replace(b'"signer"', b'"signet"'),
        body.replace(b'"height":7', b'"height":"7"'),
        body.replace(b"62", b"6G", 1),
        commitment.encode_canonical({"kind": "signer"}),
    ):
        with pytest.raises(errors.InputInvalid):
            signer.parse_state(other)
