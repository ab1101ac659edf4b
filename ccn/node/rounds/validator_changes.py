"""The rules that this node wants to be in force.

If an operator asked for a change of the validators, a node wants the rules after that change. Otherwise it
wants the present rules, with the weighing of this version of CCN, and with the highest protocol that it is
told to want and that all validators speak.

Every node checks the request by itself before it reports, and wants the change only if nothing forbids it.
The change happens in a round in which a quorum wants the same. The leader then answers the request with the
change, or with the reason against it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from uuid import UUID

from ccn import errors
from ccn.core.chain.rules import Rules
from ccn.core.ids import NodeId
from ccn.core.rounds import validator_change
from ccn.core.rounds.refusal import Reason, Refusal
from ccn.core.rounds.validator_change import AddValidator, ClusterView, RemoveValidator
from ccn.node.rounds.member_snapshot import MemberSnapshot
from ccn.node.rounds.voting import Voting
from ccn.store.accounts import node_register
from ccn.store.connection.pool import Pool
from ccn.store.operators import drains, requests
from ccn.store.operators.requests import Body, OperatorRequest
from ccn.store.rounds import consensus_log

ROUNDS = 4
"""Number of rounds after which the leader gives up a change that too few nodes want."""


@dataclass(frozen=True, slots=True)
class WantedChange:
    """A change that an operator asked for, and the rules after it, or why this node refuses it."""

    request: OperatorRequest
    before: Rules
    following: Rules | Refusal


async def load_wanted(
    pool: Pool, voting: Voting, members: MemberSnapshot, protocol: int
) -> WantedChange | None:
    """Load the oldest change that an operator asked for, and want the rules after it."""
    waiting = await requests.list_waiting(pool, requests.VALIDATORS)
    before = voting.tip.rules
    if not waiting:
        spoken = members.spoken_under({one.node: one.key for one in before.validators})
        voting.wanted_rules = before.with_current_weighing().with_protocol(spoken, protocol)
        return None
    following = await _rules_after(pool, waiting[0].body, before, members)
    voting.wanted_rules = before if isinstance(following, Refusal) else following
    return WantedChange(waiting[0], before, following)


async def conclude_change(
    pool: Pool, term: int, change: WantedChange, voting: Voting, tries: Counter[UUID]
) -> Body | None:
    """Return the answer to the operator after a round, or None if the change needs another round."""
    tip, following = voting.tip, change.following
    if isinstance(following, Refusal):
        return requests.error_to_outcome(errors.Conflict(following.detail))
    if tip.rules != following:
        tries[change.request.id] += 1
        if tries[change.request.id] < ROUNDS:
            return None
        reason = f"in {ROUNDS} rounds no quorum of {change.before.quorum} validators wanted this change"
        return requests.error_to_outcome(errors.Conflict(reason))
    answer = {
        "changed": following != change.before,
        "height": tip.height,
        "validators": [validator.node for validator in following.validators],
        "quorum": following.quorum,
    }
    match change.request.body:
        case {"action": "remove", "node": str(node)}:  # a validator was already removed by the block
            await node_register.remove_node(pool, NodeId(node))
    if answer["changed"]:
        await consensus_log.log_command(pool, term, requests.VALIDATORS, {**answer, **change.request.body})
    return answer


async def _rules_after(pool: Pool, body: Body, rules: Rules, members: MemberSnapshot) -> Rules | Refusal:
    present = members.registered_keys
    spoken = {node: members.spoken_by(node) for node in present}
    match body:
        case {"action": "add", "node": str(node)}:
            return validator_change.apply_change(
                AddValidator(NodeId(node)), rules, ClusterView(present, spoken=spoken)
            )
        case {"action": "remove", "node": str(node)} if rules.key_of(NodeId(node)) is None:
            known = {*await requests.list_nodes(pool), *(await node_register.load_register(pool)).nodes}
            if node not in known:
                names = ", ".join(sorted(known))
                return Refusal(Reason.RULES, f"no node {node} ever ran here, only {names}")
            return rules
        case {"action": "remove", "node": str(node)}:
            drain = await drains.load_of_node(pool, NodeId(node))
            draining = frozenset({NodeId(node)}) if drain.draining else frozenset[NodeId]()
            view = ClusterView(present, draining, drain.instances, drain.unsealed, spoken)
            return validator_change.apply_change(
                RemoveValidator(NodeId(node), lost=body.get("lost") is True), rules, view
            )
    return Refusal(Reason.RULES, "this is no change of the validators")
