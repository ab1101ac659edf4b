"""The rules of a round: what is proposed, what a voter refuses, and when votes are enough."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ccn.core.chain import block, quorum
from ccn.core.chain.header import Header, Span
from ccn.core.chain.quorum import FaultModel
from ccn.core.chain.roster import Roster, RosterRow
from ccn.core.chain.rules import Rules
from ccn.core.ids import NodeId
from ccn.core.ledger.signed import Check, Signed
from ccn.core.rounds import ballot
from ccn.core.rounds.ballot import Certificate, NoQuorum, Proposal, Vote
from ccn.core.rounds.refusal import Reason, Refusal
from ccn.core.rounds.signer import SignerState

if TYPE_CHECKING:
    from tests.support.core.honest_cluster import Cluster
    from tests.support.core.keys import Pairs

Clusters = Callable[..., "Cluster"]
Rosters = Callable[..., Roster]
RowMaker = Callable[..., RosterRow]

SECOND = 1_000_000
STRANGER = NodeId("stranger")


def refusal(answer: object) -> Reason:
    assert isinstance(answer, Refusal), answer
    return answer.reason


@pytest.mark.parametrize(
    ("nodes", "faults"),
    [
        (1, "crash"),
        (2, "crash"),
        (3, "crash"),
        (4, "crash"),
        (4, "byzantine"),
        (5, "byzantine"),
        (7, "byzantine"),
    ],
)
def test_honest_nodes_agree_round_after_round(cluster: Clusters, nodes: int, faults: str) -> None:
    honest = cluster(nodes, FaultModel(faults))
    for height in (1, 2, 3):
        tip = honest.commit(honest.draft())
        assert tip.height == height
        assert tip.tree.size == height * (2 * nodes + 1)
        assert dict(tip.sealed) == dict.fromkeys(honest.nodes, 2 * height)


def test_the_result_is_the_median_with_the_outlier_named(
    cluster: Clusters, make_row: RowMaker, make_roster: Rosters
) -> None:
    three = cluster(3)
    scores = [(1, 500_000), (2, 510_000), (3, 990_000)]
    rosters = [make_roster(make_row(number, score)) for number, score in scores]
    draft = three.draft([three.report(n, r) for n, r in zip(three.nodes, rosters, strict=True)])
    (found,) = draft.block.results
    assert found.median[0] == 510_000
    assert found.drift == (2_500, 0, 120_000)
    assert found.outliers == (2,)
    assert (found.weights, found.owners) == ("owner", 1)


@given(order=st.permutations(range(4)))
def test_the_order_in_which_reports_arrive_changes_nothing(order: list[int], cluster: Clusters) -> None:
    four = cluster(4)
    reports = four.reports()
    assert four.draft([reports[at] for at in order]).block == four.draft(reports).block


def test_reports_of_a_quorum_are_enough_and_of_fewer_are_not(cluster: Clusters, check: Check) -> None:
    five = cluster(5)
    assert len(five.draft(five.reports()[:3]).proposal.reports) == 3
    short = ballot.propose(five.reports()[:2], five.lead(), five.now_us, check)
    assert short == NoQuorum(3, 2)


def altered(header: Header) -> dict[str, Header]:
    """The header with each field changed by the least."""
    changed = dict[str, Any]()
    for field in filter(lambda field: field.init, fields(Header)):
        value = getattr(header, field.name)
        match value:
            case bytes():
                changed[field.name] = bytes([value[0] ^ 1]) + value[1:]
            case str():
                changed[field.name] = "node-3"
            case int():
                changed[field.name] = value + 1
    spans = (*header.spans[:-1], Span(header.spans[-1].node, 2, 3))
    alone = {name: changed[name] for name in changed if name not in ("size", "before_size")}
    return {
        **{name: replace(header, **{name: value}) for name, value in alone.items()},
        "spans": replace(header, spans=spans),
        "size": replace(header, size=header.size + 1, before_size=header.before_size + 1),
    }


REASONS = {
    "height": Reason.TIP,
    "previous": Reason.TIP,
    "term": Reason.TERM,
    "leader": Reason.LEADER,
    "before_size": Reason.ROOT,
    **ballot.COMPARED,
}


def test_every_field_of_a_header_is_chosen_by_the_leader_or_computed_again() -> None:
    chosen = {"height", "previous", "term", "leader", "time_us"}
    assert chosen | set(ballot.COMPARED) == {field.name for field in fields(Header) if field.init}
    assert not chosen & set(ballot.COMPARED)


@pytest.mark.parametrize("field", sorted({"size", *REASONS} - {"before_size"}))
def test_a_header_with_any_other_value_is_refused(cluster: Clusters, field: str) -> None:
    four = cluster(4)
    draft = four.draft()
    forged = replace(draft.proposal, header=altered(draft.proposal.header)[field])
    assert refusal(four.judge(four.nodes[1], forged)) == REASONS[field]


@given(steps=st.integers(-3 * SECOND, 3 * SECOND))
@example(steps=2 * SECOND)
@example(steps=2 * SECOND + 1)
@example(steps=-2 * SECOND)
@example(steps=-2 * SECOND - 1)
def test_the_time_of_a_block_may_differ_by_two_seconds_from_the_voters_clock(
    steps: int, cluster: Clusters
) -> None:
    four = cluster(4)
    draft = four.draft()
    four.now_us += steps
    answer = four.judge(four.nodes[1], draft.proposal)
    assert isinstance(answer, Vote) == (abs(steps) <= 2 * SECOND)
    assert isinstance(answer, Vote) or refusal(answer) == Reason.CLOCK


def test_time_never_stands_still_even_if_the_leaders_clock_does(cluster: Clusters) -> None:
    four = cluster(4)
    tip = four.commit(four.draft())
    four.now_us = tip.time_us
    draft = four.draft()
    assert draft.proposal.header.time_us == tip.time_us + 1
    same = replace(draft.proposal, header=replace(draft.proposal.header, time_us=tip.time_us))
    assert refusal(four.judge(four.nodes[1], same)) == Reason.CLOCK


def test_a_voter_refuses_an_older_term_than_it_voted_in(cluster: Clusters) -> None:
    four = cluster(4)
    node = four.nodes[1]
    old = four.draft().proposal
    four.term = 2
    assert refusal(four.judge(node, old)) == Reason.TERM
    four.vote(node, four.draft().proposal)
    four.term = 1
    assert refusal(four.judge(node, old)) == Reason.TERM


def test_a_voter_votes_once_for_a_height_and_term_but_may_repeat_itself(cluster: Clusters) -> None:
    four = cluster(4)
    node = four.nodes[1]
    first = four.draft().proposal
    vote = four.vote(node, first)
    four.now_us += 1
    second = four.draft().proposal
    assert refusal(four.judge(node, second)) == Reason.TWICE
    assert four.judge(node, first) == vote
    four.term = 2
    assert isinstance(four.judge(node, four.draft().proposal), Vote)


def test_a_voter_refuses_what_the_leader_did_not_sign(cluster: Clusters, check: Check, pair: Pairs) -> None:
    four = cluster(4)
    proposal = four.draft().proposal
    forged = Signed(proposal, pair("node-2").sign(proposal.signed_bytes()))
    voter = four.voter(four.nodes[1], proposal)
    assert refusal(ballot.judge(forged, voter, four.now_us, check)) == Reason.SIGNATURE


def test_a_leader_that_is_no_validator_gets_no_votes(cluster: Clusters, check: Check) -> None:
    four = cluster(4)
    proposal = four.draft().proposal
    outside = replace(proposal, header=replace(proposal.header, leader=STRANGER))
    voter = replace(four.voter(four.nodes[1], proposal), leader=STRANGER)
    assert refusal(ballot.judge(four.signed(outside), voter, four.now_us, check)) == Reason.STRANGER


def test_a_voter_refuses_reports_of_fewer_nodes_than_a_quorum(cluster: Clusters) -> None:
    four = cluster(4)
    proposal = four.draft().proposal
    for few in (proposal.reports[:2], (proposal.reports[0],) * 3, (*proposal.reports, proposal.reports[0])):
        assert refusal(four.judge(four.nodes[3], replace(proposal, reports=few))) == Reason.QUORUM


def test_a_voter_refuses_a_report_in_its_name_that_is_not_the_one_it_sent(
    cluster: Clusters, check: Check, make_row: RowMaker, make_roster: Rosters
) -> None:
    four = cluster(4)
    node = four.nodes[1]
    proposal = four.draft().proposal
    for sent in (None, four.report(node, make_roster(make_row(3)))):
        voter = replace(four.voter(node, proposal), report=sent)
        assert refusal(ballot.judge(four.signed(proposal), voter, four.now_us, check)) == Reason.REPORT


def test_a_voter_votes_only_on_top_of_the_block_it_cosigned(cluster: Clusters, check: Check) -> None:
    four = cluster(4)
    proposal = four.draft().proposal
    voter = four.voter(four.nodes[1], proposal)
    cosigned = {
        Reason.BACK: SignerState(1, b"b" * 32),
        Reason.TIP: SignerState(0, b"b" * 32),
    }
    for reason, state in cosigned.items():
        answer = ballot.judge(four.signed(proposal), replace(voter, signer=state), four.now_us, check)
        assert refusal(answer) == reason


def test_a_voter_refuses_what_does_not_follow_its_own_tip(cluster: Clusters, check: Check) -> None:
    four = cluster(4)
    proposal = four.draft().proposal
    voter = four.voter(four.nodes[1], proposal)
    elsewhere = replace(four.tip, hash=b"e" * 32)
    ahead = replace(four.tip, term=2)
    for tip in (elsewhere, ahead, replace(four.tip, height=1)):
        answer = ballot.judge(four.signed(proposal), replace(voter, tip=tip), four.now_us, check)
        assert refusal(answer) == Reason.TIP


def test_a_minority_of_ayes_commits_nothing(cluster: Clusters, check: Check) -> None:
    four = cluster(4)
    draft = four.draft()
    votes = four.votes(draft)
    assert ballot.tally(draft.block.header, votes[:2], four.tip.rules, check) == NoQuorum(3, 2)
    enough = ballot.tally(draft.block.header, votes[1:][::-1], four.tip.rules, check)
    assert enough == Certificate(tuple(votes[1:]))


def test_votes_that_do_not_count_make_no_quorum(cluster: Clusters, check: Check) -> None:
    four = cluster(4)
    draft = four.draft()
    one, two, *_ = four.votes(draft)
    said = two.statement
    worthless = [
        one,
        replace(two, signature=one.signature),
        replace(two, signature=b""),
        four.signed(replace(said, node=STRANGER)),
        four.signed(replace(said, block=b"b" * 32)),
        four.signed(replace(said, height=2)),
        four.signed(replace(said, term=2)),
        Signed(said, four.signed(replace(said, term=2)).signature),
        Signed(replace(said, node=four.nodes[2]), two.signature),
    ]
    assert ballot.tally(draft.block.header, [one, *worthless], four.tip.rules, check) == NoQuorum(3, 1)


def test_a_report_or_proposal_never_counts_as_a_vote(cluster: Clusters, check: Check) -> None:
    four = cluster(4)
    draft = four.draft()
    vote = Vote(four.leader, 1, 1, draft.block.header.hash())
    for signature in (four.signed(draft.proposal).signature, four.report(four.leader).signature):
        short = ballot.tally(draft.block.header, [Signed(vote, signature)], four.tip.rules, check)
        assert short == NoQuorum(3, 0)


def splits(nodes: int) -> Iterator[tuple[set[int], set[int]]]:
    """Every way in which honest nodes can be split between two blocks while the liars vote for both."""
    liars = set(range(quorum.faults_tolerated(FaultModel.BYZANTINE, nodes)))
    for choice in itertools.product((0, 1), repeat=nodes - len(liars)):
        one, other = (
            {len(liars) + at for at, side in enumerate(choice) if side == want} for want in (0, 1)
        )
        yield one | liars, other | liars


@pytest.mark.parametrize("nodes", [4, 5, 6, 7])
def test_liars_who_vote_for_two_blocks_cannot_get_both_certified(
    cluster: Clusters, check: Check, nodes: int
) -> None:
    honest = cluster(nodes, FaultModel.BYZANTINE)
    first = honest.draft()
    honest.now_us += 1
    headers = [first.block.header, honest.draft().block.header]
    votes = [
        [honest.signed(Vote(node, 1, 1, header.hash())) for node in honest.nodes] for header in headers
    ]
    known: dict[bytes, bool] = {}

    def remembered(key: bytes, message: bytes, signature: bytes) -> bool:
        return known.setdefault(key + message + signature, check(key, message, signature))

    for sides in splits(nodes):
        outcomes = [
            ballot.tally(header, [cast[at] for at in sorted(side)], honest.tip.rules, remembered)
            for header, cast, side in zip(headers, votes, sides, strict=True)
        ]
        assert sum(isinstance(outcome, Certificate) for outcome in outcomes) <= 1


def test_rules_change_when_a_quorum_wants_them_and_count_from_the_next_block(
    cluster: Clusters, rules: Callable[..., Rules]
) -> None:
    three = cluster(3)
    grown = rules(["node-1", "node-2", "node-3", "node-4"])
    reports = [three.report(node, wants=grown) for node in three.nodes[:2]]
    draft = three.draft([*reports, three.report(three.nodes[2])], wanted=grown)
    assert draft.proposal.header.next_validators == grown.validators_hash()
    assert draft.proposal.header.validators == three.rules.validators_hash()
    assert three.commit(draft).rules == grown
    assert len(three.nodes) == 4
    assert three.commit(three.draft()).height == 2


def test_rules_that_only_a_minority_wants_are_neither_proposed_nor_accepted(
    cluster: Clusters, rules: Callable[..., Rules]
) -> None:
    three = cluster(3)
    grown = rules(["node-1", "node-2", "node-3", "node-4"])
    reports = [three.report(three.leader, wants=grown), *three.reports()[1:]]
    draft = three.draft(reports, wanted=grown)
    assert draft.block.next_rules == three.rules
    header = replace(draft.proposal.header, next_validators=grown.validators_hash())
    forced = Proposal(header, draft.proposal.reports, grown)
    assert refusal(three.judge(three.nodes[1], forced)) == Reason.RULES


def test_a_node_that_brings_nothing_keeps_its_place(cluster: Clusters) -> None:
    three = cluster(3)
    three.commit(three.draft())
    tip = three.commit(three.draft(three.reports(leaves=0)))
    assert dict(tip.sealed) == dict.fromkeys(three.nodes, 2)
    assert dict(three.commit(three.draft(three.reports()[1:])).sealed) == {
        "node-1": 2,
        "node-2": 4,
        "node-3": 4,
    }


def test_a_backlog_is_sealed_over_several_rounds_in_equal_shares(cluster: Clusters) -> None:
    three = cluster(3)
    sizes = dict(zip(three.nodes, (10_000, 9_000, 10), strict=True))
    tip = three.commit(three.draft([three.report(node, leaves=size) for node, size in sizes.items()]))
    assert dict(tip.sealed) == dict(zip(three.nodes, (4_995, 4_995, 10), strict=True))
    assert tip.tree.size == 10_001


@given(
    waiting=st.dictionaries(st.sampled_from("abcdefg").map(NodeId), st.integers(0, 50), min_size=1),
    limit=st.integers(1, 120),
)
def test_shares_use_the_whole_block_and_starve_nobody(waiting: dict[NodeId, int], limit: int) -> None:
    granted = block.share_leaves(waiting, limit)
    assert sum(granted.values()) == min(limit, sum(waiting.values()))
    least = limit // len(waiting)
    assert all(min(waiting[node], least) <= granted[node] <= waiting[node] for node in waiting)


@given(order=st.permutations(range(4)), kept=st.integers(0, 4))
def test_a_leader_may_list_reports_in_any_order_but_drop_none_after_sealing(
    order: list[int], kept: int, cluster: Clusters
) -> None:
    four = cluster(4)
    honest = four.draft().proposal
    listed = replace(honest, reports=tuple(honest.reports[at] for at in order[:kept]))
    answer = four.judge(four.nodes[1], listed)
    assert isinstance(answer, Vote) == (kept == 4)
