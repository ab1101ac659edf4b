"""A change of the validators that an operator asks for: the rules that follow, or why it is refused.

Every node judges by what it sees itself, so a leader cannot bring in a key that nobody registered. One node
comes or goes at a time. A quorum of the old list signs the block that changes it, and a quorum of the new
list has to be present, so that the next block can be signed. A node may only go when all its leaves are
sealed: afterwards nobody takes its reports any more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import assert_never

from ccn import errors
from ccn.core.chain import protocol
from ccn.core.chain.protocol import ProtocolRange
from ccn.core.chain.rules import Rules, Validator
from ccn.core.ids import NodeId
from ccn.core.rounds.refusal import Reason, Refusal


@dataclass(frozen=True, slots=True)
class AddValidator:
    """Let a node vote."""

    node: NodeId


@dataclass(frozen=True, slots=True)
class RemoveValidator:
    """Let a node vote no longer; `lost` if it will never come back to have its last leaves sealed."""

    node: NodeId
    lost: bool = False


@dataclass(frozen=True, slots=True)
class ClusterView:
    """What a node sees: which nodes are present under which key, and what still ties the one that goes."""

    present: Mapping[NodeId, bytes]
    draining: frozenset[NodeId] = frozenset()
    instances: int = 0
    unsealed: int = 0
    spoken: Mapping[NodeId, ProtocolRange] = field(default_factory=dict)
    """Which protocols the programs of the present nodes speak."""


def apply_change(
    wanted: AddValidator | RemoveValidator, rules: Rules, seen: ClusterView
) -> Rules | Refusal:
    """Return the rules after the change, the same rules if it is made already, or why it is refused."""
    match wanted:
        case AddValidator(node):
            following = _add_validator(node, rules, seen)
        case RemoveValidator(node, lost):
            following = _remove_validator(node, rules, seen, lost=lost)
        case never:
            assert_never(never)
    if isinstance(following, Refusal) or following == rules:
        return following
    objection = _refuse_without_quorum(following, seen)
    return following if objection is None else objection


def _add_validator(node: NodeId, rules: Rules, seen: ClusterView) -> Rules | Refusal:
    known, key = rules.key_of(node), seen.present.get(node)
    if known is not None and key in {known, None}:
        return rules
    if known is not None:
        return _refuse_change(f"{node} votes with another key: remove it first, then add it")
    if key is None:
        return _refuse_change(f"{node} is not here: start it, and add it when `ccn status` shows it")
    in_force, spoken = rules.parameters.protocol, seen.spoken.get(node, protocol.FIRST)
    if in_force not in spoken:
        return _refuse_change(f"{node} cannot follow: {protocol.describe_gap(in_force, spoken)}")
    return _with_validators(rules, [*rules.validators, Validator(node, key)])


def _remove_validator(node: NodeId, rules: Rules, seen: ClusterView, *, lost: bool) -> Rules | Refusal:
    left = [each for each in rules.validators if each.node != node]
    if len(left) == len(rules.validators):
        return rules
    if not left:
        return _refuse_change(f"{node} is the last validator")
    tied = _why_busy(node, seen, lost=lost) if node in seen.present else ""
    if not tied and seen.unsealed and not lost:
        what = f"{seen.unsealed} leaves of {node} are not sealed, and nobody else can report them"
        tied = f"{what}: wait for the next round or start it, or give them up if it is lost (--lost)"
    return _refuse_change(tied) if tied else _with_validators(rules, left)


def _why_busy(node: NodeId, seen: ClusterView, *, lost: bool) -> str:
    if lost:
        return f"{node} is here and not lost: drain it, which has its leaves sealed, or stop it first"
    if node not in seen.draining:
        return f"{node} is at work: `ccn drain {node}` first"
    return f"{node} still hosts {seen.instances} instances" if seen.instances else ""


def _with_validators(rules: Rules, validators: list[Validator]) -> Rules | Refusal:
    try:
        return replace(rules, validators=tuple(sorted(validators)))
    except errors.InputInvalid as impossible:
        return _refuse_change(str(impossible))


def _refuse_without_quorum(following: Rules, seen: ClusterView) -> Refusal | None:
    """Whether enough of the new list is here to go on."""
    here = sum(seen.present.get(each.node) == each.key for each in following.validators)
    if here >= following.quorum:
        return None
    count = len(following.validators)
    return _refuse_change(
        f"of {count} validators {following.quorum} would have to agree, and {here} are here"
    )


def _refuse_change(detail: str) -> Refusal:
    return Refusal(Reason.RULES, detail)
