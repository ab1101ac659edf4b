"""Which reports count in a round: each is judged by itself.

A leader leaves out a report that does not hold, so one broken node cannot stop the rounds. A voter refuses
a proposal that contains such a report. What one node says never invalidates another node's report:
otherwise a single liar who names everybody's instances could silence all. `result` decides what happens to
an instance that two nodes name.
"""

from __future__ import annotations

from collections.abc import Sequence

from ccn.core.chain import roster
from ccn.core.chain.block import Tip
from ccn.core.chain.report import Report
from ccn.core.chain.rules import Rules, Weighing
from ccn.core.ids import NodeId
from ccn.core.ledger.signed import Check, Signed
from ccn.core.rounds.refusal import Reason, Refusal

RefusedReports = tuple[tuple[NodeId, Refusal], ...]


def sift_reports(
    reports: Sequence[Signed[Report]], tip: Tip, term: int, check: Check
) -> tuple[tuple[Signed[Report], ...], RefusedReports]:
    """Return the reports that hold, one a node in the order of their names, and why the others do not."""
    refused = list[tuple[NodeId, Refusal]]()
    held = dict[NodeId, Signed[Report]]()
    for report in reports:
        node, objection = report.statement.node, examine_report(report, tip, term, check)
        if objection is not None:
            refused.append((node, objection))
        else:
            held.setdefault(node, report)
    return tuple(held[node] for node in sorted(held)), tuple(refused)


def examine_report(report: Signed[Report], tip: Tip, term: int, check: Check) -> Refusal | None:
    """Say what is wrong with one report, judged by itself."""
    statement = report.statement
    key, last = tip.rules.key_of(statement.node), tip.last_sealed(statement.node)
    if key is None:
        return Refusal(Reason.STRANGER, f"{statement.node} is not a validator")
    if (statement.height, statement.previous, statement.term) != (tip.height + 1, tip.hash, term):
        return Refusal(
            Reason.ROUND, f"{statement.node} reports for height {statement.height}, term {statement.term}"
        )
    if statement.first != last + 1:
        return Refusal(
            Reason.LEAVES, f"{statement.node} goes on with leaf {statement.first}, but {last} is sealed"
        )
    if not report.is_signed_by(key, check):
        return Refusal(Reason.SIGNATURE, f"the report of {statement.node} is not signed by it")
    return _examine_instances(statement, tip.rules)


def _examine_instances(report: Report, rules: Rules) -> Refusal | None:
    if len(report.rosters) > 1 and roster.find_disputed(report.rosters).any():
        return Refusal(Reason.INSTANCE, f"{report.node} names an instance twice")
    owned = rules.parameters.weighing is Weighing.OWNERS
    if any(bool(named.owners) is not owned for named in report.rosters if len(named)):
        verb = "does not say" if owned else "says"
        return Refusal(Reason.INSTANCE, f"{report.node} {verb} whose its instances are")
    return None


def elect_rules(reports: Sequence[Report], rules: Rules, wanted: Rules) -> Rules:
    """The rules for the next block: the wanted ones if a quorum wants just those, or else the present.

    Other parameters need all who report: a node that is too old to know them could not go on. A higher
    protocol needs all validators, whether they report or not; there is no way back to a lower one.
    """
    before, after = rules.parameters, wanted.parameters
    if after.protocol < before.protocol:
        return rules
    needed = len(rules.validators) if after.protocol > before.protocol else rules.quorum
    if after != before:
        needed = max(needed, len(reports))
    return wanted if sum(report.wants == wanted.hash() for report in reports) >= needed else rules
