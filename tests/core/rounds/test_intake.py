"""Which reports a round takes, and that one bad report neither stops it nor slips through."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from ccn.core.axes import UNIT
from ccn.core.chain import block
from ccn.core.chain.quorum import FaultModel
from ccn.core.chain.report import Report
from ccn.core.chain.roster import Roster, RosterRow
from ccn.core.chain.rules import Weighing
from ccn.core.ids import NodeId
from ccn.core.ledger.signed import Check, Signed
from ccn.core.rounds import ballot
from ccn.core.rounds.ballot import NoQuorum, Proposal
from ccn.core.rounds.refusal import Reason, Refusal

if TYPE_CHECKING:
    from tests.support.core.honest_cluster import Cluster

Clusters = Callable[..., "Cluster"]
Rosters = Callable[..., Roster]
RowMaker = Callable[..., RosterRow]

STRANGER = NodeId("stranger")


def refusal(answer: object) -> Reason:
    assert isinstance(answer, Refusal), answer
    return answer.reason


def bad_reports(four: Cluster, make_row: RowMaker, make_roster: Rosters) -> dict[Reason, Signed[Report]]:
    """One report for each reason to leave it out, all of them by the last node."""
    node = four.nodes[3]
    good = four.report(node, make_roster(make_row(6)))
    said = good.statement
    return {
        Reason.SIGNATURE: replace(good, signature=bytes(64)),
        Reason.ROUND: four.signed(replace(said, term=said.term + 1)),
        Reason.LEAVES: four.signed(replace(said, first=said.first + 1)),
        Reason.STRANGER: four.signed(replace(said, node=STRANGER)),
        Reason.INSTANCE: four.report(
            node, make_roster(make_row(9)), make_roster(make_row(9), character="bob")
        ),
    }


@pytest.mark.parametrize("reason", ["signature", "round", "leaves", "stranger", "instance"])
def test_a_bad_report_is_left_out_and_the_round_goes_on(
    cluster: Clusters, make_row: RowMaker, make_roster: Rosters, reason: str
) -> None:
    four = cluster(4)
    bad = bad_reports(four, make_row, make_roster)[Reason(reason)]
    draft = four.draft([*four.reports()[:3], bad])
    assert [report.statement.node for report in draft.proposal.reports] == four.nodes[:3]
    assert [(node, refusal(why)) for node, why in draft.refused] == [(bad.statement.node, Reason(reason))]
    assert four.commit(draft).height == 1


@pytest.mark.parametrize("reason", ["signature", "round", "leaves", "stranger", "instance"])
def test_a_voter_refuses_a_proposal_with_a_bad_report(
    cluster: Clusters, make_row: RowMaker, make_roster: Rosters, reason: str
) -> None:
    four = cluster(4)
    bad = bad_reports(four, make_row, make_roster)[Reason(reason)]
    reports = (*four.reports()[:3], bad)
    sealed = block.seal(
        four.tip,
        [report.statement for report in reports],
        term=four.term,
        leader=four.leader,
        time_us=four.now_us,
        next_rules=four.tip.rules,
    )
    forced = Proposal(sealed.header, reports, four.tip.rules)
    assert refusal(four.judge(four.nodes[1], forced)) == Reason(reason)


@pytest.mark.parametrize("first", [1, 2, 4])
def test_leaves_go_on_where_the_last_block_ended_and_nowhere_else(cluster: Clusters, first: int) -> None:
    three = cluster(3)
    three.commit(three.draft())
    other = three.signed(replace(three.statement(three.leader), first=first))
    refused = three.draft([other, *three.reports()[1:]]).refused
    assert [(node, refusal(why)) for node, why in refused] == [(three.leader, Reason.LEAVES)]
    assert not three.draft().refused


@pytest.mark.parametrize("faults", list(FaultModel))
def test_a_liar_that_claims_every_instance_silences_nobody(
    cluster: Clusters, make_row: RowMaker, make_roster: Rosters, faults: FaultModel
) -> None:
    four = cluster(4, faults)
    liar = four.nodes[3]
    claimed = make_roster(*(make_row(number, *[UNIT] * 16, epoch=1 << 40) for number in range(6)))
    draft = four.draft([*four.reports()[:3], four.report(liar, claimed)])
    assert [report.statement.node for report in draft.proposal.reports] == four.nodes
    assert draft.refused == ()
    assert four.commit(draft).height == 1


@pytest.mark.parametrize("weighing", list(Weighing))
def test_instances_have_owners_exactly_where_the_rules_weigh_owners(
    cluster: Clusters, make_row: RowMaker, make_roster: Rosters, weighing: Weighing
) -> None:
    three = cluster(3, weighing=weighing)
    right, wrong = (7, None) if weighing is Weighing.OWNERS else (None, 7)
    reports = [
        three.report(node, make_roster(make_row(at, owner=owner)))
        for at, (node, owner) in enumerate(zip(three.nodes, (right, wrong, right), strict=True))
    ]
    draft = three.draft(reports)
    assert [(node, refusal(why)) for node, why in draft.refused] == [(three.nodes[1], Reason.INSTANCE)]
    assert three.draft([three.report(node, make_roster()) for node in three.nodes]).refused == ()


def test_other_parameters_need_everybody_who_reports(cluster: Clusters) -> None:
    """A node that does not know them could not go on, and is not left behind while it takes part."""
    three = cluster(3, weighing=Weighing.INSTANCES)
    renewed = three.tip.rules.with_current_weighing()
    one_is_old = [three.report(node, wants=renewed) for node in three.nodes[:2]]
    assert three.draft([*one_is_old, three.report(three.nodes[2])], renewed).proposal.next_rules != renewed
    draft = three.draft(one_is_old, renewed)  # the old one is away, perhaps to be renewed
    assert three.commit(draft).rules == renewed
    assert three.commit(three.draft()).rules == renewed


def test_a_higher_protocol_needs_every_validator_also_those_that_are_away(cluster: Clusters) -> None:
    """Who is away comes back with the program it had, and there is no way back."""
    three = cluster(3)
    raised = replace(three.tip.rules, parameters=replace(three.tip.rules.parameters, protocol=2))
    two = [three.report(node, wants=raised) for node in three.nodes[:2]]
    assert three.draft(two, raised).proposal.next_rules == three.tip.rules
    all_three = [*two, three.report(three.nodes[2], wants=raised)]
    before = three.tip.rules
    assert three.commit(three.draft(all_three, raised)).rules == raised
    back = [three.report(node, wants=before) for node in three.nodes]
    assert three.draft(back, before).proposal.next_rules == raised


def test_a_voter_refuses_other_parameters_that_not_all_want(cluster: Clusters) -> None:
    three = cluster(3, weighing=Weighing.INSTANCES)
    renewed = three.tip.rules.with_current_weighing()
    reports = (
        *(three.report(node, wants=renewed) for node in three.nodes[:2]),
        three.report(three.nodes[2]),
    )
    sealed = block.seal(
        three.tip,
        [report.statement for report in reports],
        term=three.term,
        leader=three.leader,
        time_us=three.now_us,
        next_rules=renewed,
    )
    assert refusal(three.judge(three.nodes[1], Proposal(sealed.header, reports, renewed))) == Reason.RULES


def test_two_reports_of_one_node_count_once(cluster: Clusters, check: Check) -> None:
    three = cluster(3)
    report = three.report(three.leader)
    assert ballot.propose([report, report], three.lead(), three.now_us, check) == NoQuorum(2, 1)
