"""The rules this node wants to be in force: those that are, the change an operator asked for, or else
what this version of CCN weighs in a median, where older nodes founded the chain.

Every node looks at the request by itself before it reports, and wants the change only if it finds nothing
against it. A round in which a quorum wants the same makes it: the leader then says so, or says why not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from ccn import errors
from ccn.core.chain.rules import Rules
from ccn.core.ids import NodeId
from ccn.core.rounds import validator_change
from ccn.core.rounds.refusal import Reason, Refusal
from ccn.core.rounds.validator_change import AddValidator, ClusterView, RemoveValidator
from ccn.node.rounds.voting import Voting
from ccn.store.accounts import node_register
from ccn.store.connection.pool import Pool
from ccn.store.operators import drains, requests
from ccn.store.operators.requests import Body, OperatorRequest
from ccn.store.rounds import consensus_log

ROUNDS = 4
"""So many rounds may pass before a change that too few nodes want is given up."""


@dataclass(frozen=True, slots=True)
class WantedChange:
    """A change that is asked for, and the rules this node wants for it, or what it has against it."""

    request: OperatorRequest
    before: Rules
    following: Rules | Refusal


async def load_wanted(pool: Pool, voting: Voting, here: Mapping[NodeId, bytes]) -> WantedChange | None:
    """The oldest change that is asked for; from here on this node wants it, or else its own rules."""
    asked = await requests.list_waiting(pool, requests.VALIDATORS)
    before = voting.tip.rules
    following = (
        await _rules_after(pool, asked[0].body, before, here) if asked else before.with_current_weighing()
    )
    voting.wanted_rules = before if isinstance(following, Refusal) else following
    return WantedChange(asked[0], before, following) if asked else None


async def conclude_change(
    pool: Pool, term: int, wish: WantedChange, voting: Voting, tries: Counter[UUID]
) -> Body | None:
    """After a round of this term: what the operator is told, or None if it needs another round."""
    tip, following = voting.tip, wish.following
    if isinstance(following, Refusal):
        return requests.error_to_outcome(errors.Conflict(following.detail))
    if tip.rules != following:
        tries[wish.request.id] += 1
        if tries[wish.request.id] < ROUNDS:
            return None
        wanted = f"in {ROUNDS} rounds no quorum of {wish.before.quorum} validators wanted this change"
        return requests.error_to_outcome(errors.Conflict(wanted))
    told = {
        "changed": following != wish.before,
        "height": tip.height,
        "validators": [each.node for each in following.validators],
        "quorum": following.quorum,
    }
    match wish.request.body:
        case {"action": "remove", "node": str(node)}:  # one that voted is out with the block already
            await node_register.remove_node(pool, NodeId(node))
    if told["changed"]:
        await consensus_log.log_command(pool, term, requests.VALIDATORS, {**told, **wish.request.body})
    return told


async def _rules_after(
    pool: Pool, body: Body, rules: Rules, here: Mapping[NodeId, bytes]
) -> Rules | Refusal:
    match body:
        case {"action": "add", "node": str(node)}:
            return validator_change.apply_change(AddValidator(NodeId(node)), rules, ClusterView(here))
        case {"action": "remove", "node": str(node)} if rules.key_of(NodeId(node)) is None:
            known = {*await requests.list_nodes(pool), *(await node_register.load_register(pool)).nodes}
            if node not in known:
                only = ", ".join(sorted(known))
                return Refusal(Reason.RULES, f"no node {node} ever ran here, only {only}")
            return rules
        case {"action": "remove", "node": str(node)}:
            left = await drains.load_of_node(pool, NodeId(node))
            gone = frozenset({NodeId(node)}) if left.draining else frozenset[NodeId]()
            seen = ClusterView(here, gone, left.instances, left.unsealed)
            return validator_change.apply_change(
                RemoveValidator(NodeId(node), lost=body.get("lost") is True), rules, seen
            )
    return Refusal(Reason.RULES, "this is no change of the validators")
