"""Which reports a round takes: the ones that hold by themselves, and beside each other.

A leader leaves out what does not hold, so that one broken node cannot stop the rounds; a voter refuses a
proposal that contains it. An instance that two nodes name was adopted by one of them: the report under the
older host epoch is out of date, and of two under the same epoch neither can be believed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from ccn.core.block import Tip
from ccn.core.ids import InstanceId, NodeId
from ccn.core.refusal import Reason, Refusal
from ccn.core.report import Report
from ccn.core.rules import Rules
from ccn.core.signed import Check, Signed

Refused = tuple[tuple[NodeId, Refusal], ...]


def sift(
    reports: Sequence[Signed[Report]], tip: Tip, term: int, check: Check
) -> tuple[tuple[Signed[Report], ...], Refused]:
    """The reports that hold, one a node and by the nodes' names, and why the others do not."""
    refused = list[tuple[NodeId, Refusal]]()
    held = dict[NodeId, Signed[Report]]()
    for report in reports:
        node, objection = report.statement.node, examine(report, tip, term, check)
        if objection is not None:
            refused.append((node, objection))
        else:
            held.setdefault(node, report)
    for node in sorted(outdated([report.statement for report in held.values()])):
        refused.append(
            (node, Refusal(Reason.INSTANCE, f"{node} names an instance that is named elsewhere"))
        )
        del held[node]
    return tuple(held[node] for node in sorted(held)), tuple(refused)


def examine(report: Signed[Report], tip: Tip, term: int, check: Check) -> Refusal | None:
    """What is wrong with one report by itself."""
    said = report.statement
    key, last = tip.rules.key(said.node), tip.last(said.node)
    if key is None:
        return Refusal(Reason.STRANGER, f"{said.node} is not a validator")
    if (said.height, said.previous, said.term) != (tip.height + 1, tip.hash, term):
        return Refusal(Reason.ROUND, f"{said.node} reports for height {said.height}, term {said.term}")
    if said.first != last + 1:
        return Refusal(Reason.LEAVES, f"{said.node} goes on with leaf {said.first}, but {last} is sealed")
    if not report.by(key, check):
        return Refusal(Reason.SIGNATURE, f"the report of {said.node} is not signed by it")
    return None


def outdated(reports: Sequence[Report]) -> set[NodeId]:
    """The nodes that name an instance which is also named elsewhere, under no older epoch."""
    rosters = [(report.node, roster) for report in reports for roster in report.rosters]
    named = [instance for _, roster in rosters for instance in roster.ids()]
    if len(set(named)) == len(named):
        return set()
    claims = defaultdict[InstanceId, list[tuple[int, NodeId]]](list)
    for node, roster in rosters:
        for row in roster.rows():
            claims[row.instance].append((row.epoch, node))
    return {node for claimed in claims.values() if len(claimed) > 1 for node in _losers(claimed)}


def elected(reports: Sequence[Report], rules: Rules, wanted: Rules) -> Rules:
    """The rules for the next block: the wanted ones if a quorum wants just those, or else the present."""
    ayes = sum(report.wants == wanted.hash() for report in reports)
    return wanted if ayes >= rules.quorum else rules


def _losers(claimed: Sequence[tuple[int, NodeId]]) -> set[NodeId]:
    newest = max(epoch for epoch, _ in claimed)
    alone = sum(epoch == newest for epoch, _ in claimed) == 1
    return {node for epoch, node in claimed if epoch < newest or not alone}
